//! The caller's tensors.

use sparsec_abi::{DTYPES, RawTensor, Status};
use sparsec_plan::{Data, Given, Port};

use crate::failure::Failure;

/// `SPARSEC_ON_DEVICE`: beside the element type, says that `data` is memory of the device.
pub(crate) const ON_DEVICE: i32 = 0x1_0000;

/// An array of tensors as the runtime takes them, in the order of the ports. `kind` is `input` or `output`.
///
/// # Safety
/// `tensors` is null, or points to as many tensors as there are ports, whose shapes and strides have as many numbers as their
/// rank says, and whose memory on the host has as many elements as their shape says; that of outputs nobody else uses.
pub(crate) unsafe fn given<'a>(
    kind: &str,
    ports: &'a [Port],
    tensors: *const RawTensor,
) -> Result<Vec<Given<'a>>, Failure> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    if tensors.is_null() {
        return Err(Status::NullPointer.into());
    }
    // SAFETY: as the caller promises.
    let tensors = unsafe { std::slice::from_raw_parts(tensors, ports.len()) };
    // SAFETY: as the caller promises.
    ports.iter().zip(tensors).map(|(port, tensor)| unsafe { one(kind, port, tensor) }).collect()
}

/// # Safety
/// As [`given`], for one.
unsafe fn one<'a>(kind: &str, port: &Port, tensor: &RawTensor) -> Result<Given<'a>, Failure> {
    let refused = |status| Failure::At { status, place: format!("{kind} `{}`", port.name) };
    let rank = usize::try_from(tensor.rank).ok().filter(|rank| *rank == port.shape.len());
    let rank = rank.ok_or_else(|| refused(Status::Rank))?;
    let code = tensor.dtype & !ON_DEVICE;
    let (_, dtype, _, size) = DTYPES.iter().find(|d| d.0 == code).ok_or_else(|| refused(Status::Dtype))?;
    if *dtype != port.dtype {
        return Err(refused(Status::Dtype));
    }
    let shape: &[i64] = match rank {
        0 => &[],
        _ if tensor.shape.is_null() => return Err(refused(Status::NullPointer)),
        // SAFETY: as the caller promises.
        _ => unsafe { std::slice::from_raw_parts(tensor.shape, rank) },
    };
    if !tensor.strides.is_null() && rank > 0 {
        // SAFETY: as the caller promises.
        let strides = unsafe { std::slice::from_raw_parts(tensor.strides, rank) };
        if !is_row_major(shape, strides) {
            return Err(refused(Status::Strides));
        }
    }
    let bytes = shape.iter().try_fold(*size, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let bytes = match bytes.filter(|&n| isize::try_from(n).is_ok()) {
        Some(bytes) => bytes,
        None if shape.iter().any(|&d| d < 0) => return Err(refused(Status::Dimension)),
        None => return Err(refused(Status::TooLarge)),
    };
    if tensor.dtype & ON_DEVICE != 0 {
        return Ok(Given { dtype, shape, data: Data::Device(tensor.data.addr() as u64) });
    }
    let data: *mut u8 = tensor.data.cast();
    let data = match (bytes, data.is_null()) {
        (0, _) => std::ptr::NonNull::dangling().as_ptr(),
        (_, true) => return Err(refused(Status::NullPointer)),
        _ if !data.addr().is_multiple_of(*size) => return Err(refused(Status::Alignment)),
        _ => data,
    };
    let data = match kind {
        // SAFETY: as the caller promises; that outputs share no memory with other tensors is checked before.
        "output" => Data::HostMut(unsafe { std::slice::from_raw_parts_mut(data, bytes) }),
        // SAFETY: as the caller promises.
        _ => Data::Host(unsafe { std::slice::from_raw_parts(data, bytes) }),
    };
    Ok(Given { dtype, shape, data })
}

/// Where the elements of a tensor on the host lie.
fn host_range(tensor: &RawTensor) -> Option<(usize, usize)> {
    let rank = usize::try_from(tensor.rank).ok()?;
    if tensor.dtype & ON_DEVICE != 0 || (rank > 0 && tensor.shape.is_null()) {
        return None;
    }
    let size = DTYPES.iter().find(|d| d.0 == tensor.dtype)?.3;
    let shape: &[i64] = match rank {
        0 => &[],
        // SAFETY: the caller of `check_overlaps` promises as many extents as the rank says.
        _ => unsafe { std::slice::from_raw_parts(tensor.shape, rank) },
    };
    let bytes = shape.iter().try_fold(size, |n, &d| n.checked_mul(usize::try_from(d).ok()?))?;
    Some((tensor.data.addr(), tensor.data.addr().checked_add(bytes)?))
}

/// Refuses outputs on the host that share memory with another tensor there. Those on the device are compared by the session.
///
/// # Safety
/// As [`given`], for both arrays; neither is null unless it is empty. Ranks are those of the model.
pub(crate) unsafe fn check_overlaps(
    inputs: (*const RawTensor, usize),
    outputs: (*const RawTensor, usize),
) -> Result<(), Failure> {
    let ranges = |(tensors, count): (*const RawTensor, usize)| -> Vec<(usize, usize)> {
        match count {
            0 => Vec::new(),
            // SAFETY: as the caller promises.
            _ => unsafe { std::slice::from_raw_parts(tensors, count) }.iter().filter_map(host_range).collect(),
        }
    };
    let (inputs, outputs) = (ranges(inputs), ranges(outputs));
    for (i, own) in outputs.iter().enumerate() {
        let others = inputs.iter().chain(outputs.iter().take(i));
        if others.filter(|o| o.0 < o.1 && own.0 < own.1).any(|o| own.0 < o.1 && o.0 < own.1) {
            return Err(Status::Overlap.into());
        }
    }
    Ok(())
}

/// Strides of extents of 1 are not looked at.
fn is_row_major(shape: &[i64], strides: &[i64]) -> bool {
    let mut expected = 1i64;
    for (&extent, &stride) in shape.iter().zip(strides).rev() {
        if extent != 1 && stride != expected {
            return shape.contains(&0);
        }
        expected = expected.saturating_mul(extent);
    }
    true
}
