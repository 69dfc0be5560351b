//! A matrix in any format, chosen at run time of the compiler.

use crate::bitmap::Bitmap;
use crate::bsr::Bsr;
use crate::csr::Csr;
use crate::dense::Dense;
use crate::element::Element;
use crate::error::FormatError;
use crate::format::Format;
use crate::hyb::Hyb;
use crate::hyb_plan::HybParams;
use crate::nm::Nm;
use crate::pruned::Pruned;
use crate::storage::Storage;

/// A matrix stored in one of the formats.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored<T> {
    /// `dense`.
    Dense(Dense<T>),
    /// `csr`.
    Csr(Csr<T>),
    /// `bsr<R,C>`.
    Bsr(Bsr<T>),
    /// `bitmap`.
    Bitmap(Bitmap<T>),
    /// `nm<N,M>`.
    Nm(Nm<T>),
    /// `hyb<partition,bucket,rows>`.
    Hyb(Hyb<T>),
    /// `pruned<F>`.
    Pruned(Pruned<T>),
}

impl<T: Element> Stored<T> {
    /// Stores a dense row-major `rows` x `cols` matrix in `format`.
    ///
    /// # Errors
    /// See [`FormatError`]; which ones depends on the format.
    pub fn encode(format: &Format, rows: usize, cols: usize, values: &[T]) -> Result<Self, FormatError> {
        Ok(match format {
            Format::Dense => Self::Dense(Dense::from_dense(rows, cols, values)?),
            Format::Csr => Self::Csr(Csr::from_dense(rows, cols, values)?),
            Format::Bitmap => Self::Bitmap(Bitmap::from_dense(rows, cols, values)?),
            &Format::Bsr { r, c } => Self::Bsr(Bsr::from_dense(rows, cols, values, r, c)?),
            &Format::Nm { n, m } => Self::Nm(Nm::from_dense(rows, cols, values, n, m)?),
            &Format::Hyb { partition, bucket, rows: in_flight } => {
                Self::Hyb(Hyb::from_dense(rows, cols, values, HybParams::new(partition, bucket, in_flight))?)
            }
            Format::Pruned(inner) => Self::Pruned(Pruned::from_dense(rows, cols, values, inner)?),
        })
    }

    /// The format of the matrix.
    pub fn format(&self) -> Format {
        match self {
            Self::Dense(_) => Format::Dense,
            Self::Csr(_) => Format::Csr,
            Self::Bsr(bsr) => Format::Bsr { r: bsr.block_rows() as u32, c: bsr.block_cols() as u32 },
            Self::Bitmap(_) => Format::Bitmap,
            Self::Nm(nm) => Format::Nm { n: nm.n() as u32, m: nm.m() as u32 },
            Self::Hyb(hyb) => hyb.params().format(),
            Self::Pruned(pruned) => Format::pruned(pruned.inner().format()),
        }
    }

    fn storage(&self) -> &dyn Storage<T> {
        match self {
            Self::Dense(dense) => dense,
            Self::Csr(csr) => csr,
            Self::Bsr(bsr) => bsr,
            Self::Bitmap(bitmap) => bitmap,
            Self::Nm(nm) => nm,
            Self::Hyb(hyb) => hyb,
            Self::Pruned(pruned) => pruned,
        }
    }
}

impl<T: Element> Storage<T> for Stored<T> {
    fn rows(&self) -> usize {
        self.storage().rows()
    }

    fn cols(&self) -> usize {
        self.storage().cols()
    }

    fn stored_entries(&self) -> usize {
        self.storage().stored_entries()
    }

    fn stored_bytes(&self) -> usize {
        self.storage().stored_bytes()
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        self.storage().for_each_entry(visit);
    }
}
