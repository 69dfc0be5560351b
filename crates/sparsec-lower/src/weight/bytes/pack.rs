//! Words of activations: four bytes along K.

use sparsec_graph::Dim;
use sparsec_tir::{Access, BinaryOp, CompareOp, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::weight::bytes::WORD;
use crate::weight::problem::{View, WeightProblem};
use crate::weight::tile::{Activations, declare_activations};

/// The buffers of activations, X as (batch, row, column, channel): the channels of a word are neighbours there.
pub(super) fn declare(c: &mut Context, p: &WeightProblem) -> Activations {
    let turned = |axes: &[Dim; 4]| [0, 2, 3, 1].map(|axis: usize| axes[axis].clone());
    let x = View { elem: p.x.elem, shape: turned(&p.x.shape), strides: turned(&p.x.strides) };
    declare_activations(c, &WeightProblem { x, ..p.clone() })
}

/// The index of X as [`declare`] has it.
pub(super) fn turned([batch, channel, row, col]: [Expr; 4]) -> Vec<Expr> {
    vec![batch, row, col, channel]
}

/// Whether the channels of a pixel lie side by side in X, in whole words.
pub(super) fn is_word_major(p: &WeightProblem) -> bool {
    p.x.strides[1].is(1) && p.channels.is_multiple_of(WORD)
}

/// The word of X at `(batch, first channel, row, column)`, whose channels lie side by side.
pub(super) fn word_of_x(b: &Activations, at: [Expr; 4]) -> Expr {
    let bytes = Access { lanes: WORD as u16, ..Access::element(b.x, turned(at)) };
    Expr::Bitcast(Type::scalar(Scalar::U32), Box::new(Expr::Load(bytes)))
}

/// The word made of `count` channels from `at`'s on, however X lies; the other bytes are 0.
pub(super) fn gathered_word(b: &Activations, at: &[Expr; 4], count: usize) -> Expr {
    let byte = |i: usize| {
        let [batch, channel, row, col] = at.clone();
        let byte = load(b.x, turned([batch, channel + Expr::int(i as i64), row, col])).convert(Scalar::U32);
        match i {
            0 => byte,
            _ => Expr::binary(BinaryOp::Shl, byte, Expr::Int(8 * i as i64, Scalar::U32)),
        }
    };
    (1..count.min(WORD)).fold(byte(0), |word, i| Expr::binary(BinaryOp::Or, word, byte(i)))
}

/// Runs `f` for `count` words of K from `from` on, as far as there are any: the number of the word, its first channel, and how
/// many channels it has. The last one may have fewer than four.
pub(super) fn for_each_word(
    c: &mut Context,
    channels: usize,
    (from, count): (&Expr, i64),
    f: &dyn Fn(&mut Context, Expr, Expr, usize),
) {
    let (whole, rest) = ((channels / WORD) as i64, channels % WORD);
    let end = c.bind_index("end", (from.clone() + Expr::int(count)).min(Expr::int(whole)));
    c.serial("word", from.clone(), end, 1, |c, word| {
        f(c, word.clone(), word * Expr::int(WORD as i64), WORD);
    });
    if rest > 0 {
        let has_last = Expr::compare(CompareOp::Gt, from.clone() + Expr::int(count), Expr::int(whole));
        let last = |c: &mut Context| f(c, Expr::int(whole), Expr::int(whole * WORD as i64), rest);
        c.branch(has_last, last, |_| {});
    }
}
