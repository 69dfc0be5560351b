//! Products with a single vector: memory decides, so each value is read once, with the narrowest index.
//!
//! - `dense`: four rows at a time, vectors along the inputs. The rows are interleaved vector by vector, so that memory
//!   sees one stream: four streams reach three quarters of its bandwidth.
//! - blocks of 4, 8 or 16 outputs: vectors along the outputs, one input broadcast to each.
//! - N of M: [`spmv_nm`].
//! - everything else, as `csr`: vectors along the entries of a row; the inputs are gathered element by element, which
//!   is faster than the gather instruction on the processors that were measured. Four columns of 16 bits are loaded as
//!   one word, since loads are what is scarce. Rows are in the order of their lengths, so that the processor foresees
//!   where each ends.

use sparsec_sparse::{Csr, Format, FormatError};
use sparsec_tir::{BinaryOp, BufferKind, Expr, ReduceOp, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::spmv_nm;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{Activations, declare_activations, store_pixel};

/// Rows that one task takes.
const ROWS_PER_TASK: i64 = 64;
/// Rows of a dense product in flight.
const DENSE_ROWS: usize = 4;
/// Entries of a block row in flight.
const BLOCK_CHAINS: usize = 4;
/// Columns of 16 bits in a word.
const COLUMNS_PER_WORD: usize = 4;

/// The kernel and its tables.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Result<Multiplication, FormatError> {
    if let Format::Nm { n, m } = format
        && let Some(built) = spmv_nm::lower(p, weight, (*n as usize, *m as usize), target)?
    {
        return Ok(built);
    }
    match format {
        Format::Dense if !weight.is_grouped() => Ok(dense(p, weight, target)),
        Format::Bsr { r: r @ (4 | 8 | 16), .. } if p.m.is_multiple_of(*r as usize) => blocks(p, weight, *r as usize),
        _ => entries(p, weight, target),
    }
}

/// The parallel loop over rows of results in chunks; `f` gets the first row of each `step` rows.
fn for_each_row(c: &mut Context, rows: i64, step: i64, f: impl FnOnce(&mut Context, Expr)) {
    for_each_task(c, rows, step, |c, (from, to)| c.serial("m", from, to, step, f));
}

/// The parallel loop over chunks of rows; `f` gets the first row of a chunk and its end.
pub(super) fn for_each_task(c: &mut Context, rows: i64, step: i64, f: impl FnOnce(&mut Context, (Expr, Expr))) {
    let chunk = (ROWS_PER_TASK + step - 1) / step * step;
    c.parallel("task", Expr::int((rows + chunk - 1) / chunk), |c, task| {
        let from = c.bind_index("from", task * Expr::int(chunk));
        let to = c.bind_index("to", (from.clone() + Expr::int(chunk)).min(Expr::int(rows)));
        f(c, (from, to));
    });
}

/// Where the input of column `col` lies.
pub(super) fn input(b: &Activations, col: Expr) -> Expr {
    load(b.x, vec![Expr::int(0), col, Expr::int(0), Expr::int(0)])
}

pub(super) fn store(c: &mut Context, p: &WeightProblem, b: &Activations, m: Expr, sum: Expr) {
    let sum = c.bind("sum", Type::scalar(Scalar::F32), sum);
    store_pixel(c, p, b, &[Expr::int(0), m, Expr::int(0), Expr::int(0)], sum);
}

fn dense(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Multiplication {
    let lanes = usize::from(target.lanes);
    let (m, k) = (p.m, p.k());
    let (rows, cols) = (m.div_ceil(DENSE_ROWS) * DENSE_ROWS, k.div_ceil(lanes) * lanes);
    let weight = weight.clone();
    let values = Table::lazy("values", Scalar::F32, (rows * cols) as u64, move |out| {
        let dense = weight.dense();
        let mut panel = vec![0.0f32; DENSE_ROWS * cols];
        for first in (0..rows).step_by(DENSE_ROWS) {
            panel.fill(0.0);
            for row in first..m.min(first + DENSE_ROWS) {
                let line = &dense[row * k..(row + 1) * k];
                for (step, values) in line.chunks(lanes).enumerate() {
                    let at = (step * DENSE_ROWS + row - first) * lanes;
                    panel[at..at + values.len()].copy_from_slice(values);
                }
            }
            out.write_all(bytemuck::cast_slice(&panel))?;
        }
        Ok(())
    });
    let mut c = Context::new("gemv_dense");
    c.describe(format!("{DENSE_ROWS} rows in flight, vectors of {lanes} along the inputs"));
    let b = declare_activations(&mut c, p);
    let tables = vec![values];
    let values = declare_tables(&mut c, &tables)[0];
    let acc = c.register("acc", Type::vector(Scalar::F32, lanes as u16), vec![DENSE_ROWS as u32]);
    let height = DENSE_ROWS as u32;
    for_each_row(&mut c, rows as i64, DENSE_ROWS as i64, |c, first| {
        c.unroll("r", height, |c, r| {
            c.vector(lanes as u16, None, |c, _| c.set(acc, vec![r], Expr::f32(0.0)));
        });
        c.serial("j", Expr::int(0), Expr::int(k as i64), lanes as i64, |c, j| {
            let active = (k % lanes != 0).then(|| Expr::int(k as i64) - j.clone());
            c.unroll("r", height, |c, r| {
                c.vector(lanes as u16, active, |c, l| {
                    let panel = first.clone() * Expr::int(cols as i64) + j.clone() * Expr::int(DENSE_ROWS as i64);
                    let at = panel + r.clone() * Expr::int(lanes as i64) + l.clone();
                    let product = Expr::fma(load(values, vec![at]), input(&b, j + l), Expr::Reg(acc, vec![r.clone()]));
                    c.set(acc, vec![r], product);
                });
            });
        });
        c.unroll("r", height, |c, r| {
            let row = c.bind_index("row", first + r.clone());
            let sum = Expr::Reduce(ReduceOp::Add, Box::new(Expr::Reg(acc, vec![r])));
            if rows == m {
                store(c, p, &b, row, sum);
            } else {
                let real = Expr::compare(sparsec_tir::CompareOp::Lt, row.clone(), Expr::int(m as i64));
                c.branch(real, |c| store(c, p, &b, row, sum), |_| {});
            }
        });
    });
    Multiplication::new(c.finish(), tables)
}

/// A weight's entries row by row, each row padded to whole vectors; shorter rows come first.
struct Entries {
    /// The number of each row.
    rows: Vec<i32>,
    /// The first vector of each row, and the end.
    starts: Vec<i32>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Entries {
    fn of(csr: &Csr<f32>, lanes: usize) -> Self {
        let bounds = csr.row_ptr();
        let range = |row: usize| bounds[row] as usize..bounds[row + 1] as usize;
        let mut order: Vec<usize> = (0..bounds.len().saturating_sub(1)).collect();
        order.sort_by_key(|&row| range(row).len().div_ceil(lanes));
        let mut e = Entries { rows: Vec::new(), starts: vec![0], columns: Vec::new(), values: Vec::new() };
        for row in order {
            e.columns.extend_from_slice(&csr.col_idx()[range(row)]);
            e.values.extend_from_slice(&csr.values()[range(row)]);
            // Padding multiplies the row's last input by zero.
            let last = e.columns.last().copied().filter(|_| !range(row).is_empty()).unwrap_or(0);
            while !e.values.len().is_multiple_of(lanes) {
                e.columns.push(last);
                e.values.push(0.0);
            }
            e.rows.push(row as i32);
            e.starts.push((e.values.len() / lanes) as i32);
        }
        e
    }

    /// The columns, four in a word where 16 bits hold them, the first in its lowest bits.
    fn column_table(&self, narrow: bool) -> Table {
        if !narrow {
            return Table::of("columns", Scalar::U32, self.columns.clone());
        }
        let word = |four: &[u32]| four.iter().rev().fold(0u64, |word, &c| word << 16 | u64::from(c));
        let words: Vec<u64> = self.columns.chunks(COLUMNS_PER_WORD).map(word).collect();
        Table::of("columns", Scalar::U64, words)
    }
}

fn entries(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Result<Multiplication, FormatError> {
    let lanes = usize::from(target.lanes).min(8);
    let narrow = p.k() <= 1 << 16;
    let e = Entries::of(&Csr::from_dense(p.m, p.k(), &weight.dense())?, lanes);
    let columns = e.column_table(narrow);
    let tables = vec![
        Table::of("rows", Scalar::I32, e.rows),
        Table::of("starts", Scalar::I32, e.starts),
        columns,
        Table::of("values", Scalar::F32, e.values),
    ];

    let mut c = Context::new("spmv_rows");
    c.describe(format!("entries in steps of {lanes} along a row"));
    let b = declare_activations(&mut c, p);
    let ids = declare_tables(&mut c, &tables);
    let acc = c.register("acc", Type::vector(Scalar::F32, lanes as u16), vec![]);
    // The column of entry `step * lanes + l`.
    let column = |step: Expr, l: Expr| {
        if !narrow {
            return load(ids[2], vec![step * Expr::int(lanes as i64) + l]).convert(Scalar::I64);
        }
        let four = || Expr::int(COLUMNS_PER_WORD as i64);
        let word = step * Expr::int((lanes / COLUMNS_PER_WORD) as i64) + l.clone().floor_div(four());
        let shift = (l.rem(four()) * Expr::int(16)).convert(Scalar::U64);
        let bits = Expr::binary(BinaryOp::Shr, load(ids[2], vec![word]), shift);
        Expr::binary(BinaryOp::And, bits, Expr::Int(0xffff, Scalar::U64)).convert(Scalar::I64)
    };
    for_each_row(&mut c, p.m as i64, 1, |c, at| {
        let start = c.bind_index("start", load(ids[1], vec![at.clone()]).convert(Scalar::I64));
        let end = c.bind_index("end", load(ids[1], vec![at.clone() + Expr::int(1)]).convert(Scalar::I64));
        c.vector(lanes as u16, None, |c, _| c.set(acc, vec![], Expr::f32(0.0)));
        c.serial("e", start, end, 1, |c, e| {
            c.vector(lanes as u16, None, |c, l| {
                let value = load(ids[3], vec![e.clone() * Expr::int(lanes as i64) + l.clone()]);
                let product = Expr::fma(value, input(&b, column(e, l)), Expr::Reg(acc, vec![]));
                c.set(acc, vec![], product);
            });
        });
        let m = c.bind_index("row", load(ids[0], vec![at]).convert(Scalar::I64));
        store(c, p, &b, m, Expr::Reduce(ReduceOp::Add, Box::new(Expr::Reg(acc, vec![]))));
    });
    Ok(Multiplication::new(c.finish(), tables))
}

fn blocks(p: &WeightProblem, weight: &WeightMatrix, height: usize) -> Result<Multiplication, FormatError> {
    let pattern = weight.pattern()?;
    let dense = weight.dense();
    let k = p.k();
    let (mut starts, mut columns, mut values) = (vec![0i32], Vec::new(), Vec::new());
    for panel in 0..p.m / height {
        let rows = panel * height..(panel + 1) * height;
        let mut present: Vec<u32> = rows.clone().flat_map(|r| pattern.row(r).iter().copied()).collect();
        present.sort_unstable();
        present.dedup();
        for &col in &present {
            columns.push(col);
            values.extend(rows.clone().map(|r| dense[r * k + col as usize]));
        }
        while !columns.len().is_multiple_of(BLOCK_CHAINS) {
            columns.push(present.last().copied().unwrap_or(0));
            values.extend(std::iter::repeat_n(0.0f32, height));
        }
        starts.push((columns.len() / BLOCK_CHAINS) as i32);
    }
    let columns = match k <= 1 << 16 {
        true => Table::of("columns", Scalar::U16, columns.iter().map(|&c| c as u16).collect::<Vec<u16>>()),
        false => Table::of("columns", Scalar::U32, columns),
    };
    let tables = vec![Table::of("starts", Scalar::I32, starts), columns, Table::of("values", Scalar::F32, values)];

    let mut c = Context::new("spmv_blocks");
    c.describe(format!("panels of {height} outputs, {BLOCK_CHAINS} columns in flight"));
    let b = declare_activations(&mut c, p);
    let ids = declare_tables(&mut c, &tables);
    let lanes = height as u16;
    let acc = c.register("acc", Type::vector(Scalar::F32, lanes), vec![BLOCK_CHAINS as u32]);
    let out = c.buffer("sums", Scalar::F32, BufferKind::Scratch, vec![Expr::int(height as i64)], vec![]);
    for_each_row(&mut c, p.m as i64, height as i64, |c, first| {
        let panel = c.bind_index("panel", first.clone().floor_div(Expr::int(height as i64)));
        let start = c.bind_index("start", load(ids[0], vec![panel.clone()]).convert(Scalar::I64));
        let end = c.bind_index("end", load(ids[0], vec![panel + Expr::int(1)]).convert(Scalar::I64));
        let chains = BLOCK_CHAINS as u32;
        c.unroll("u", chains, |c, u| c.vector(lanes, None, |c, _| c.set(acc, vec![u], Expr::f32(0.0))));
        c.serial("e", start, end, 1, |c, e| {
            c.unroll("u", chains, |c, u| {
                let entry = c.bind_index("entry", e * Expr::int(i64::from(chains)) + u.clone());
                let column = load(ids[1], vec![entry.clone()]).convert(Scalar::I64);
                let x = c.bind("x_now", Type::scalar(Scalar::F32), input(&b, column));
                c.vector(lanes, None, |c, l| {
                    let value = load(ids[2], vec![entry * Expr::int(i64::from(lanes)) + l]);
                    c.set(acc, vec![u.clone()], Expr::fma(value, x, Expr::Reg(acc, vec![u])));
                });
            });
        });
        c.vector(lanes, None, |c, l| {
            let sum = |u: i64| Expr::Reg(acc, vec![Expr::int(u)]);
            c.store(out, vec![l], (sum(0) + sum(1)) + (sum(2) + sum(3)));
        });
        c.serial("r", Expr::int(0), Expr::int(i64::from(lanes)), 1, |c, r| {
            let sum = load(out, vec![r.clone()]);
            store(c, p, &b, first + r, sum);
        });
    });
    Ok(Multiplication::new(c.finish(), tables))
}
