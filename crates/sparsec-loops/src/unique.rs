//! `Unique`: the different elements, or slices, of a tensor.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, Symbol, TensorType};
use sparsec_tir::{BufferId, CompareOp, Expr, RegisterId, load};

use crate::{Lines, read};

/// The different slices of `x` along `axis` (elements of the flattened `x` where there is none), in ascending order or in that
/// of their first occurrence. Results: the slices; for each of them where it occurs first, and how often; for each slice of
/// `x` which of them it is; after these, working memory, and how many there are, which `count` becomes. (ONNX `Unique`, whose
/// results come in another order.)
///
/// Each slice is compared with all that are known: as many steps as slices times different ones.
#[must_use]
pub fn unique(x: &TensorType, axis: Option<usize>, sorted: bool, count: &Symbol) -> LoopsSpec {
    let lines = Lines::along_or_flat(x, axis);
    let kept = Dim::sym(count.name());
    let shape = Lines::shape_along_or_flat(x, axis, &kept);
    let mut b = LoopsBuilder::new("unique");
    b.count(count.clone(), lines.len.clone());
    let input = b.input_as("x", x, &lines.shape());
    let integers = |shape: Vec<Dim>| TensorType::new(DType::I64, shape);
    let output = b.output_up_to("y", TensorType::new(x.dtype, shape));
    let first = b.output_up_to("first", integers(vec![kept.clone()]));
    let often = b.output_up_to("often", integers(vec![kept]));
    let which = b.output("which", integers(vec![lines.len.clone()]));
    let memory = b.output("memory", integers(vec![lines.len.clone(), Dim::constant(3)]));
    let totals = b.count_results();
    let [found, same, order, at] = ["found", "same", "order", "at"].map(|name| b.variable(name, DType::I64));
    let [outer, len, inner] = lines.shape().map(|d| b.dim(&d));
    let slices = Slices { input, outer: outer.clone(), inner: inner.clone(), order };
    let zero = || Expr::int(0);
    b.set(found, vec![], zero());
    b.serial("j", zero(), len.clone(), 1, |b, j| {
        b.set(same, vec![], Expr::int(-1));
        let known = b.bind_index("known", read(found));
        b.serial("r", zero(), known.clone(), 1, |b, r| {
            let open = Expr::compare(CompareOp::Lt, read(same), zero());
            b.branch(
                open,
                |b| {
                    let other = b.bind_index("other", load(first, vec![r.clone()]));
                    slices.compare(b, &j, &other);
                    let equal = Expr::compare(CompareOp::Eq, read(order), zero());
                    b.branch(equal, |b| b.set(same, vec![], r), |_| {});
                },
                |_| {},
            );
        });
        b.branch(
            Expr::compare(CompareOp::Lt, read(same), zero()),
            |b| {
                b.store(first, vec![known.clone()], j.clone());
                b.store(often, vec![known.clone()], Expr::int(1));
                b.store(which, vec![j.clone()], known);
                b.set(found, vec![], read(found) + Expr::int(1));
            },
            |b| {
                b.store(often, vec![read(same)], load(often, vec![read(same)]) + Expr::int(1));
                b.store(which, vec![j.clone()], read(same));
            },
        );
    });
    let total = b.bind_index("total", read(found));
    if sorted {
        sort(&mut b, &slices, &total, &len, [first, often, which, memory]);
    }
    for &place in &totals {
        b.store(place, vec![], total.clone());
    }
    b.set(at, vec![], zero());
    b.serial("o", zero(), outer, 1, |b, o| {
        b.serial("r", zero(), total, 1, |b, r| {
            let from = b.bind_index("from", load(first, vec![r]));
            b.serial("i", zero(), inner, 1, |b, i| {
                let value = load(input, vec![o, from, i]);
                b.store(output, vec![read(at)], value);
                b.set(at, vec![], read(at) + Expr::int(1));
            });
        });
    });
    b.finish()
}

/// Slices of `x[outer, len, inner]`.
struct Slices {
    input: BufferId,
    outer: Expr,
    inner: Expr,
    order: RegisterId,
}

impl Slices {
    /// Sets `order` to less than, equal to or greater than 0 as slice `a` is before, equal to or behind slice `b`.
    fn compare(&self, c: &mut KernelContext, a: &Expr, b: &Expr) {
        c.set(self.order, vec![], Expr::int(0));
        c.serial("oc", Expr::int(0), self.outer.clone(), 1, |c, o| {
            c.serial("ic", Expr::int(0), self.inner.clone(), 1, |c, i| {
                let open = Expr::compare(CompareOp::Eq, read(self.order), Expr::int(0));
                let (x, y) =
                    (load(self.input, vec![o.clone(), a.clone(), i.clone()]), load(self.input, vec![o, b.clone(), i]));
                let sign = Expr::select(
                    Expr::compare(CompareOp::Lt, x.clone(), y.clone()),
                    Expr::int(-1),
                    Expr::select(Expr::compare(CompareOp::Ne, x, y), Expr::int(1), Expr::int(0)),
                );
                c.branch(open, |c| c.set(self.order, vec![], sign), |_| {});
            });
        });
    }
}

/// Orders what was found: the rank of a slice is the number of those before it.
fn sort(b: &mut LoopsBuilder, slices: &Slices, total: &Expr, len: &Expr, [first, often, which, memory]: [BufferId; 4]) {
    let rank = b.variable("rank", DType::I64);
    let part = |row: &Expr, part: i64| vec![row.clone(), Expr::int(part)];
    b.serial("r", Expr::int(0), total.clone(), 1, |b, r| {
        let mine = b.bind_index("mine", load(first, vec![r.clone()]));
        b.set(rank, vec![], Expr::int(0));
        b.serial("s", Expr::int(0), total.clone(), 1, |b, s| {
            let other = b.bind_index("other", load(first, vec![s]));
            slices.compare(b, &other, &mine);
            let before = Expr::compare(CompareOp::Lt, read(slices.order), Expr::int(0));
            b.branch(before, |b| b.set(rank, vec![], read(rank) + Expr::int(1)), |_| {});
        });
        b.store(memory, part(&r, 0), read(rank));
        b.store(memory, part(&r, 1), mine);
        b.store(memory, part(&r, 2), load(often, vec![r.clone()]));
    });
    b.serial("r", Expr::int(0), total.clone(), 1, |b, r| {
        let to = b.bind_index("to", load(memory, part(&r, 0)));
        b.store(first, vec![to.clone()], load(memory, part(&r, 1)));
        b.store(often, vec![to], load(memory, part(&r, 2)));
    });
    b.serial("j", Expr::int(0), len.clone(), 1, |b, j| {
        let group = b.bind_index("group", load(which, vec![j.clone()]));
        b.store(which, vec![j], load(memory, part(&group, 0)));
    });
}
