//! Kernels under construction, and extents as the program sees them.

use sparsec_graph::{Atom, Dim, Symbol};
use sparsec_tir::{Expr, ParamId};

pub(crate) use sparsec_graph::{BuiltKernel, KernelContext as Context, scalar_of};

/// An extent as an expression over the program's symbols.
pub(crate) fn program_expr(dim: &Dim, symbols: &[Symbol]) -> Expr {
    let mut sum = Expr::int(0);
    for (atoms, coefficient) in dim.terms() {
        let mut product = Expr::int(coefficient);
        for atom in atoms {
            let factor = match atom {
                Atom::Sym(s) => {
                    // Lowering collects the symbols of every type in the graph first, so each one is found.
                    let at = symbols.iter().position(|known| known == s).unwrap_or(usize::MAX);
                    Expr::Param(ParamId(at as u32))
                }
                Atom::FloorDiv(a, b) => program_expr(a, symbols).floor_div(program_expr(b, symbols)),
                Atom::Min(a, b) => program_expr(a, symbols).min(program_expr(b, symbols)),
                Atom::Max(a, b) => program_expr(a, symbols).max(program_expr(b, symbols)),
            };
            product = product * factor;
        }
        sum = sum + product;
    }
    sum
}
