//! Graph passes: folding, recognition, CSE, DCE, sparsity propagation.
//!
//! A pass is one free function in a file of its name. It takes a graph and leaves an equivalent one; [`PassStats`] says
//! what it did. [`PASSES`] is the list of all passes and [`PIPELINE`] the order in which a model goes through them.
//!
//! Each pass runs on the graphs within control flow first, then on the graph around them; a pass itself looks at one graph.
//!
//! # What "equivalent" means
//!
//! Results agree up to `f32` rounding for finite inputs and weights. Passes may reassociate: `x / c` becomes
//! `x * (1 / c)`, a scale after a convolution moves into its weight, a constant input channel into its bias. Such folds
//! are computed in `f64` and rounded once. `x * 0 = 0` is assumed where a weight is zero, so infinities and NaNs that a
//! zero weight would have passed on are not kept; nor is the sign of a zero. An exact zero in a weight stays an exact
//! zero through every pass.

mod arithmetic;
mod canonicalise;
mod drop_unused_constants;
mod eliminate_common;
mod error;
mod evaluate;
mod fold_batch_norm;
mod fold_constants;
mod fold_lookup;
mod linear;
mod macs;
mod matching;
mod normalise_contractions;
mod pipeline;
mod propagate_sparsity;
mod quantised_bytes;
mod quantised_convolutions;
mod quantised_products;
mod recognise_attention_scale;
mod recognise_gelu;
mod recognise_layer_norm;
mod recognise_lookup;
mod recognise_softmax;
mod remove_dead;
mod simplify;
mod simplify_control;
mod tensor;
mod widen_half;

pub use arithmetic::{Arithmetic, product_arithmetic};
pub use canonicalise::canonicalise;
pub use drop_unused_constants::drop_unused_constants;
pub use eliminate_common::eliminate_common;
pub use error::{PassError, PassStats};
pub use fold_batch_norm::fold_batch_norm;
pub use fold_constants::fold_constants;
pub use fold_lookup::fold_lookup;
pub use macs::{Macs, count_macs};
pub use normalise_contractions::normalise_contractions;
pub use pipeline::{Event, PASSES, PIPELINE, Pass, find_pass, run_passes, run_pipeline};
pub use propagate_sparsity::propagate_sparsity;
pub use quantised_products::quantised_products;
pub use recognise_attention_scale::recognise_attention_scale;
pub use recognise_gelu::recognise_gelu;
pub use recognise_layer_norm::recognise_layer_norm;
pub use recognise_lookup::recognise_lookup;
pub use recognise_softmax::recognise_softmax;
pub use remove_dead::remove_dead;
pub use simplify_control::simplify_control;
pub use widen_half::widen_half;
