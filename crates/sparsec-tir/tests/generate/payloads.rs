//! How results of machines are compared with those of the interpreter.

use sparsec_tir::Scalar;

/// Every NaN as one: which of them an operation gives is not the IR's business.
pub(crate) fn without_payloads(bytes: &[u8], elem: Scalar) -> Vec<u8> {
    if elem != Scalar::F32 {
        return bytes.to_vec();
    }
    let one = |b: &[u8]| {
        let x = f32::from_le_bytes(b.try_into().expect("four bytes"));
        if x.is_nan() { f32::NAN } else { x }.to_le_bytes()
    };
    bytes.chunks_exact(4).flat_map(one).collect()
}
