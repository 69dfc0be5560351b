//! Random valid kernels of Stage II, from a stream of choices that proptest shrinks.

use sparsec_tir::{
    BinaryOp, BufferData, BufferId, BufferKind, CompareOp, Expr, Kernel, KernelBuilder, RegisterId, Scalar, Type,
    UnaryOp, load,
};

const ROWS: i64 = 5;
const COLUMNS: i64 = 24;

struct Choices<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Choices<'_> {
    /// A number below `n`; 0 when the stream has ended.
    fn below(&mut self, n: u8) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte % n
    }
}

/// What expressions may use.
struct Context {
    x: BufferId,
    index: BufferId,
    table: BufferId,
    y: BufferId,
    ints: BufferId,
    acc: RegisterId,
    total: RegisterId,
    i: Expr,
    j: Expr,
    l: Expr,
    lanes: u16,
    /// Values of lets, one per lane.
    lets: Vec<Expr>,
}

/// A kernel over params `[n]` and buffers of [`arguments`].
pub(crate) fn kernel(bytes: &[u8]) -> Kernel {
    let c = &mut Choices { bytes, at: 0 };
    let mut b = KernelBuilder::new("random");
    b.describe("generated");
    let n = b.param("n");
    let extent = |v: i64| Expr::int(v);
    let x = b.buffer("x", Scalar::F32, BufferKind::Input, vec![extent(ROWS), extent(COLUMNS)], vec![]);
    let index = b.buffer("index", Scalar::U16, BufferKind::Input, vec![extent(COLUMNS)], vec![]);
    let table = b.buffer("table", Scalar::F32, BufferKind::Scratch, vec![extent(COLUMNS)], vec![]);
    let y = b.buffer("y", Scalar::F32, BufferKind::Output, vec![extent(ROWS), extent(COLUMNS)], vec![]);
    let strides = vec![extent(1), extent(ROWS)];
    let ints = b.buffer("ints", Scalar::I32, BufferKind::Output, vec![extent(ROWS), extent(COLUMNS)], strides);
    let lanes = [4, 8, 16, 1, 2][usize::from(c.below(5))];
    let acc = b.register("acc", Type::vector(Scalar::F32, lanes), vec![2]);
    let total = b.register("total", Type::scalar(Scalar::F32), vec![]);
    let body = |b: &mut KernelBuilder, i: Expr, c: &mut Choices<'_>| {
        b.serial("e", Expr::int(0), extent(COLUMNS), 1, |b, e| {
            b.store(table, vec![e.clone()], load(x, vec![i.clone(), e]) * Expr::f32(0.5));
        });
        b.unroll("t", 2, |b, t| b.set(acc, vec![t], Expr::f32(1.25)));
        b.set(total, vec![], Expr::f32(-0.5));
        b.serial("j", Expr::int(0), n.clone(), lanes.into(), |b, j| {
            let active = n.clone() - j.clone();
            b.vector("l", lanes, Some(active), |b, l| {
                let i = i.clone();
                let mut ctx = Context { x, index, table, y, ints, acc, total, i, j, l, lanes, lets: Vec::new() };
                for _ in 0..=c.below(5) {
                    statement(b, c, &mut ctx, 2);
                }
            });
        });
        if lanes > 1 {
            let sum = Expr::Reduce(sparsec_tir::ReduceOp::Add, Box::new(Expr::Reg(acc, vec![Expr::int(1)])));
            b.store(y, vec![i, Expr::int(0)], sum + Expr::Reg(total, vec![]));
        }
    };
    if c.below(2) == 0 {
        b.parallel("i", Expr::int(ROWS), |b, i| body(b, i, c));
    } else {
        b.serial("i", Expr::int(0), Expr::int(ROWS), 2, |b, i| body(b, i, c));
        b.push(sparsec_tir::Stmt::Comment("the end".to_owned()));
    }
    b.finish()
}

/// Inputs and outputs for [`kernel`].
pub(crate) fn arguments() -> Vec<BufferData> {
    let size = (ROWS * COLUMNS) as usize;
    let x: Vec<f32> = (0..size).map(|k| (k * 37 % 101) as f32 * 0.125 - 6.0).collect();
    let index: Vec<i64> = (0..COLUMNS).map(|k| k * 7 % COLUMNS).collect();
    vec![
        BufferData::from_f32(&x),
        BufferData::from_ints(Scalar::U16, &index),
        BufferData::zeros(Scalar::F32, size),
        BufferData::zeros(Scalar::I32, size),
    ]
}

fn statement(b: &mut KernelBuilder, c: &mut Choices<'_>, ctx: &mut Context, depth: u8) {
    let at = ctx.j.clone() + ctx.l.clone();
    match c.below(if depth == 0 { 6 } else { 8 }) {
        0 => {
            let value = float(c, ctx, 3);
            b.store(ctx.y, vec![ctx.i.clone(), at], value);
        }
        1 => {
            let value = float(c, ctx, 3);
            let name = b.bind("v", Type::scalar(Scalar::F32), value);
            ctx.lets.push(name);
        }
        2 => {
            let value = float(c, ctx, 3);
            b.set(ctx.acc, vec![Expr::int(c.below(2).into())], value);
        }
        3 => {
            let value = int(c, ctx, 2).convert(Scalar::I32);
            let value = if c.below(3) == 0 { dot(c, ctx, value) } else { value };
            b.store(ctx.ints, vec![ctx.i.clone(), at], value);
        }
        4 => {
            let value = float(c, ctx, 2);
            let column = b.bind("p", Type::INDEX, at);
            let column = load(ctx.index, vec![column]).convert(Scalar::I64);
            b.store(ctx.y, vec![ctx.i.clone(), column], value);
        }
        5 => {
            let place = vec![ctx.i.clone() + Expr::int(1), ctx.l.clone() * Expr::int(8)];
            b.push(sparsec_tir::Stmt::Prefetch(sparsec_tir::Access::element(ctx.x, place)));
        }
        6 => {
            let condition = Expr::compare(CompareOp::Lt, ctx.i.clone(), Expr::int(c.below(5).into()));
            let lets = ctx.lets.len();
            let then = b.block(|b| statement(b, c, ctx, depth - 1));
            ctx.lets.truncate(lets);
            let otherwise = b.block(|b| statement(b, c, ctx, depth - 1));
            ctx.lets.truncate(lets);
            b.push(sparsec_tir::Stmt::If(condition, then, otherwise));
        }
        _ => {
            let lets = ctx.lets.len();
            b.unroll("t", 2, |b, t| {
                let old = Expr::Reg(ctx.acc, vec![t.clone()]);
                let value = Expr::fma(float(c, ctx, 2), float(c, ctx, 1), old);
                b.set(ctx.acc, vec![t], value);
                statement(b, c, ctx, depth - 1);
            });
            ctx.lets.truncate(lets);
        }
    }
}

/// A value of `f32` per lane.
fn float(c: &mut Choices<'_>, ctx: &Context, depth: u8) -> Expr {
    let column = ctx.j.clone() + ctx.l.clone();
    match c.below(if depth == 0 { 8 } else { 14 }) {
        0 => Expr::f32(f64::from(c.below(16)) * 0.25 - 2.0),
        1 => load(ctx.x, vec![ctx.i.clone(), column]),
        2 => load(ctx.table, vec![load(ctx.index, vec![column]).convert(Scalar::I64)]),
        3 => load(ctx.x, vec![ctx.i.clone(), ctx.j.clone()]),
        4 => Expr::Reg(ctx.acc, vec![Expr::int(c.below(2).into())]),
        5 if ctx.lanes <= 8 => load(ctx.x, vec![ctx.i.clone(), ctx.l.clone() * Expr::int(3)]),
        6 => match ctx.lets.get(usize::from(c.below(4))) {
            Some(value) => value.clone(),
            None => Expr::Reg(ctx.total, vec![]),
        },
        5 | 7 => int(c, ctx, depth).convert(Scalar::F32),
        8 => {
            let ops = [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Floor, UnaryOp::Round, UnaryOp::Exp, UnaryOp::Tanh];
            Expr::unary(ops[usize::from(c.below(6))], float(c, ctx, depth - 1))
        }
        9 => {
            let condition = Expr::compare(CompareOp::ALL[usize::from(c.below(6))], float(c, ctx, 0), float(c, ctx, 0));
            Expr::select(condition, float(c, ctx, depth - 1), float(c, ctx, depth - 1))
        }
        10 => Expr::fma(float(c, ctx, depth - 1), float(c, ctx, depth - 1), float(c, ctx, depth - 1)),
        11 => {
            let bits = Expr::Bitcast(Type::scalar(Scalar::I32), Box::new(float(c, ctx, depth - 1)));
            Expr::Bitcast(Type::scalar(Scalar::F32), Box::new(bits))
        }
        _ => {
            use BinaryOp::{Add, Div, Max, Min, Mul, Sub};
            let op = [Add, Sub, Mul, Min, Max, Div][usize::from(c.below(6))];
            let x = float(c, ctx, depth - 1);
            Expr::Binary(op, Box::new(x), Box::new(float(c, ctx, depth - 1)))
        }
    }
}

/// `acc` and four products of bytes, signed or not.
fn dot(c: &mut Choices<'_>, ctx: &Context, acc: Expr) -> Expr {
    let word = |c: &mut Choices<'_>| {
        let to = [Scalar::U32, Scalar::I32][usize::from(c.below(2))];
        let value = float(c, ctx, 1) * Expr::f32(1.1);
        // Which NaN an operation gives is not the IR's business, so none may become an integer.
        let number = Expr::select(Expr::compare(CompareOp::Eq, value.clone(), value.clone()), value, Expr::f32(1.1));
        Expr::Bitcast(Type::scalar(to), Box::new(number))
    };
    let a = word(c);
    Expr::dot4(acc, a, word(c))
}

/// An `i64` per lane.
fn int(c: &mut Choices<'_>, ctx: &Context, depth: u8) -> Expr {
    match c.below(if depth == 0 { 5 } else { 7 }) {
        0 => Expr::int(i64::from(c.below(9)) - 4),
        1 => ctx.l.clone(),
        2 => ctx.i.clone(),
        3 => ctx.j.clone(),
        4 => load(ctx.index, vec![ctx.j.clone() + ctx.l.clone()]).convert(Scalar::I64),
        _ => {
            use BinaryOp::{Add, FloorDiv, Mul, Rem, Sub, Xor};
            let op = [Add, Sub, Mul, FloorDiv, Rem, Xor][usize::from(c.below(6))];
            let x = int(c, ctx, depth - 1);
            Expr::Binary(op, Box::new(x), Box::new(int(c, ctx, depth - 1)))
        }
    }
}
