//! Matrix products of a warp, and `ldmatrix`: which lane holds what.
//!
//! The PTX ISA has them in its chapter on warp-level matrix instructions. With `g = lane / 4`, `t = lane % 4` and `p` entries in
//! a register (2 of 16 bits, 1 of tf32), entry `i` of register `r` is
//!
//! - of A: row `g + 8 (r % 2)`, column `p t + 4 p (r / 2) + i`;
//! - of B: row `p t + 4 p r + i`, column `g`;
//! - of C and D: row `g + 8 (e / 2)`, column `2 t + e % 2`, where `e` counts entries over the registers.
//!
//! A sparse A keeps half of its columns and is laid out as if it had only these. 16 bits of metadata tell for 4 groups of one row
//! which entries are kept: those of row `g` lie in the low half of a word, those of `g + 8` in the high one. Of the four lanes
//! that share `g`, number `selector` has the word where a row has 4 groups; where it has 8, numbers `2 selector` and
//! `2 selector + 1` have those of its first and second half. A group is four entries of 16 bits, of which two are kept, two
//! bits each, the first lowest; or two of tf32, of which one is, written as the pair of its 16-bit halves.

use sparsec_ptx::{Mma, Rounding, Type};

use crate::alu::Lanes;
use crate::error::Fault;
use crate::float::Format;

/// Rows of A and columns of B.
const M: usize = 16;
const N: usize = 8;

/// Registers of the operands in the lanes.
pub(crate) struct Fragments<'f> {
    pub(crate) a: &'f [Lanes],
    pub(crate) b: &'f [Lanes],
    pub(crate) c: &'f [Lanes],
    /// The word of each lane, for a sparse product.
    pub(crate) metadata: Option<&'f Lanes>,
}

/// An entry of A or B as a number.
pub(crate) fn entry(inputs: Type, register: u64, i: usize) -> f64 {
    match Format::of(inputs) {
        Some(format) if inputs != Type::Tf32 => format.decode(register >> (16 * i) & 0xffff),
        // The low bits of an f32 are not looked at.
        _ => f64::from(f32::from_bits(register as u32 & 0xffff_e000)),
    }
}

/// `a * b + c`; the registers of D. An error comes with the lane that is to blame.
pub(crate) fn multiply(m: &Mma, f: &Fragments<'_>) -> Result<Vec<Lanes>, (u32, Fault)> {
    let k = m.shape.k() as usize;
    let per_register = if m.inputs == Type::Tf32 { 1 } else { 2 };
    let kept = if m.sparse.is_some() { k / 2 } else { k };
    let mut a = vec![[0.0; M]; kept];
    for (r, lanes) in f.a.iter().enumerate() {
        for (lane, register) in lanes.iter().enumerate() {
            for i in 0..per_register {
                let column = per_register * (lane % 4 + 4 * (r / 2)) + i;
                a[column][lane / 4 + 8 * (r % 2)] = entry(m.inputs, *register, i);
            }
        }
    }
    let mut b = vec![[0.0; N]; k];
    for (r, lanes) in f.b.iter().enumerate() {
        for (lane, register) in lanes.iter().enumerate() {
            for i in 0..per_register {
                b[per_register * (lane % 4 + 4 * r) + i][lane / 4] = entry(m.inputs, *register, i);
            }
        }
    }
    let mut sums = [[0.0; N]; M];
    for (row, sums) in sums.iter_mut().enumerate() {
        for (column, a) in a.iter().enumerate() {
            let column = match (m.sparse, f.metadata) {
                (Some(sparse), Some(words)) => whole_column(m.inputs, k, sparse.selector, words, row, column)?,
                _ => column,
            };
            for (sum, b) in sums.iter_mut().zip(&b[column]) {
                *sum += a[row] * b;
            }
        }
    }
    Ok(add(m.accumulate, f.c, &sums))
}

/// The column of the whole A that an entry of the compressed one stands for.
pub(crate) fn whole_column(
    inputs: Type,
    k: usize,
    selector: u32,
    words: &Lanes,
    row: usize,
    column: usize,
) -> Result<usize, (u32, Fault)> {
    let (kept, of) = if inputs == Type::Tf32 { (1, 2) } else { (2, 4) };
    let group = column / kept;
    let selector = selector as usize;
    let lane = 4 * (row % 8) + if k / of == 4 { selector } else { 2 * selector + group / 4 };
    let word = words.get(lane).copied().unwrap_or(0) as u32;
    let indices = word >> (16 * (row / 8) + 4 * (group % 4)) & 0xf;
    let index = match (inputs, indices) {
        (Type::Tf32, 0b0100) => 0,
        (Type::Tf32, 0b1110) => 1,
        (Type::F16 | Type::Bf16, _) if indices & 3 < indices >> 2 => indices >> (2 * (column % 2)) & 3,
        _ => return Err((lane as u32, Fault::Metadata { metadata: word, lane: lane as u32, indices })),
    };
    Ok(of * group + index as usize)
}

/// The registers of D.
fn add(accumulate: Type, c: &[Lanes], sums: &[[f64; N]; M]) -> Vec<Lanes> {
    let Some(format) = Format::of(accumulate) else { return c.to_vec() };
    let per_register = if accumulate == Type::F16 { 2 } else { 1 };
    let mut d = vec![[0; 32]; c.len()];
    for (r, (d, c)) in d.iter_mut().zip(c).enumerate() {
        for lane in 0..32 {
            for i in 0..per_register {
                let e = r * per_register + i;
                let sum = sums[lane / 4 + 8 * (e / 2)][2 * (lane % 4) + e % 2];
                let shift = 16 * i;
                let bits = if per_register == 2 { c[lane] >> shift & 0xffff } else { c[lane] };
                d[lane] |= format.round(sum + format.decode(bits), Rounding::Rn) << shift;
            }
        }
    }
    d
}

/// What each lane gets of a matrix of eight rows of 16 bytes.
pub(crate) fn distribute(rows: &[[u8; 16]; 8], transpose: bool) -> Lanes {
    std::array::from_fn(|lane| {
        let half = |row: usize, column: usize| {
            u64::from(u16::from_le_bytes([rows[row][2 * column], rows[row][2 * column + 1]]))
        };
        let (g, t) = (lane / 4, lane % 4);
        let at = |i| if transpose { half(2 * t + i, g) } else { half(g, 2 * t + i) };
        at(0) | at(1) << 16
    })
}
