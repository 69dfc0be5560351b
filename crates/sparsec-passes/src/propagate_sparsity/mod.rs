//! Removes channels that need not be computed, so that a channel-pruned model becomes a smaller dense one.
//!
//! # How
//!
//! 1. **Flow**, forward: every value gets at most one *channel axis*. Each index along it belongs to a class of channels
//!    that must be kept or removed together: element-wise operators, residual additions, pooling and normalisation keep
//!    the channels of their operands, a concatenation joins them, `[n, c, h, w] -> [n, c*h*w]` repeats each `h*w` times. A
//!    channel also carries the constant that it is known to be. A row of zeros in a weight makes one: the bias, and then
//!    whatever the activation makes of the bias.
//! 2. **Demand**: what reads a channel and can't do without it pins its class. A convolution or contraction with a constant
//!    weight demands the channels that are not constant and whose column is not zero; outputs, and operators that this
//!    pass does not know, demand all. Classes that nothing pins are removed, computed or not.
//! 3. **Rewriting**: weights lose the rows and columns, constants the entries, attributes the extents. In a residual
//!    addition a channel that is alive in one branch stays in both; the other branch's weight keeps a row of zeros, which
//!    the `pruned` format skips.
//!
//! # Constants, exactly
//!
//! A constant channel `c` adds `c * sum(W[m, channel])` to output `m`, which becomes bias. Where the convolution pads this
//! holds in the interior only: at the borders some of the sum meets zeros (nine cases for a 3x3 window). So there all
//! constant channels are merged into one of them, the *carrier*: its column becomes `sum(c_i * W[:, i]) / c_carrier`, which is
//! exact everywhere, borders included, and leaves one channel instead of many. A channel that is constantly zero, the common
//! case after ReLU, needs no carrier. Sums are in `f64` and rounded once.
//!
//! ```text
//! x: 3 channels, known to be (?, 0.5, 0.25)      W[m] = (a, b, d)      pads
//! x: 2 channels (?, 0.5)                         W[m] = (a, b + d / 2)
//! ```

mod analyse;
mod classes;
mod demand;
mod elementwise;
mod fold;
mod movement;
mod rewrite;

use sparsec_graph::Graph;

use crate::{PassError, PassStats, count_macs, fold_batch_norm, remove_dead};

/// Removes channels that are constant, or that nothing uses, from one end of the graph to the other. Graph inputs and
/// outputs keep their shapes. Multiply-adds before and after are in a note.
///
/// # Errors
/// None on a verified graph.
pub fn propagate_sparsity(graph: &mut Graph) -> Result<PassStats, PassError> {
    let before = count_macs(graph);
    let mut analysis = analyse::analyse(graph)?;
    let folds = demand::pin_demanded(graph, &mut analysis);
    let outcome = rewrite::rewrite(graph, &mut analysis, &folds)?;
    if outcome.removed + outcome.folded == 0 {
        return Ok(PassStats::default());
    }
    if outcome.biases > 0 {
        fold_batch_norm(graph)?;
    }
    remove_dead(graph)?;
    let after = count_macs(graph);
    let percent = |part: u64| 100.0 * part as f64 / before.dense.max(1) as f64;
    let note = format!(
        "{} channels removed, {} constant columns folded; multiply-adds: {} dense, {} ({:.1} %) by nonzero weights before, \
         {} ({:.1} %) after",
        outcome.removed,
        outcome.folded,
        before.dense,
        before.nonzero,
        percent(before.nonzero),
        after.nonzero,
        percent(after.nonzero),
    );
    Ok(PassStats { changed: outcome.removed + outcome.folded, notes: vec![note] })
}
