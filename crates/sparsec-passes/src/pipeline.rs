//! The list of passes, and the order in which a model goes through them.

use std::ops::ControlFlow;

use sparsec_graph::Graph;

use crate::{PassError, PassStats};

/// A pass: what `sparsec opt --passes` names.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The name, that of the function.
    pub name: &'static str,
    /// The function.
    pub run: fn(&mut Graph) -> Result<PassStats, PassError>,
    /// One line for `--help`.
    pub doc: &'static str,
}

macro_rules! passes {
    ($($constant:ident = $function:ident, $doc:literal;)*) => {
        $(const $constant: Pass = Pass { name: stringify!($function), run: crate::$function, doc: $doc };)*

        /// Every pass, each once.
        pub const PASSES: &[Pass] = &[$($constant),*];
    };
}

passes! {
    FOLD_CONSTANTS = fold_constants, "compute what depends on constants only; remove what does nothing";
    CANONICALISE = canonicalise, "one spelling for what can be spelled in several ways";
    ELIMINATE_COMMON = eliminate_common, "compute each expression once";
    REMOVE_DEAD = remove_dead, "remove what no output depends on";
    FOLD_BATCH_NORM = fold_batch_norm, "fold scales and shifts per channel into weights and biases";
    RECOGNISE_GELU = recognise_gelu, "recognise spelled-out GELU and SiLU";
    RECOGNISE_LAYER_NORM = recognise_layer_norm, "recognise spelled-out layer normalisation";
    RECOGNISE_SOFTMAX = recognise_softmax, "recognise spelled-out softmax";
    RECOGNISE_LOOKUP = recognise_lookup, "recognise products with one-hot vectors as lookups";
    FOLD_LOOKUP = fold_lookup, "compute functions of what is looked up in a constant table on the table";
    RECOGNISE_ATTENTION_SCALE = recognise_attention_scale, "fold the scale of attention scores into a projection";
    PROPAGATE_SPARSITY = propagate_sparsity, "remove channels that are zero, constant or unused";
    SIMPLIFY_CONTROL = simplify_control, "inline branches that are known to be taken; constants into the graphs that use them";
    NORMALISE_CONTRACTIONS = normalise_contractions, "constant weights of contractions to the left, (outputs, inputs)";
    QUANTISED_PRODUCTS = quantised_products, "products of quantised operands on their integers";
    WIDEN_HALF = widen_half, "products and sums of 16-bit floats in f32";
    DROP_UNUSED_CONSTANTS = drop_unused_constants, "let go of the bytes of constants that nothing uses";
}

/// The way of a model. Zeros are counted only once all folding is done, so propagation comes late, and weights are
/// transposed only once they are as small as they get. Constants are let go where many were just replaced.
pub const PIPELINE: &[Pass] = &[
    REMOVE_DEAD,
    WIDEN_HALF,
    QUANTISED_PRODUCTS,
    FOLD_CONSTANTS,
    SIMPLIFY_CONTROL,
    FOLD_CONSTANTS,
    CANONICALISE,
    ELIMINATE_COMMON,
    FOLD_BATCH_NORM,
    DROP_UNUSED_CONSTANTS,
    RECOGNISE_GELU,
    RECOGNISE_LAYER_NORM,
    RECOGNISE_SOFTMAX,
    RECOGNISE_LOOKUP,
    FOLD_LOOKUP,
    RECOGNISE_ATTENTION_SCALE,
    PROPAGATE_SPARSITY,
    DROP_UNUSED_CONSTANTS,
    NORMALISE_CONTRACTIONS,
    FOLD_CONSTANTS,
    ELIMINATE_COMMON,
    REMOVE_DEAD,
    DROP_UNUSED_CONSTANTS,
];

/// The pass of this name.
///
/// # Errors
/// [`PassError::UnknownPass`], which lists the names that there are.
pub fn find_pass(name: &str) -> Result<Pass, PassError> {
    PASSES.iter().find(|pass| pass.name == name).copied().ok_or_else(|| PassError::UnknownPass {
        name: name.to_owned(),
        known: PASSES.iter().map(|pass| pass.name).collect::<Vec<_>>().join(", "),
    })
}

/// What an observer is told. It measures the time between the two by itself.
#[derive(Debug)]
pub enum Event<'a> {
    /// A pass is about to run.
    Before {
        /// The pass.
        pass: &'a Pass,
        /// The graph that it will change.
        graph: &'a Graph,
    },
    /// A pass has run.
    After {
        /// The pass.
        pass: &'a Pass,
        /// The graph as the pass left it.
        graph: &'a Graph,
        /// What it did.
        stats: &'a PassStats,
    },
}

/// Runs [`PIPELINE`].
///
/// # Errors
/// As [`run_passes`].
pub fn run_pipeline(
    graph: &mut Graph,
    observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<(), PassError> {
    run_passes(graph, PIPELINE, observer)
}

/// Runs a pass on the graphs within the graph, the innermost first, and on the graph.
///
/// # Errors
/// What the pass reports.
pub(crate) fn run_nested(graph: &mut Graph, pass: &Pass) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.control_nodes() {
        // A pass may remove nodes and add others, but it looks at one graph.
        for nested in graph.node_attrs_mut(id).0.graphs_mut() {
            let inner = run_nested(nested, pass)?;
            stats.changed += inner.changed;
            stats.notes.extend(inner.notes);
        }
    }
    let outer = (pass.run)(graph)?;
    stats.changed += outer.changed;
    stats.notes.extend(outer.notes);
    Ok(stats)
}

/// Runs passes in order, until the observer breaks. In debug builds the verifier runs after each.
///
/// # Errors
/// What a pass reports, with its name; in debug builds the violations that it left behind.
pub fn run_passes(
    graph: &mut Graph,
    passes: &[Pass],
    observer: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<(), PassError> {
    for pass in passes {
        if observer(Event::Before { pass, graph }).is_break() {
            return Ok(());
        }
        let stats =
            run_nested(graph, pass).map_err(|source| PassError::Pass { pass: pass.name, source: Box::new(source) })?;
        if cfg!(debug_assertions) {
            sparsec_graph::verify(graph).map_err(|errors| PassError::Verify { pass: pass.name, errors })?;
        }
        if observer(Event::After { pass, graph, stats: &stats }).is_break() {
            return Ok(());
        }
    }
    Ok(())
}
