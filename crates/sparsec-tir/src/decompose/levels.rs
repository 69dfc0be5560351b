//! The levels of the formats: their axes, and the coordinates of their positions.

use sparsec_sparse::{BITMAP_TILE, Bitmap, Bsr, Csr, Dense, Hyb, Nm, Pruned, Storage, Stored};

use crate::{AxisData, IterKind};

/// A stored matrix as levels.
pub(super) struct Levels {
    /// Outermost in memory first.
    pub(super) levels: Vec<Level>,
    /// The output row of a position.
    pub(super) row: Coordinate,
    /// The column of a position.
    pub(super) col: Coordinate,
    /// Values in the order of positions.
    pub(super) values: Vec<f32>,
    /// Whether every row of the matrix has exactly one position among the spatial levels.
    pub(super) rows_once: bool,
}

/// One axis of a format.
pub(super) struct Level {
    pub(super) name: &'static str,
    pub(super) var: &'static str,
    pub(super) kind: LevelKind,
    pub(super) iter: IterKind,
    pub(super) data: Option<AxisData>,
}

/// Kinds of axes; parents are numbers of levels.
#[derive(Clone, Copy)]
pub(super) enum LevelKind {
    DenseFixed { len: u64 },
    DenseVariable { parent: usize, total: u64 },
    SparseFixed { parent: usize, len: u64, width: u32 },
    SparseVariable { parent: usize, len: u64, nnz: u64 },
}

/// Where a coordinate comes from.
pub(super) enum Coordinate {
    /// It is the level's.
    Level(usize),
    /// A table.
    Map(Table),
}

/// The coordinates of all positions of some levels.
pub(super) struct Table {
    pub(super) axes: Vec<TableAxis>,
    /// Extent of the coordinates; a position of this coordinate is padding.
    pub(super) len: u64,
    pub(super) data: Vec<u64>,
}

/// What a table is indexed by.
#[derive(Clone, Copy)]
pub(super) enum TableAxis {
    /// The positions of a level.
    Positions(usize),
    /// The coordinates of a level, all of `0..len`, whichever of them are stored.
    Coordinates { level: usize, len: u64 },
}

impl Levels {
    /// The levels of a matrix; none for `hyb` in an order of memory that [`sparsec_sparse::Format`] does not name.
    pub(super) fn of(stored: &Stored<f32>) -> Option<Self> {
        Some(match stored {
            Stored::Dense(w) => dense(w),
            Stored::Csr(w) => csr(w),
            Stored::Bsr(w) => bsr(w),
            Stored::Bitmap(w) => bitmap(w),
            Stored::Nm(w) => nm(w),
            Stored::Hyb(w) if w.params().unit != w.params().bucket => return None,
            Stored::Hyb(w) => hyb(w),
            Stored::Pruned(w) => pruned(w)?,
        })
    }
}

const S: IterKind = IterKind::Spatial;
const R: IterKind = IterKind::Reduction;

fn fixed(name: &'static str, var: &'static str, iter: IterKind, len: usize) -> Level {
    Level { name, var, kind: LevelKind::DenseFixed { len: len as u64 }, iter, data: None }
}

fn variable(name: &'static str, var: &'static str, iter: IterKind, parent: usize, indptr: Vec<u64>) -> Level {
    let total = indptr.last().copied().unwrap_or(0);
    let data = Some(AxisData { indptr, indices: Vec::new() });
    Level { name, var, kind: LevelKind::DenseVariable { parent, total }, iter, data }
}

fn sparse(name: &'static str, var: &'static str, (parent, len): (usize, usize), ptr: &[u32], idx: &[u32]) -> Level {
    let wide = |values: &[u32]| values.iter().map(|&v| u64::from(v)).collect::<Vec<u64>>();
    let kind = LevelKind::SparseVariable { parent, len: len as u64, nnz: idx.len() as u64 };
    Level { name, var, kind, iter: R, data: Some(AxisData { indptr: wide(ptr), indices: wide(idx) }) }
}

/// `0..padded`, those outside of `0..len` as padding.
fn up_to(padded: usize, len: usize) -> Vec<u64> {
    (0..padded).map(|i| i.min(len) as u64).collect()
}

fn dense(w: &Dense<f32>) -> Levels {
    Levels {
        levels: vec![fixed("I", "i", S, w.rows()), fixed("J", "j", R, w.cols())],
        row: Coordinate::Level(0),
        col: Coordinate::Level(1),
        values: w.values().to_vec(),
        rows_once: true,
    }
}

fn csr(w: &Csr<f32>) -> Levels {
    Levels {
        levels: vec![fixed("I", "i", S, w.rows()), sparse("J", "j", (0, w.cols()), w.row_ptr(), w.col_idx())],
        row: Coordinate::Level(0),
        col: Coordinate::Level(1),
        values: w.values().to_vec(),
        rows_once: true,
    }
}

fn bsr(w: &Bsr<f32>) -> Levels {
    let (r, c) = (w.block_rows(), w.block_cols());
    let (block_rows, block_cols) = (w.rows().div_ceil(r), w.cols().div_ceil(c));
    let row = Table {
        axes: vec![TableAxis::Positions(0), TableAxis::Positions(3)],
        len: w.rows() as u64,
        data: up_to(block_rows * r, w.rows()),
    };
    let col = Table {
        axes: vec![TableAxis::Coordinates { level: 1, len: block_cols as u64 }, TableAxis::Positions(2)],
        len: w.cols() as u64,
        data: up_to(block_cols * c, w.cols()),
    };
    Levels {
        levels: vec![
            fixed("IB", "ib", S, block_rows),
            sparse("JB", "jb", (0, block_cols), w.row_ptr(), w.col_idx()),
            fixed("C", "c", R, c),
            fixed("R", "r", S, r),
        ],
        row: Coordinate::Map(row),
        col: Coordinate::Map(col),
        values: w.values().to_vec(),
        rows_once: true,
    }
}

fn bitmap(w: &Bitmap<f32>) -> Levels {
    let wide = |v: &u32| u64::from(*v);
    let (mut rows, mut cols) = (Vec::new(), Vec::new());
    w.for_each_entry(&mut |row, col, _| {
        rows.push(row as u64);
        cols.push(col as u64);
    });
    let entries = w.starts().iter().map(wide).chain([rows.len() as u64]).collect();
    let table = |len: usize, data| Table { axes: [0, 1, 2].map(TableAxis::Positions).to_vec(), len: len as u64, data };
    Levels {
        levels: vec![
            fixed("IB", "ib", S, w.rows().div_ceil(BITMAP_TILE)),
            variable("T", "t", S, 0, w.row_ptr().iter().map(wide).collect()),
            variable("E", "e", S, 1, entries),
        ],
        row: Coordinate::Map(table(w.rows(), rows)),
        col: Coordinate::Map(table(w.cols(), cols)),
        values: w.values().to_vec(),
        rows_once: false,
    }
}

fn nm(w: &Nm<f32>) -> Levels {
    let (n, m, groups) = (w.n(), w.m(), w.groups());
    let starts = (0..=w.rows()).map(|i| (i * groups) as u64).collect();
    // The last group of a row may be narrower than N; its spare entries stand at columns behind the matrix, so that
    // the coordinates of a group differ.
    let narrow = w.cols() % m;
    let is_spare = |entry: usize| narrow != 0 && narrow < n && entry / n % groups == groups - 1 && entry % n >= narrow;
    let selector = |(entry, &s): (usize, &u8)| if is_spare(entry) { (entry % n) as u64 } else { u64::from(s) };
    let selectors = w.selectors().iter().enumerate().map(selector).collect();
    let col = Table {
        axes: vec![
            TableAxis::Coordinates { level: 1, len: groups as u64 },
            TableAxis::Coordinates { level: 2, len: m as u64 },
        ],
        len: w.cols() as u64,
        data: up_to(groups * m, w.cols()),
    };
    let chosen = Level {
        name: "E",
        var: "e",
        kind: LevelKind::SparseFixed { parent: 1, len: m as u64, width: n as u32 },
        iter: R,
        data: Some(AxisData { indptr: Vec::new(), indices: selectors }),
    };
    Levels {
        levels: vec![fixed("I", "i", S, w.rows()), variable("G", "g", R, 0, starts), chosen],
        row: Coordinate::Level(0),
        col: Coordinate::Map(col),
        values: w.values().to_vec(),
        rows_once: true,
    }
}

fn hyb(w: &Hyb<f32>) -> Levels {
    let params = w.params();
    let (height, unit) = (params.rows as usize, params.unit as usize);
    let (mut groups, mut steps, mut cols) = (vec![0u64], vec![0u64], Vec::with_capacity(w.columns().len()));
    for part in w.partitions() {
        for bucket in w.buckets_of(part) {
            for group in w.groups(bucket) {
                let before = steps.last().copied().unwrap_or(0);
                steps.push(before + (bucket.len / unit) as u64);
                cols.extend(group.columns.iter().map(|&c| part.col_start as u64 + u64::from(c)));
            }
        }
        groups.push(steps.len() as u64 - 1);
    }
    let row = Table {
        axes: [0, 1, 3].map(TableAxis::Positions).to_vec(),
        len: w.rows() as u64,
        data: w.row_ids().iter().map(|&r| u64::from(r)).collect(),
    };
    let col = Table { axes: (0..5).map(TableAxis::Positions).collect(), len: w.cols() as u64, data: cols };
    Levels {
        levels: vec![
            fixed("P", "p", S, w.partitions().len()),
            variable("G", "g", S, 0, groups),
            variable("S", "s", R, 1, steps),
            fixed("R", "r", S, height),
            fixed("U", "u", R, unit),
        ],
        row: Coordinate::Map(row),
        col: Coordinate::Map(col),
        values: w.values().to_vec(),
        rows_once: false,
    }
}

fn pruned(w: &Pruned<f32>) -> Option<Levels> {
    let mut levels = Levels::of(w.inner())?;
    levels.rows_once &= w.kept_rows().len() == w.rows();
    levels.row = kept(&mut levels.levels, levels.row, (w.kept_rows(), w.rows()), ("KI", "ki"));
    levels.col = kept(&mut levels.levels, levels.col, (w.kept_cols(), w.cols()), ("KJ", "kj"));
    Some(levels)
}

/// The coordinate in a matrix of extent `len` of which only `numbers` are stored.
fn kept(
    levels: &mut [Level],
    inner: Coordinate,
    (numbers, len): (&[u32], usize),
    (name, var): (&'static str, &'static str),
) -> Coordinate {
    let numbers: Vec<u64> = numbers.iter().map(|&n| u64::from(n)).collect();
    Coordinate::Map(match inner {
        Coordinate::Level(level) => {
            let axis = match levels[level].kind {
                LevelKind::DenseFixed { .. } => TableAxis::Positions(level),
                _ => TableAxis::Coordinates { level, len: numbers.len() as u64 },
            };
            (levels[level].name, levels[level].var) = (name, var);
            Table { axes: vec![axis], len: len as u64, data: numbers }
        }
        // Padding stays padding.
        Coordinate::Map(Table { axes, data, .. }) => {
            let data = data.iter().map(|&i| numbers.get(i as usize).copied().unwrap_or(len as u64)).collect();
            Table { axes, len: len as u64, data }
        }
    })
}
