//! Format decomposition: Stage I to Stage I.
//!
//! A kernel of Stage I reads a weight `W[i, j]` by its coordinates. [`decompose_format`] replaces the two axes of the
//! weight by the levels of a storage format and says with maps which row and column a stored entry belongs to; what is
//! computed stays the same sum. It is the rewrite that SparseTIR (Ye et al., ASPLOS 2023) calls by this name. Levels
//! and values are in the order in which the format keeps them in memory.
//!
//! | format | axes of W | row | column |
//! |---|---|---|---|
//! | `dense` | `I, J` dense | `i` | `j` |
//! | `csr` | `I, J` sparse of `I` | `i` | `j` |
//! | `bsr<R,C>` | `IB, JB` sparse of `IB, C, R` | `row(ib, r)` | `col(jb, c)` |
//! | `nm<N,M>` | `I, G` of `I, E` N out of M of `G` | `i` | `col(g, e)` |
//! | `hyb<p,u,R>` | `P, G` of `P, S` of `G, R, U` | `row(p, g, r)` | `col(p, g, s, r, u)` |
//! | `pruned<F>` | those of F | kept rows of F's | kept columns of F's |
//!
//! `hyb` in words: partition, group of `R` rows of equal length, step of `u` entries a row, row in flight, entry of the
//! step.
//!
//! A coordinate that equals the extent of its map belongs to nothing: blocks that stand over the edge of the matrix and
//! dummy rows have such coordinates, and an iteration passes over them. Other padding is an entry of value zero at a
//! column inside the matrix.
//!
//! Where a format has every row exactly once, one iteration remains. In `hyb` and in a `pruned` weight with zero rows,
//! a row may have no position or several, so the iteration becomes three: one that stores the initial value for every
//! row, one that adds to what is stored, one that applies the epilogue to every row.

mod error;
mod levels;
mod rewrite;

pub use error::DecomposeError;
pub use rewrite::{Decomposed, decompose_format};
