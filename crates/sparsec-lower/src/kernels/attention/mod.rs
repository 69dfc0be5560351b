//! Attention, tile by tile: `softmax(f(q k)) v` for the queries of one tile at a time.
//!
//! A vector holds neighbouring queries, so the softmax of a query runs down a lane and never across. Keys are taken in
//! chunks; what was summed before is scaled when a chunk holds a larger score (Milakov and Gimelshein, "Online normalizer
//! calculation for softmax", 2018), so the scores of one chunk are all that is ever in memory:
//!
//! ```text
//!                 queries ->  one tile                           for each chunk of keys
//!        depth  [ packed      ]  q                                 scores = f(k q), largest = max(largest, scores)
//!   keys chunk  [ scores      ]  f(k q), then exp(. - largest)     scores = exp(scores - largest), total += scores
//!     features  [ sums        ]  v scores                          sums = sums * exp(change of largest) + v scores
//! ```
//!
//! Where a constant mask leaves few keys to the queries of a tile, those are taken from a table ([`Sampled`]), and a chunk is a part of its
//! row.

pub(crate) mod sampled;

use sparsec_graph::{Dim, ScalarExpr};
use sparsec_tir::{BinaryOp, BufferId, BufferKind, CompareOp, Expr, RegisterId, Scalar, Type, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::gemm::{Matrices, buffer};
use crate::scalar::{Typed, emit_scalar};
use crate::target::TargetInfo;
use crate::weight::tables::{Table, declare_tables};
use sampled::{Mask, Sampled};

/// Keys whose scores are held at a time.
const CHUNK: i64 = 128;

/// An attention in `f32`; every operand is seen as (outer batch, inner batch, row, column).
pub(crate) struct Attention {
    /// Depth x queries.
    pub(crate) q: Matrices,
    /// Keys x depth.
    pub(crate) k: Matrices,
    /// Features x keys.
    pub(crate) v: Matrices,
    /// Features x queries.
    pub(crate) y: Matrices,
    /// Operands of `expr`, keys x queries.
    pub(crate) args: Vec<Matrices>,
    /// What the softmax is taken of, given the score.
    pub(crate) expr: ScalarExpr,
    /// Constant extents of the depth and of the features.
    pub(crate) depth: i64,
    pub(crate) features: i64,
    /// Which of `args` are constant.
    pub(crate) masks: Vec<Option<Mask>>,
}

struct Schedule {
    lanes: u16,
    /// Rows and vectors of a tile in registers.
    rows: u32,
    vectors: u32,
    /// Whether tiles divide the queries.
    even: bool,
    q: BufferId,
    k: BufferId,
    v: BufferId,
    y: BufferId,
    args: Vec<BufferId>,
    packed: BufferId,
    scores: BufferId,
    sums: BufferId,
    /// First keys of the tiles, and keys, where not all are taken.
    sampled: Option<(BufferId, BufferId)>,
    acc: RegisterId,
    now: RegisterId,
    row_of: RegisterId,
    key_of: Option<RegisterId>,
    largest: RegisterId,
    newest: RegisterId,
    factor: RegisterId,
    total: RegisterId,
}

/// Where a tile lies, and extents.
struct Tile {
    b: [Expr; 2],
    first: Expr,
    queries: Expr,
    /// Where its keys begin in their table; unused where all are taken.
    start: Expr,
}

/// The kernel and its tables; its arguments are `q, k, v, y, args..., tables...`.
pub(crate) fn attention_kernel(a: &Attention, target: &TargetInfo) -> (BuiltKernel, Vec<Table>) {
    let known = a.k.shape[2].as_const().zip(a.y.shape[3].as_const());
    let tile = i64::from(target.lanes) * vectors_of(a, target);
    let sampled = known.and_then(|extents| Sampled::of(&a.expr, &a.masks, extents, tile));
    let mut c = Context::new(if sampled.is_some() { "attention_sampled" } else { "attention" });
    if let Some(sampled) = &sampled {
        c.describe(sampled.describe());
    }
    let tables = sampled.as_ref().map_or_else(Vec::new, Sampled::tables);
    let s = Schedule::declare(&mut c, a, target, &tables);
    let tiles = a.y.shape[3].ceil_div(&Dim::constant(tile));
    let per_batch = a.y.shape[1].clone() * tiles.clone();
    let tasks = c.dim(&(a.y.shape[0].clone() * per_batch.clone()));
    let (per_batch, tiles) = (c.dim(&per_batch), c.dim(&tiles));
    let (queries, keys) = (c.dim(&a.y.shape[3]), c.dim(&a.k.shape[2]));
    let longest = sampled.as_ref().map(|s| s.longest).or(a.k.shape[2].as_const());
    let single = longest.is_some_and(|k| k <= CHUNK);
    c.parallel("task", tasks, |c, task| {
        let b0 = c.bind_index("b0", task.clone().floor_div(per_batch.clone()));
        let rest = c.bind_index("rest", task.rem(per_batch));
        let b1 = c.bind_index("b1", rest.clone().floor_div(tiles.clone()));
        let number = rest.rem(tiles.clone());
        let first = c.bind_index("first", number.clone() * Expr::int(tile));
        let (start, keys) = match (&sampled, s.sampled) {
            (Some(pattern), Some((starts, _))) => {
                let own = |b: &Expr, extent: i64| if extent > 1 { b.clone() } else { Expr::int(0) };
                let [outer, inner] = pattern.batches;
                let batch = own(&b0, outer) * Expr::int(inner) + own(&b1, inner);
                let at = c.bind_index("list", batch * tiles + number);
                let word = |at: Expr| load(starts, vec![at]).convert(Scalar::I64);
                let start = c.bind_index("start", word(at.clone()));
                let count = c.bind_index("own_keys", word(at + Expr::int(1)) - start.clone());
                (start, count)
            }
            _ => (Expr::int(0), keys),
        };
        let t = Tile { b: [b0, b1], first, queries, start };
        s.pack(c, a, &t);
        // Below every finite score, and finite, so that differences are.
        s.fill(c, s.largest, f64::from(f32::MIN));
        s.fill(c, s.total, 0.0);
        c.serial("k0", Expr::int(0), keys.clone(), CHUNK, |c, k0| {
            let count = c.bind_index("count", (keys - k0.clone()).min(Expr::int(CHUNK)));
            s.scores(c, a, &t, (&k0, &count));
            s.exponentials(c, &count);
            s.values(c, a, &t, (&k0, &count), single);
        });
        s.finish(c, a, &t);
    });
    (c.finish(), tables)
}

/// Vectors of a tile.
fn vectors_of(a: &Attention, target: &TargetInfo) -> i64 {
    let most = if target.registers >= 32 { 4 } else { 2 };
    let queries = a.y.shape[3].as_const().unwrap_or(i64::MAX);
    (1..=most).find(|t| t * i64::from(target.lanes) >= queries).unwrap_or(most)
}

impl Schedule {
    fn declare(c: &mut Context, a: &Attention, target: &TargetInfo, tables: &[Table]) -> Self {
        let wide = target.registers >= 32;
        let lanes = i64::from(target.lanes);
        let queries = a.y.shape[3].as_const();
        let vectors = vectors_of(a, target);
        let (rows, vectors, tile) = (if wide { 4 } else { 6 }, vectors as u32, vectors * lanes);
        let (q, k, v) = (
            buffer(c, "q", &a.q, BufferKind::Input),
            buffer(c, "k", &a.k, BufferKind::Input),
            buffer(c, "v", &a.v, BufferKind::Input),
        );
        let y = buffer(c, "y", &a.y, BufferKind::Output);
        let args = a.args.iter().enumerate();
        let args = args.map(|(i, m)| buffer(c, &format!("arg{i}"), m, BufferKind::Input)).collect();
        let sampled = match declare_tables(c, tables)[..] {
            [starts, keys] => Some((starts, keys)),
            _ => None,
        };
        let scratch = |c: &mut Context, name: &str, rows: i64| {
            c.buffer(name, Scalar::F32, BufferKind::Scratch, vec![Expr::int(rows), Expr::int(tile)], vec![])
        };
        let chunk = a.k.shape[2].as_const().map_or(CHUNK, |keys| keys.clamp(1, CHUNK));
        let (packed, scores) = (scratch(c, "packed", a.depth), scratch(c, "scores", chunk));
        let sums = scratch(c, "sums", a.features);
        let vector = Type::vector(Scalar::F32, target.lanes);
        let row = |c: &mut Context, name: &str| c.register(name, vector, vec![vectors]);
        Schedule {
            lanes: target.lanes,
            rows,
            vectors,
            even: queries.is_some_and(|n| n % tile == 0),
            q,
            k,
            v,
            y,
            args,
            packed,
            scores,
            sums,
            sampled,
            acc: c.register("acc", vector, vec![rows, vectors]),
            now: row(c, "now"),
            row_of: c.register("row_of", Type::INDEX, vec![rows]),
            key_of: sampled.is_some().then(|| c.register("key_of", Type::INDEX, vec![rows])),
            largest: row(c, "largest"),
            newest: row(c, "newest"),
            factor: row(c, "factor"),
            total: row(c, "total"),
        }
    }

    fn place(&self, t: &Expr, l: Expr) -> Expr {
        t.clone() * Expr::int(self.lanes.into()) + l
    }

    /// How many lanes of vector `t` are queries.
    fn active(&self, tile: &Tile, t: &Expr) -> Option<Expr> {
        let left = tile.queries.clone() - tile.first.clone() - t.clone() * Expr::int(self.lanes.into());
        (!self.even).then_some(left)
    }

    /// Runs `f` in all lanes of each vector.
    fn each(&self, c: &mut Context, f: impl FnOnce(&mut Context, Expr, Expr)) {
        c.unroll("t", self.vectors, |c, t| {
            c.vector(self.lanes, None, |c, l| f(c, t, l));
        });
    }

    fn fill(&self, c: &mut Context, register: RegisterId, value: f64) {
        self.each(c, |c, t, _| c.set(register, vec![t], Expr::f32(value)));
    }

    /// The queries of the tile.
    fn pack(&self, c: &mut Context, a: &Attention, tile: &Tile) {
        c.serial("d", Expr::int(0), Expr::int(a.depth), 1, |c, d| {
            c.unroll("t", self.vectors, |c, t| {
                c.vector(self.lanes, self.active(tile, &t), |c, l| {
                    let [b0, b1] = tile.b.clone();
                    let at = vec![b0, b1, d.clone(), tile.first.clone() + self.place(&t, l)];
                    c.set(self.now, vec![t.clone()], load(self.q, at));
                });
                c.vector(self.lanes, None, |c, l| {
                    let value = Expr::Reg(self.now, vec![t.clone()]);
                    c.store(self.packed, vec![d, self.place(&t, l)], value);
                });
            });
        });
    }

    /// Groups of rows of a product, `acc[r, t] += left(row of r, step) * right[step, t]`; `f` gets the row of `r`. Rows
    /// behind the last one repeat it: they are computed alike, and stored to the same place.
    fn product(
        &self,
        c: &mut Context,
        (rows, steps): (Expr, Expr),
        start: impl FnOnce(&mut Context, &dyn Fn(&Expr) -> Expr),
        place_of_step: impl FnOnce(&mut Context, &Expr) -> Expr,
        (left, right): (impl Fn(Expr, &Expr, Expr) -> Expr, BufferId),
        f: impl FnOnce(&mut Context, Expr, Expr),
    ) {
        c.serial("m0", Expr::int(0), rows.clone(), self.rows.into(), |c, m0| {
            c.unroll("r", self.rows, |c, r| {
                c.set(self.row_of, vec![r.clone()], (m0 + r).min(rows - Expr::int(1)));
            });
            let row = |r: &Expr| Expr::Reg(self.row_of, vec![r.clone()]);
            start(c, &row);
            c.serial("step", Expr::int(0), steps, 1, |c, step| {
                let place = place_of_step(c, &step);
                self.each(c, |c, t, l| {
                    c.set(self.now, vec![t.clone()], load(right, vec![step.clone(), self.place(&t, l)]));
                });
                c.unroll("r", self.rows, |c, r| {
                    let value = c.bind("value", Type::scalar(Scalar::F32), left(row(&r), &r, place.clone()));
                    self.each(c, |c, t, _| {
                        let at = vec![r, t.clone()];
                        let sum = Expr::fma(value, Expr::Reg(self.now, vec![t]), Expr::Reg(self.acc, at.clone()));
                        c.set(self.acc, at, sum);
                    });
                });
            });
            c.unroll("r", self.rows, |c, r| f(c, row(&r), r));
        });
    }

    /// The scores of a chunk, and the largest so far.
    fn scores(&self, c: &mut Context, a: &Attention, tile: &Tile, (k0, count): (&Expr, &Expr)) {
        let [b0, b1] = tile.b.clone();
        self.each(c, |c, t, _| c.set(self.newest, vec![t.clone()], Expr::Reg(self.largest, vec![t])));
        let zero = |c: &mut Context, row: &dyn Fn(&Expr) -> Expr| {
            if let (Some(key_of), Some((_, keys))) = (self.key_of, self.sampled) {
                c.unroll("r", self.rows, |c, r| {
                    let at = tile.start.clone() + k0.clone() + row(&r);
                    c.set(key_of, vec![r], load(keys, vec![at]).convert(Scalar::I64));
                });
            }
            c.unroll("r", self.rows, |c, r| self.each(c, |c, t, _| c.set(self.acc, vec![r, t], Expr::f32(0.0))));
        };
        let key = |row: Expr, r: &Expr| match self.key_of {
            Some(key_of) => Expr::Reg(key_of, vec![r.clone()]),
            None => k0.clone() + row,
        };
        let left = |row: Expr, r: &Expr, step: Expr| load(self.k, vec![b0.clone(), b1.clone(), key(row, r), step]);
        let itself = |_: &mut Context, step: &Expr| step.clone();
        let sizes = (count.clone(), Expr::int(a.depth));
        self.product(c, sizes, zero, itself, (left, self.packed), |c, row, r| {
            c.unroll("t", self.vectors, |c, t| {
                c.vector(self.lanes, self.active(tile, &t), |c, l| {
                    let query = tile.first.clone() + self.place(&t, l.clone());
                    let index = [b0.clone(), b1.clone(), key(row.clone(), &r), query];
                    let mut loads = |_: &mut Context, i: u32| {
                        let arg = &a.args[i as usize];
                        let index = index
                            .iter()
                            .zip(&arg.shape)
                            .map(|(e, extent)| if extent.is(1) { Expr::int(0) } else { e.clone() });
                        (load(self.args[i as usize], index.collect()), arg.elem)
                    };
                    let acc: Typed = (Expr::Reg(self.acc, vec![r, t.clone()]), Scalar::F32);
                    let (score, _) = emit_scalar(c, &a.expr, Some(&acc), &mut loads, Scalar::F32);
                    let score = c.bind("score", Type::scalar(Scalar::F32), score);
                    c.set(self.now, vec![t.clone()], score.clone());
                    let newest = Expr::Reg(self.newest, vec![t.clone()]);
                    c.set(self.newest, vec![t.clone()], newest.max(score));
                });
                // Whole vectors of scores are read later on.
                c.vector(self.lanes, None, |c, l| {
                    let score = Expr::Reg(self.now, vec![t.clone()]);
                    c.store(self.scores, vec![row, self.place(&t, l)], score);
                });
            });
        });
    }

    /// The scores become exponentials; what was summed before gets its factor.
    fn exponentials(&self, c: &mut Context, count: &Expr) {
        self.each(c, |c, t, _| {
            let reg = |r: RegisterId| Expr::Reg(r, vec![t.clone()]);
            let factor = decay(c, reg(self.largest) - reg(self.newest));
            c.set(self.factor, vec![t.clone()], factor.clone());
            c.set(self.total, vec![t.clone()], reg(self.total) * factor);
            c.set(self.largest, vec![t.clone()], reg(self.newest));
        });
        c.serial("row", Expr::int(0), count.clone(), 1, |c, row| {
            self.each(c, |c, t, l| {
                let at = vec![row, self.place(&t, l)];
                let e = decay(c, load(self.scores, at.clone()) - Expr::Reg(self.largest, vec![t.clone()]));
                c.store(self.scores, at, e.clone());
                c.set(self.total, vec![t.clone()], Expr::Reg(self.total, vec![t]) + e);
            });
        });
    }

    /// Adds the values of a chunk, weighted by the exponentials.
    fn values(&self, c: &mut Context, a: &Attention, tile: &Tile, (k0, count): (&Expr, &Expr), single: bool) {
        let [b0, b1] = tile.b.clone();
        let start = |c: &mut Context, row: &dyn Fn(&Expr) -> Expr| {
            let begin = |c: &mut Context, resume: bool| {
                c.unroll("r", self.rows, |c, r| {
                    self.each(c, |c, t, l| {
                        let value = match resume {
                            true => {
                                let before = load(self.sums, vec![row(&r), self.place(&t, l)]);
                                before * Expr::Reg(self.factor, vec![t.clone()])
                            }
                            false => Expr::f32(0.0),
                        };
                        c.set(self.acc, vec![r, t], value);
                    });
                });
            };
            if single {
                begin(c, false);
            } else {
                let first = Expr::compare(CompareOp::Eq, k0.clone(), Expr::int(0));
                c.branch(first, |c| begin(c, false), |c| begin(c, true));
            }
        };
        let key = |c: &mut Context, step: &Expr| match self.sampled {
            Some((_, keys)) => {
                let at = tile.start.clone() + k0.clone() + step.clone();
                c.bind_index("key", load(keys, vec![at]).convert(Scalar::I64))
            }
            None => k0.clone() + step.clone(),
        };
        let left = |row: Expr, _: &Expr, key: Expr| load(self.v, vec![b0.clone(), b1.clone(), row, key]);
        let sizes = (Expr::int(a.features), count.clone());
        self.product(c, sizes, start, key, (left, self.scores), |c, row, r| {
            self.each(c, |c, t, l| {
                c.store(self.sums, vec![row, self.place(&t, l)], Expr::Reg(self.acc, vec![r, t]));
            });
        });
    }

    /// The sums over their weights.
    fn finish(&self, c: &mut Context, a: &Attention, tile: &Tile) {
        self.each(c, |c, t, _| {
            let total = Expr::Reg(self.total, vec![t.clone()]);
            c.set(self.factor, vec![t], Expr::binary(BinaryOp::Div, Expr::f32(1.0), total));
        });
        c.serial("feature", Expr::int(0), Expr::int(a.features), 1, |c, feature| {
            c.unroll("t", self.vectors, |c, t| {
                c.vector(self.lanes, self.active(tile, &t), |c, l| {
                    let [b0, b1] = tile.b.clone();
                    let sum = load(self.sums, vec![feature.clone(), self.place(&t, l.clone())]);
                    let value = sum * Expr::Reg(self.factor, vec![t.clone()]);
                    c.store(self.y, vec![b0, b1, feature, tile.first.clone() + self.place(&t, l)], value);
                });
            });
        });
    }
}

/// `(e^r - 1 - r) / r^2` for `|r| <= ln 2 / 2`, as `expand_math` has it.
const TAIL: [f64; 5] = [0.5, 0.166665181517601, 0.04166620224714279, 0.008369024842977524, 0.001395072671584785];

/// `e^x` for `x <= 0` in `f32`, within two units in the last place; at least `2^-126`, so that the scale is one normal
/// number. A general exponential takes half as long again.
fn decay(c: &mut Context, x: Expr) -> Expr {
    const MAGIC: f64 = 12_582_912.0;
    let float = Type::scalar(Scalar::F32);
    let mut bind = |name: &str, value: Expr| c.bind(name, float, value);
    let x = bind("x", Expr::f32(-87.0).max(x));
    let t = bind("t", Expr::fma(x.clone(), Expr::f32(std::f64::consts::LOG2_E), Expr::f32(MAGIC)));
    let k = bind("k", t.clone() - Expr::f32(MAGIC));
    let r = Expr::fma(k.clone(), Expr::f32(-f64::from(std::f32::consts::LN_2)), x);
    let r = bind("r", Expr::fma(k, Expr::f32(1.904_654_299_957_767_8e-9), r));
    let last = Expr::f32(TAIL[4]);
    let q = TAIL[..4].iter().rev().fold(last, |sum, &c| Expr::fma(sum, r.clone(), Expr::f32(c)));
    let p = Expr::fma(r.clone() * r.clone(), q, r) + Expr::f32(1.0);
    // The lowest bits of `t` are the exponent; the magic number's own bits are shifted out.
    let int = |v: i64| Expr::Int(v, Scalar::I32);
    let bits = Expr::Bitcast(Type::scalar(Scalar::I32), Box::new(t));
    let scale = Expr::binary(BinaryOp::Add, Expr::binary(BinaryOp::Shl, bits, int(23)), int(127 << 23));
    bind("e", p * Expr::Bitcast(float, Box::new(scale)))
}
