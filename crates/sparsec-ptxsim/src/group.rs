//! Matrix products of warp groups: what one warp of the four computes.
//!
//! Warp `w` of a group has rows `16 w` to `16 w + 15` of A and D. Its fragments of A, and its metadata, are those of `mma` (`matrix.rs`).
//! With `g = lane / 4` and `t = lane % 4`, register `r` of D is row `g + 8 (r % 4 / 2)`, column `8 (r / 4) + 2 t + r % 2`.

use sparsec_ptx::{GroupA, GroupMma, Rounding, Type};

use crate::alu::Lanes;
use crate::descriptor::Descriptor;
use crate::error::Fault;
use crate::float::Format;
use crate::matrix::{entry, whole_column};

/// Rows of A that a warp has.
const ROWS: u32 = 16;

/// Entries of a factor along k, one row of A or column of B after the other.
pub(crate) type Entries = Vec<Vec<f64>>;

/// A warp's share of a product, without the old sums: the numbers of each lane by register. `words` is the metadata.
pub(crate) fn multiply(
    m: &GroupMma,
    a: &Entries,
    b: &Entries,
    words: Option<&Lanes>,
) -> Result<Vec<[f64; 32]>, (u32, Fault)> {
    let mut columns = Vec::with_capacity(ROWS as usize);
    for (row, entries) in a.iter().enumerate() {
        let whole = (0..entries.len()).map(|c| match (m.sparse, words) {
            (Some(sparse), Some(words)) => whole_column(m.inputs, m.k() as usize, sparse.selector, words, row, c),
            _ => Ok(c),
        });
        columns.push(whole.collect::<Result<Vec<_>, _>>()?);
    }
    let sign = if m.negate[0] == m.negate[1] { 1.0 } else { -1.0 };
    let sum = |row: usize, column: usize| {
        let b = &b[column];
        sign * a[row].iter().zip(&columns[row]).map(|(a, k)| a * b[*k]).sum::<f64>()
    };
    let registers = 0..m.d.len();
    Ok(registers
        .map(|r| std::array::from_fn(|lane| sum(lane / 4 + 8 * (r % 4 / 2), 8 * (r / 4) + 2 * (lane % 4) + r % 2)))
        .collect())
}

/// The new sums: rounded once.
pub(crate) fn add(products: &[f64; 32], old: Option<&Lanes>) -> Lanes {
    let Some(format) = Format::of(Type::F32) else { return [0; 32] };
    std::array::from_fn(|l| {
        let old = old.map_or(0.0, |old| format.decode(old[l]));
        format.round(products[l] + old, Rounding::Rn)
    })
}

/// The entries of A that are in registers.
pub(crate) fn fragments(m: &GroupMma, registers: &[Lanes]) -> Entries {
    let per_register = if m.inputs == Type::Tf32 { 1 } else { 2 };
    let mut rows = vec![vec![0.0; stored(m) as usize]; ROWS as usize];
    for (r, lanes) in registers.iter().enumerate() {
        for (lane, register) in lanes.iter().enumerate() {
            for i in 0..per_register {
                let column = per_register * (lane % 4 + 4 * (r / 2)) + i;
                rows[lane / 4 + 8 * (r % 2)][column] = entry(m.inputs, *register, i);
            }
        }
    }
    rows
}

/// Columns of A that are stored.
fn stored(m: &GroupMma) -> u32 {
    if m.sparse.is_some() { m.k() / 2 } else { m.k() }
}

/// The rows of A of a warp of the group, in shared memory; `read` gives the chunk at an address.
pub(crate) fn left(
    m: &GroupMma,
    d: &Descriptor,
    warp: u32,
    read: &mut dyn FnMut(u32) -> Result<[u8; 16], Fault>,
) -> Result<Entries, Fault> {
    let transpose = matches!(m.a, GroupA::Shared { transpose: true, .. });
    gather(m.inputs, d, transpose, (warp * ROWS, ROWS), stored(m), read)
}

/// The columns of B.
pub(crate) fn right(
    m: &GroupMma,
    d: &Descriptor,
    read: &mut dyn FnMut(u32) -> Result<[u8; 16], Fault>,
) -> Result<Entries, Fault> {
    gather(m.inputs, d, m.transpose_b, (0, m.n), m.k(), read)
}

fn gather(
    inputs: Type,
    d: &Descriptor,
    transpose: bool,
    (first, count): (u32, u32),
    depth: u32,
    read: &mut dyn FnMut(u32) -> Result<[u8; 16], Fault>,
) -> Result<Entries, Fault> {
    let bytes = if inputs == Type::Tf32 { 4 } else { 2 };
    // Entries of a chunk.
    let wide = 16 / bytes;
    let number = |chunk: &[u8; 16], i: usize| {
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(&chunk[i * bytes..(i + 1) * bytes]);
        entry(inputs, u64::from_le_bytes(word), 0)
    };
    let mut lines = vec![vec![0.0; depth as usize]; count as usize];
    if transpose {
        for k in 0..depth {
            for c in 0..count as usize / wide {
                let chunk = read(d.mn_major(first / wide as u32 + c as u32, k))?;
                (0..wide).for_each(|i| lines[c * wide + i][k as usize] = number(&chunk, i));
            }
        }
    } else {
        for (r, line) in lines.iter_mut().enumerate() {
            for c in 0..depth as usize / wide {
                let chunk = read(d.k_major(first + r as u32, c as u32)?)?;
                (0..wide).for_each(|i| line[c * wide + i] = number(&chunk, i));
            }
        }
    }
    Ok(lines)
}
