//! Texts: equality, search, joining, splitting, case, patterns.
//!
//! A tensor of texts has the bytes of each along its last axis, in UTF-8, padded with zeros (`DType::String`). So a text is as long
//! as its last byte that isn't zero, and texts of different widths compare as if the narrower one were padded.

mod case;
mod compare;
mod join;
mod number;
mod pattern;
mod split;

pub use case::{CaseTable, change_case};
pub use compare::{equal_strings, find_numbers, find_strings, keep_strings};
pub use join::{concat_strings, resize_strings};
pub use number::{parse_numbers, powers_of_ten};
pub use pattern::match_strings;
pub use split::{Separator, split_strings};

use sparsec_graph::{DType, Dim, KernelContext, TensorType};
use sparsec_tir::{BufferId, CompareOp, Expr, RegisterId, Scalar, load};

use crate::read;

/// A tensor of texts as rows of bytes.
struct Texts {
    /// The shape without the bytes.
    shape: Vec<Dim>,
    /// How many texts there are.
    rows: Dim,
    /// Bytes of each.
    width: Dim,
}

impl Texts {
    /// The texts of a type; one of rank 0 is a single byte.
    fn of(ty: &TensorType) -> Self {
        let (width, shape) = ty.shape.split_last().map_or((Dim::constant(1), &[][..]), |(w, rest)| (w.clone(), rest));
        Texts { shape: shape.to_vec(), rows: Dim::product(shape), width }
    }

    /// Rows and bytes.
    fn extents(&self) -> [Dim; 2] {
        [self.rows.clone(), self.width.clone()]
    }

    /// The type of texts of this shape and of another width.
    fn with_width(&self, width: Dim) -> TensorType {
        let mut shape = self.shape.clone();
        shape.push(width);
        TensorType::new(DType::String, shape)
    }

    /// The type of one element for each text.
    fn each(&self, dtype: DType) -> TensorType {
        TensorType::new(dtype, self.shape.clone())
    }
}

/// A byte of text.
fn byte(value: i64) -> Expr {
    Expr::Int(value, Scalar::U8)
}

/// Sets `length` to the number of bytes of a text.
fn measure(c: &mut KernelContext, length: RegisterId, texts: BufferId, row: &Expr, width: Expr) {
    c.set(length, vec![], Expr::int(0));
    c.serial("i", Expr::int(0), width, 1, |c, i| {
        let is_there = Expr::compare(CompareOp::Ne, load(texts, vec![row.clone(), i.clone()]), byte(0));
        c.set(length, vec![], Expr::select(is_there, i + Expr::int(1), read(length)));
    });
}
