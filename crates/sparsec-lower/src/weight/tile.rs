//! What both multiplying kernels share: buffers, the walk over tiles and partitions, packing the window, the epilogue.

use sparsec_graph::Dim;
use sparsec_tir::{Access, BinaryOp, BufferId, BufferKind, CompareOp, Expr, RegisterId, Scalar, Stmt, Type, load};

use crate::context::Context;
use crate::kernels::map::converted;
use crate::scalar::{Typed, emit_scalar};
use crate::weight::geometry::{Geometry, Plane};
use crate::weight::problem::{View, WeightProblem};

/// Elements of a cache line of 64 bytes.
pub(crate) const LINE: i64 = 16;

/// The buffers of a multiplying kernel, in the order of the launch's arguments, and its scratch memory.
pub(crate) struct Buffers {
    pub(crate) activations: Activations,
    /// The packed window.
    pub(crate) window: BufferId,
    /// Unfinished results of a tile, a row of lanes for each output and one for dummies.
    pub(crate) partial: BufferId,
}

/// Where a tile lies.
#[derive(Clone)]
pub(crate) struct Tile {
    pub(crate) batch: Expr,
    /// First output row.
    pub(crate) row: Expr,
    /// First output column.
    pub(crate) col: Expr,
}

/// The buffers of activations.
pub(crate) struct Activations {
    pub(crate) x: BufferId,
    pub(crate) y: BufferId,
    pub(crate) args: Vec<BufferId>,
}

/// Declares the buffers of activations.
pub(crate) fn declare_activations(c: &mut Context, p: &WeightProblem) -> Activations {
    let view = |c: &mut Context, name: &str, v: &View, kind: BufferKind| {
        let shape = c.dims(&v.shape);
        let strides = c.dims(&v.strides);
        c.buffer(name, v.elem, kind, shape, strides)
    };
    let x = view(c, "x", &p.x, BufferKind::Input);
    let y = view(c, "y", &p.y, BufferKind::Output);
    let args = p.args.iter().enumerate().map(|(i, v)| match p.in_place == Some(i) {
        true => y,
        false => view(c, &format!("arg{i}"), v, BufferKind::Input),
    });
    let args = args.collect();
    Activations { x, y, args }
}

/// Declares the buffers of activations and the scratch memory.
pub(crate) fn declare(c: &mut Context, p: &WeightProblem, g: &Geometry, partial_rows: usize) -> Buffers {
    let activations = declare_activations(c, p);
    let size = (g.part_channels * g.channel_size() + g.tile_lanes().max(g.machine_lanes)) as i64;
    let window = c.buffer("window", Scalar::F32, BufferKind::Scratch, vec![Expr::int(size)], vec![]);
    let shape = vec![Expr::int(partial_rows as i64), Expr::int(g.tile_lanes() as i64)];
    let partial = c.buffer("partial", Scalar::F32, BufferKind::Scratch, shape, vec![]);
    Buffers { activations, window, partial }
}

/// The parallel loop over all tiles.
pub(crate) fn for_each_tile(c: &mut Context, p: &WeightProblem, g: &Geometry, f: impl FnOnce(&mut Context, Tile)) {
    for_each_share(c, p, g, 1, |c, tile, _| f(c, tile));
}

/// The parallel loop over all tiles, each in several shares of the outputs. `f` gets the shares that it is to compute, the
/// first one and the end: a thread that has several packs the window once for all of them.
pub(crate) fn for_each_share(
    c: &mut Context,
    p: &WeightProblem,
    g: &Geometry,
    shares: usize,
    f: impl FnOnce(&mut Context, Tile, [Expr; 2]),
) {
    let tiles_h = p.y.shape[2].ceil_div(&Dim::constant(g.tile_rows as i64));
    let tiles_w = p.y.shape[3].ceil_div(&Dim::constant(g.tile_cols as i64));
    let per_image = tiles_h.clone() * tiles_w.clone();
    let tasks = c.dim(&(p.y.shape[0].clone() * per_image.clone() * Dim::constant(shares as i64)));
    let (single, flat) = (p.y.shape[0].is(1), tiles_h.is(1));
    let (per_image, tiles_w) = (c.dim(&per_image), c.dim(&tiles_w));
    let run = |c: &mut Context, task: Expr, shares: [Expr; 2]| {
        let (batch, tile) = if single {
            (Expr::int(0), task)
        } else {
            let batch = c.bind_index("batch", task.clone().floor_div(per_image.clone()));
            (batch, c.bind_index("tile", task.rem(per_image)))
        };
        let (row, col) = if flat {
            (Expr::int(0), c.bind_index("col", tile * Expr::int(g.tile_cols as i64)))
        } else {
            let row = c.bind_index("row", tile.clone().floor_div(tiles_w.clone()) * Expr::int(g.tile_rows as i64));
            (row, c.bind_index("col", tile.rem(tiles_w) * Expr::int(g.tile_cols as i64)))
        };
        f(c, Tile { batch, row, col }, shares);
    };
    if shares == 1 {
        c.parallel("task", tasks, |c, task| run(c, task, [Expr::int(0), Expr::int(1)]));
        return;
    }
    let each = Expr::int(shares as i64);
    c.groups(["task", "last_task"], tasks, shares as i64, |c, [task, last]| {
        let place = c.bind_index("place", task.clone().floor_div(each.clone()));
        let first = c.bind_index("first_share", task.clone().rem(each));
        let last = c.bind_index("last_share", first.clone() + (last - task));
        run(c, place, [first, last]);
    });
}

/// First channel and number of channels of a partition, where all but the last have the same number.
pub(crate) fn channels_of_part(c: &mut Context, p: &WeightProblem, g: &Geometry, part: &Expr) -> (Expr, Expr) {
    let first = c.bind_index("first_channel", part.clone() * Expr::int(g.part_channels as i64));
    let rest = Expr::int(p.channels as i64) - first.clone();
    let channels = c.bind_index("channels", rest.min(Expr::int(g.part_channels as i64)));
    (first, channels)
}

/// Copies the part of X that a tile needs of `count` channels from `first` on into the window.
pub(crate) fn pack_window(
    c: &mut Context,
    (p, g, b): (&WeightProblem, &Geometry, &Buffers),
    tile: &Tile,
    (first, count): (Expr, Expr),
) {
    let staged = c.register("staged", Type::vector(Scalar::F32, g.machine_lanes as u16), vec![]);
    let size = g.channel_size() as i64;
    // One plane of one row, without a border.
    let is_copy = g.is_flat() && p.kernel_size() == 1;
    let end = count.clone() * Expr::int(size);
    c.serial("ch", Expr::int(0), count, 1, |c, ch| {
        prefetch_window(c, (p, g, b), tile, &(first.clone() + ch.clone()));
        if is_copy && p.rows.stride == 1 && p.cols.stride == 1 && p.cols.pad == 0 && p.rows.pad == 0 {
            let width = c.dim(&p.x.shape[3]);
            let base = c.bind_index("base", ch.clone() * Expr::int(size));
            c.unroll("t", g.tile_cols.div_ceil(g.machine_lanes) as u32, |c, t| {
                let at = t * Expr::int(g.machine_lanes as i64);
                let from = tile.col.clone() + at.clone();
                let index = |l: Expr| vec![tile.batch.clone(), first.clone() + ch.clone(), tile.row.clone(), l];
                copy(
                    c,
                    g,
                    staged,
                    (b.activations.x, width - from.clone()),
                    |l| index(from.clone() + l),
                    b.window,
                    base + at,
                );
            });
            return;
        }
        for (i, plane) in g.planes.iter().enumerate() {
            let base = ch.clone() * Expr::int(size) + Expr::int((i * g.plane_size()) as i64);
            let base = c.bind_index("base", base);
            pack_plane(c, (p, g, b), staged, tile, (first.clone() + ch.clone(), base), plane);
        }
    });
    // Lanes without a pixel read behind the last plane, and what they compute is dropped. On a GPU, memory that nothing has
    // written is a fault to those who look for faults.
    if g.lanes == usize::from(crate::TargetInfo::WARP.lanes) && !is_copy {
        for at in (0..g.tile_lanes().max(g.lanes)).step_by(g.lanes) {
            let at = end.clone() + Expr::int(at as i64);
            c.vector(g.lanes as u16, None, |c, l| c.store(b.window, vec![at + l], Expr::f32(0.0)));
        }
    }
}

/// Lines of X to be asked for ahead of the packing loop. Measured on Zen 4 with X in the last-level cache: with 32 to
/// 64 lines on their way, packing runs at 45 GB/s, without at 20.
pub(crate) const LINES_AHEAD: usize = 48;

/// Asks for what the packing loop will read some channels after this one: channels lie an image apart, which no
/// hardware prefetcher follows.
fn prefetch_window(c: &mut Context, (p, g, b): (&WeightProblem, &Geometry, &Buffers), tile: &Tile, channel: &Expr) {
    if !p.x.strides[3].is(1) {
        return;
    }
    let (sh, sw) = (p.rows.stride, p.cols.stride);
    // Rows, and elements that lie one behind the other: whole rows are one piece.
    let (rows, elements) = match whole_rows(p, g) {
        Some(width) if p.x.strides[2].is(width) => (1, g.window_rows * sh * width as usize),
        Some(width) => (g.window_rows * sh, width as usize),
        None => (g.window_rows * sh, (g.tile_cols + p.cols.reach()) * sw),
    };
    let lines = elements.div_ceil(LINE as usize);
    let ahead = LINES_AHEAD.div_ceil(rows * lines) as i64;
    let row = tile.row.clone() * Expr::int(sh as i64) - Expr::int(p.rows.pad);
    c.unroll("row", rows as u32, |c, r| {
        c.unroll("line", lines as u32, |c, line| {
            let col = tile.col.clone() * Expr::int(sw as i64) + line * Expr::int(LINE);
            let at = vec![tile.batch.clone(), channel.clone() + Expr::int(ahead), row + r, col];
            c.push(Stmt::Prefetch(Access::element(b.activations.x, at)));
        });
    });
}

/// Copies one plane of one channel, row by row, zeros where the window leaves the image.
fn pack_plane(
    c: &mut Context,
    (p, g, b): (&WeightProblem, &Geometry, &Buffers),
    staged: RegisterId,
    tile: &Tile,
    (channel, base): (Expr, Expr),
    plane: &Plane,
) {
    let (height, width) = (c.dim(&p.x.shape[2]), c.dim(&p.x.shape[3]));
    let (sh, sw) = (p.rows.stride as i64, p.cols.stride as i64);
    let lanes = g.machine_lanes as i64;
    // Pixel j of the window's row is column `left + j * sw` of the image.
    let first_left = (plane.phase.1 + plane.shift * p.cols.stride) as i64 - p.cols.pad;
    let known = whole_rows(p, g).map(|width| Segment::of(first_left, width, sw, g));
    let left = tile.col.clone() * Expr::int(sw) + Expr::int(first_left);
    let left = if known.is_some() { Expr::int(first_left) } else { c.bind_index("left", left) };
    let line_of = |wr: &Expr| base.clone() + wr.clone() * Expr::int(g.pitch as i64);
    let row_of =
        |wr: &Expr| (tile.row.clone() + wr.clone()) * Expr::int(sh) + Expr::int(plane.phase.0 as i64 - p.rows.pad);
    let inside = |row: &Expr| {
        Expr::binary(
            BinaryOp::And,
            Expr::compare(CompareOp::Ge, row.clone(), Expr::int(0)),
            Expr::compare(CompareOp::Lt, row.clone(), height.clone()),
        )
    };
    let index =
        |row: &Expr, j: Expr| vec![tile.batch.clone(), channel.clone(), row.clone(), left.clone() + j * Expr::int(sw)];
    let zero = |c: &mut Context, at: Expr| {
        c.vector(g.machine_lanes as u16, None, |c, l| c.store(b.window, vec![at + l], Expr::f32(0.0)));
    };
    // Whole vectors are written: what lies behind the line belongs to the next one, which is written later.
    if let Some(Segment { lo, hi }) = known {
        c.serial("wr", Expr::int(0), Expr::int(g.window_rows as i64), 1, |c, wr| {
            let row = c.bind_index("image_row", row_of(&wr));
            let line = c.bind_index("line", line_of(&wr));
            let zeros = |c: &mut Context, from: i64, to: i64| {
                (from..to).step_by(g.machine_lanes).for_each(|j| zero(c, line.clone() + Expr::int(j)));
            };
            let behind = lo + (hi - lo + lanes - 1) / lanes * lanes;
            c.branch(
                inside(&row),
                |c| {
                    zeros(c, 0, lo);
                    for j in (lo..hi).step_by(g.machine_lanes) {
                        let at = |l: Expr| index(&row, Expr::int(j) + l);
                        let to = line.clone() + Expr::int(j);
                        copy(c, g, staged, (b.activations.x, Expr::int(hi - j)), at, b.window, to);
                    }
                    zeros(c, behind, g.pitch as i64);
                },
                |c| zeros(c, 0, g.pitch as i64),
            );
        });
        return;
    }
    let before = Expr::int(0) - left.clone();
    let lo = c.bind_index("lo", before.max(Expr::int(0)).ceil_div(Expr::int(sw)));
    let behind = (width.clone() - left.clone()).max(Expr::int(0)).ceil_div(Expr::int(sw));
    let hi = c.bind_index("hi", behind.min(Expr::int(g.pitch as i64)));
    if g.line_vectors().is_some() {
        // A row is one vector, unless the image begins inside of it.
        let lo = c.bind_index("start", lo.min(hi.clone().max(Expr::int(0))));
        c.serial("wr", Expr::int(0), Expr::int(g.window_rows as i64), 1, |c, wr| {
            let row = c.bind_index("image_row", row_of(&wr));
            let line = c.bind_index("line", line_of(&wr));
            c.branch(
                inside(&row),
                |c| {
                    let begins = Expr::compare(CompareOp::Gt, lo.clone(), Expr::int(0));
                    c.branch(begins, |c| zero(c, line.clone()), |_| {});
                    let at = |l: Expr| index(&row, lo.clone() + l);
                    copy(c, g, staged, (b.activations.x, hi - lo.clone()), at, b.window, line.clone() + lo.clone());
                },
                |c| zero(c, line.clone()),
            );
        });
        return;
    }
    c.serial("wr", Expr::int(0), Expr::int(g.window_rows as i64), 1, |c, wr| {
        let row = c.bind_index("image_row", row_of(&wr));
        let line = c.bind_index("line", line_of(&wr));
        c.serial("j", Expr::int(0), Expr::int(g.pitch as i64), lanes, |c, j| zero(c, line.clone() + j));
        c.branch(
            inside(&row),
            |c| {
                c.serial("j", lo, hi.clone(), lanes, |c, j| {
                    let at = |l: Expr| index(&row, j.clone() + l);
                    copy(c, g, staged, (b.activations.x, hi - j.clone()), at, b.window, line + j.clone());
                });
            },
            |_| {},
        );
    });
}

/// The columns of a line of the window that lie in the image: `lo..hi`.
struct Segment {
    lo: i64,
    hi: i64,
}

impl Segment {
    fn of(left: i64, width: i64, stride: i64, g: &Geometry) -> Segment {
        let ceil = |n: i64| (n.max(0) + stride - 1) / stride;
        let lo = ceil(-left).min(g.pitch as i64);
        Segment { lo, hi: ceil(width - left).min(g.pitch as i64).max(lo) }
    }
}

/// The width of the image where tiles are whole rows, so that every line of every window has the same columns.
pub(crate) fn whole_rows(p: &WeightProblem, g: &Geometry) -> Option<i64> {
    let whole = p.y.shape[3].as_const().is_some_and(|w| w <= g.tile_cols as i64);
    p.x.shape[3].as_const().filter(|_| whole)
}

/// Copies one vector: the lanes below `active` are read, all are written, zeros in the others.
fn copy(
    c: &mut Context,
    g: &Geometry,
    staged: RegisterId,
    (from, active): (BufferId, Expr),
    index: impl Fn(Expr) -> Vec<Expr>,
    to: BufferId,
    at: Expr,
) {
    c.vector(g.machine_lanes as u16, Some(active), |c, l| c.set(staged, vec![], load(from, index(l))));
    c.vector(g.machine_lanes as u16, None, |c, l| c.store(to, vec![at + l], Expr::Reg(staged, vec![])));
}

/// Applies the epilogue to finished results of output `m` and stores them. `lane` gives the sum in a lane: of a
/// register where the tile is flat, else of the partial results.
pub(crate) fn finish_row(
    c: &mut Context,
    (p, g, b): (&WeightProblem, &Geometry, &Buffers),
    tile: &Tile,
    m: &Expr,
    sum: &dyn Fn(Expr, Expr) -> Expr,
) {
    let lanes = g.lanes as i64;
    let width = c.dim(&p.y.shape[3]);
    if g.is_flat() {
        let even = p.y.shape[3].as_const().is_some_and(|w| w % g.tile_cols as i64 == 0);
        c.unroll("t", g.vectors as u32, |c, t| {
            let from = tile.col.clone() + t.clone() * Expr::int(lanes);
            let active = (!even).then(|| width - from.clone());
            c.vector(g.lanes as u16, active, |c, l| {
                let at = [tile.batch.clone(), m.clone(), tile.row.clone(), from + l.clone()];
                store_pixel(c, p, &b.activations, &at, sum(t, l));
            });
        });
        return;
    }
    let height = c.dim(&p.y.shape[2]);
    let rows = (height - tile.row.clone()).min(Expr::int(g.tile_rows as i64));
    if let Some((of_row, second)) = g.line_vectors() {
        c.serial("tr", Expr::int(0), rows, 1, |c, tr| {
            let row = c.bind_index("row", tile.row.clone() + tr.clone());
            let line = c.bind_index("line", tr * Expr::int(of_row as i64 * lanes));
            // Pixels that both vectors have are stored once: an operand of the epilogue may lie where the result does.
            let (half, second, all) = (g.lanes as i64, second as i64, g.tile_cols as i64);
            for (first, lane) in [(0, 0), (half, 2 * half - second)].into_iter().take(of_row) {
                let from = c.bind_index("from", tile.col.clone() + Expr::int(first));
                let active = (width.clone() - from.clone()).min(Expr::int(all - first));
                c.vector(g.lanes as u16, Some(active), |c, l| {
                    let at = [tile.batch.clone(), m.clone(), row.clone(), from + l.clone()];
                    store_pixel(c, p, &b.activations, &at, sum(Expr::int(0), line.clone() + Expr::int(lane) + l));
                });
            }
        });
        return;
    }
    let cols = (width - tile.col.clone()).min(Expr::int(g.tile_cols as i64));
    c.serial("tr", Expr::int(0), rows, 1, |c, tr| {
        let line = c.bind_index("line", tr.clone() * Expr::int(g.pitch as i64));
        c.serial("j", Expr::int(0), cols.clone(), lanes, |c, j| {
            c.vector(g.lanes as u16, Some(cols - j.clone()), |c, l| {
                let row = tile.row.clone() + tr;
                let at = [tile.batch.clone(), m.clone(), row, tile.col.clone() + j.clone() + l.clone()];
                store_pixel(c, p, &b.activations, &at, sum(Expr::int(0), line + j + l));
            });
        });
    });
}

/// The index of an operand of the epilogue at a pixel.
pub(crate) fn arg_index(view: &View, at: &[Expr; 4]) -> Vec<Expr> {
    let fixed = |stride: &Dim, extent: &Dim| stride.is(0) && extent.is(1);
    let axes = at.iter().zip(view.shape.iter().zip(&view.strides));
    axes.map(|(e, (extent, stride))| if fixed(stride, extent) { Expr::int(0) } else { e.clone() }).collect()
}

/// Asks for the memory that [`store_pixel`] will touch.
pub(crate) fn prefetch_pixel(c: &mut Context, p: &WeightProblem, b: &Activations, at: &[Expr; 4]) {
    let unit = |view: &View| view.strides[3].is(1);
    if unit(&p.y) {
        c.push(Stmt::Prefetch(Access::element(b.y, at.to_vec())));
    }
    for (view, &arg) in p.args.iter().zip(&b.args) {
        if unit(view) && arg != b.y {
            c.push(Stmt::Prefetch(Access::element(arg, arg_index(view, at))));
        }
    }
}

/// Applies the epilogue to one sum and stores it at `(batch, output, row, column)`.
pub(crate) fn store_pixel(c: &mut Context, p: &WeightProblem, b: &Activations, at: &[Expr; 4], sum: Expr) {
    let value = epilogue_value(c, p, &b.args, at, sum);
    let value = converted(value, p.y.elem);
    c.store(b.y, at.to_vec(), value);
}

/// The epilogue of one sum at `(batch, output, row, column)`; `args` are the buffers of its operands.
pub(crate) fn epilogue_value(
    c: &mut Context,
    p: &WeightProblem,
    args: &[BufferId],
    at: &[Expr; 4],
    sum: Expr,
) -> Typed {
    let Some(expr) = &p.epilogue else { return (sum, Scalar::F32) };
    let acc: Typed = (sum, Scalar::F32);
    let mut args = |_: &mut Context, i: u32| {
        let view = &p.args[i as usize];
        (load(args[i as usize], arg_index(view, at)), view.elem)
    };
    emit_scalar(c, expr, Some(&acc), &mut args, Scalar::F32)
}
