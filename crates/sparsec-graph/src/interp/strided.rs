//! Strides and walks over them.

/// Row-major strides in elements.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

/// Strides that read an operand of `shape` as if it were broadcast to `to`: 0 where its extent is 1.
pub(super) fn broadcast(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let offset = to.len().saturating_sub(shape.len());
    let own = row_major(shape);
    (0..to.len())
        .map(|axis| match axis.checked_sub(offset) {
            Some(a) if shape[a] != 1 => own[a],
            _ => 0,
        })
        .collect()
}

/// The offsets of all index tuples of `extents` (row-major order) under `strides`.
pub(super) fn offsets(extents: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut all = vec![0];
    for (&extent, &stride) in extents.iter().zip(strides) {
        all = all.iter().flat_map(|&base| (0..extent).map(move |i| base + i * stride)).collect();
    }
    all
}

/// Calls `run(offset, stride, length)` for each row (the last axis) of the part `start .. start + len` of the row-major
/// walk over `shape`. The offset is that of the row's first element under `strides`.
pub(super) fn for_runs(
    shape: &[usize],
    strides: &[usize],
    start: usize,
    len: usize,
    mut run: impl FnMut(usize, usize, usize),
) {
    let (Some((&row, outer)), Some((&stride, outer_strides))) = (shape.split_last(), strides.split_last()) else {
        return run(0, 0, len);
    };
    let (mut position, end) = (start, start + len);
    while position < end {
        let (mut rest, first) = (position / row, position % row);
        let mut offset = first * stride;
        for (&extent, &s) in outer.iter().zip(outer_strides).rev() {
            offset += rest % extent * s;
            rest /= extent;
        }
        let count = (row - first).min(end - position);
        run(offset, stride, count);
        position += count;
    }
}
