//! The kernel of rows that share columns: `dense`, `bsr<R,C>`, `pruned`, and `csr` as blocks of one row.
//!
//! A panel is `R` output rows. Each of its columns that holds a nonzero is an entry: one offset, `R` values. The
//! vectors of X are loaded once for an entry and multiplied by each of the `R` values, which keeps the multiply-add
//! units busy rather than the load units.
//!
//! ```text
//! parallel tile:
//!   for part:                 pack the part's channels of X
//!     for panel:
//!       for e in entries of (part, panel):
//!         x[t] = window[offset(e) + t]
//!         unroll r: acc[r, t] += value(e, r) * x[t]
//! ```
//!
//! Where all panels have all columns (`dense`), the offsets are those of one partition and are stored once.

use sparsec_sparse::{Format, FormatError, Pattern};
use sparsec_tir::{Expr, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::geometry::{Geometry, Layout};
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::sums::Sums;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{channels_of_part, declare, for_each_tile, pack_window};

/// Which rows stand together, and in which order.
struct Panels {
    /// Output rows, `height` a panel; `m` for a dummy.
    rows: Vec<u32>,
    height: usize,
    /// Whether every panel has every column.
    uniform: bool,
}

/// The kernel and its tables.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Result<Multiplication, FormatError> {
    let wide = target.registers >= 32;
    let pattern = weight.pattern()?;
    let (height, max_vectors) = match format {
        Format::Bsr { r, .. } => match *r as usize {
            r @ 1..=4 => (r, if wide { 24 / r.max(3) } else { 3 }),
            r if r % 6 == 0 => (6, if wide { 4 } else { 2 }),
            r if r % 4 == 0 => (if wide { 8.min(r) } else { 4 }, 3),
            r => (r.min(6), 2),
        },
        Format::Csr => (1, 8),
        _ => (6.min(p.m), if wide { 4 } else { 2 }),
    };
    let uniform = matches!(format, Format::Dense) && !weight.is_grouped();
    let choice = Geometry::choose(p, target, Layout::Compact, height as f64, max_vectors);
    let g = &choice.geometry;
    let panels = Panels::of(p, &pattern, height, uniform);
    let product = build(p, g, weight, &pattern, &panels, matches!(format, Format::Dense));
    Ok(product.with_schedules(g.schedule(height), choice.others(p, |_| vec![height])))
}

impl Panels {
    /// Rows in order, rows without a nonzero last, so that they share panels without entries.
    fn of(p: &WeightProblem, pattern: &Pattern, height: usize, uniform: bool) -> Self {
        let mut rows: Vec<u32> = (0..p.m as u32).collect();
        if !uniform {
            rows.sort_by_key(|&r| pattern.row(r as usize).is_empty());
        }
        while !rows.len().is_multiple_of(height) {
            rows.push(p.m as u32);
        }
        Panels { rows, height, uniform }
    }

    fn count(&self) -> usize {
        self.rows.len() / self.height
    }

    fn panel(&self, i: usize) -> &[u32] {
        &self.rows[i * self.height..(i + 1) * self.height]
    }
}

/// The columns of a panel within a partition: those where some row has a nonzero.
fn panel_columns(pattern: &Pattern, rows: &[u32], m: usize, (from, to): (usize, usize), dense: bool) -> Vec<usize> {
    let lines = || rows.iter().filter(|&&r| (r as usize) < m).map(|&r| pattern.row(r as usize));
    let in_part = |line: &'_ [u32]| {
        let start = line.partition_point(|&c| (c as usize) < from);
        let end = line.partition_point(|&c| (c as usize) < to);
        line[start..end].iter().map(|&c| c as usize).collect::<Vec<_>>()
    };
    let mut columns: Vec<usize> = lines().flat_map(in_part).collect();
    columns.sort_unstable();
    columns.dedup();
    // A dense format keeps the zeros between a group's first and last column.
    match (dense, columns.first(), columns.last()) {
        (true, Some(&first), Some(&last)) => (first..=last).collect(),
        _ => columns,
    }
}

fn tables(
    p: &WeightProblem,
    g: &Geometry,
    weight: &WeightMatrix,
    pattern: &Pattern,
    panels: &Panels,
    dense: bool,
) -> Vec<Table> {
    let part_cols = g.part_channels * p.kernel_size();
    let rows = Table::of("rows", Scalar::I32, panels.rows.iter().map(|&r| r as i32).collect());
    let (m, k, height) = (p.m, p.k(), panels.height);
    if panels.uniform {
        let offsets = (0..part_cols.min(k)).map(|col| g.column_offset(p, col) as u16).collect();
        let (weight, order) = (weight.clone(), panels.rows.clone());
        let values = Table::lazy("values", Scalar::F32, (order.len() * k) as u64, move |out| {
            let dense = weight.dense();
            let mut line = Vec::with_capacity(part_cols * height);
            for from in (0..k).step_by(part_cols) {
                for panel in order.chunks_exact(height) {
                    line.clear();
                    for col in from..(from + part_cols).min(k) {
                        let value = |&r: &u32| if (r as usize) < m { dense[r as usize * k + col] } else { 0.0 };
                        line.extend(panel.iter().map(value));
                    }
                    out.write_all(bytemuck::cast_slice(&line))?;
                }
            }
            Ok(())
        });
        return vec![rows, Table::of("offsets", Scalar::U16, offsets), values];
    }
    let elements = weight.dense();
    let (mut starts, mut offsets, mut values) = (vec![0i32], Vec::new(), Vec::new());
    for from in (0..k).step_by(part_cols) {
        for i in 0..panels.count() {
            let panel = panels.panel(i);
            for col in panel_columns(pattern, panel, m, (from, (from + part_cols).min(k)), dense) {
                offsets.push(g.column_offset(p, col - from) as u16);
                let value = |&r: &u32| if (r as usize) < m { elements[r as usize * k + col] } else { 0.0 };
                values.extend(panel.iter().map(value));
            }
            starts.push(offsets.len() as i32);
        }
    }
    vec![
        rows,
        Table::of("offsets", Scalar::U16, offsets),
        Table::of("values", Scalar::F32, values),
        Table::of("starts", Scalar::I32, starts),
    ]
}

fn build(
    p: &WeightProblem,
    g: &Geometry,
    weight: &WeightMatrix,
    pattern: &Pattern,
    panels: &Panels,
    dense: bool,
) -> Multiplication {
    let height = panels.height;
    let parts = g.parts(p) as i64;
    let mut c = Context::new(if panels.uniform { "gemm_packed" } else { "spmm_panels" });
    c.describe(format!("panels of {height} rows, {}", g.describe()));
    let buffers = declare(&mut c, p, g, Sums::partial_rows(p, g, height));
    let sums = Sums::declare(&mut c, (p, g), height, panels.rows.contains(&(p.m as u32)));
    let tables = tables(p, g, weight, pattern, panels, dense);
    let ids = declare_tables(&mut c, &tables);
    let (rows_id, offsets_id, values_id) = (ids[0], ids[1], ids[2]);
    let word = |table, i: Expr| load(table, vec![i]).convert(Scalar::I64);
    let lanes = g.lanes as u16;
    let (h, t_count) = (height as u32, g.vectors as u32);
    let x = c.register("x_now", Type::vector(Scalar::F32, lanes), vec![t_count]);
    let panel_count = panels.count() as i64;
    let part_cols = (g.part_channels * p.kernel_size()) as i64;

    for_each_tile(&mut c, p, g, |c, tile| {
        c.serial("part", Expr::int(0), Expr::int(parts), 1, |c, part| {
            let (first, channels) = channels_of_part(c, p, g, &part);
            pack_window(c, (p, g, &buffers), &tile, (first, channels.clone()));
            c.serial("panel", Expr::int(0), Expr::int(panel_count), 1, |c, panel| {
                let first_row = panel.clone() * Expr::int(i64::from(h));
                sums.begin(c, &buffers, &part, &|r| word(rows_id, first_row.clone() + r.clone()));
                sums.prefetch_end(c, &buffers, &part, &tile);
                // Entries `from..to`; values lie at entry + shift.
                let (from, to, shift) = if panels.uniform {
                    let count = channels.clone() * Expr::int(p.kernel_size() as i64);
                    let count = c.bind_index("count", count);
                    let before = part.clone() * Expr::int(part_cols) * Expr::int(panel_count);
                    let shift = c.bind_index("shift", before + panel.clone() * count.clone());
                    (Expr::int(0), count, shift)
                } else {
                    let at = part.clone() * Expr::int(panel_count) + panel.clone();
                    let from = c.bind_index("from", word(ids[3], at.clone()));
                    let to = c.bind_index("to", word(ids[3], at + Expr::int(1)));
                    (from, to, Expr::int(0))
                };
                c.serial("e", from, to, 1, |c, e| {
                    let offset = c.bind_index("offset", word(offsets_id, e.clone()));
                    let at = c.bind_index("at", (e + shift) * Expr::int(i64::from(h)));
                    c.unroll("t", t_count, |c, t| {
                        c.vector(lanes, None, |c, l| {
                            let lane = offset + t.clone() * Expr::int(i64::from(lanes)) + l;
                            c.set(x, vec![t], load(buffers.window, vec![lane]));
                        });
                    });
                    c.unroll("r", h, |c, r| {
                        let value = load(values_id, vec![at + r.clone()]);
                        let value = c.bind("value", Type::scalar(Scalar::F32), value);
                        sums.add_registers(c, &r, &value, x);
                    });
                });
                sums.end(c, &buffers, &part, &tile);
            });
        });
    });
    Multiplication::new(c.finish(), tables)
}
