//! A constant weight as a matrix of outputs x columns, columns in `(channel, kh, kw)` order.

use std::borrow::Cow;
use std::sync::Arc;

use sparsec_graph::{DType, Pages, TensorData};
use sparsec_sparse::{Format, FormatError, Pattern};

/// A weight: outputs x (channels x kernel elements), row-major, in the order in which ONNX stores a convolution.
///
/// A grouped convolution is a block-diagonal matrix: a sparse weight like any other, which is why it needs no kernel of
/// its own. It is expanded when its rows are asked for.
#[derive(Clone, Debug)]
pub(crate) struct WeightMatrix {
    data: TensorData,
    outputs: usize,
    /// Columns of a group.
    group_cols: usize,
    groups: usize,
    nonzeros: usize,
    pages: Option<Arc<dyn Pages>>,
}

impl WeightMatrix {
    /// A weight of `outputs` rows in `groups` groups. `None` where the data is not `f32` or the groups don't divide.
    pub(crate) fn new(data: &TensorData, outputs: usize, groups: usize) -> Option<Self> {
        // The bytes may lie anywhere; looking at them one by one needs no copy.
        let (values, _) = data.bytes.as_chunks();
        let fits = data.dtype == DType::F32 && outputs > 0 && groups > 0;
        if !fits || !outputs.is_multiple_of(groups) || !values.len().is_multiple_of(outputs) {
            return None;
        }
        let nonzeros = values.iter().filter(|&&v| f32::from_le_bytes(v) != 0.0).count();
        let group_cols = values.len() / outputs;
        Some(WeightMatrix { data: data.clone(), outputs, group_cols, groups, nonzeros, pages: None })
    }

    /// Says what the data is borrowed from.
    pub(crate) fn with_pages(self, pages: Option<&Arc<dyn Pages>>) -> Self {
        WeightMatrix { pages: pages.cloned(), ..self }
    }

    /// Rows.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns, of all groups together.
    pub(crate) fn cols(&self) -> usize {
        self.group_cols * self.groups
    }

    /// Columns of a group.
    pub(crate) fn group_cols(&self) -> usize {
        self.group_cols
    }

    /// Whether there is more than one group.
    pub(crate) fn is_grouped(&self) -> bool {
        self.groups > 1
    }

    /// The share of elements that a kernel of this format multiplies.
    pub(crate) fn density(&self, format: &Format) -> f64 {
        let all = (self.outputs * self.cols()).max(1) as f64;
        match format {
            Format::Dense => 1.0 / self.groups as f64,
            _ => self.nonzeros as f64 / all,
        }
    }

    /// The elements as they are stored: outputs x columns of a group.
    pub(crate) fn stored(&self) -> Cow<'_, [f32]> {
        match bytemuck::try_cast_slice(&self.data.bytes) {
            Ok(aligned) => Cow::Borrowed(aligned),
            Err(_) => Cow::Owned(self.data.copy_values(self.pages.as_deref()).unwrap_or_default()),
        }
    }

    /// All elements, groups expanded.
    pub(crate) fn dense(&self) -> Cow<'_, [f32]> {
        let values = self.stored();
        if self.groups == 1 {
            return values;
        }
        let cols = self.cols();
        let per_group = self.outputs / self.groups;
        let mut dense = vec![0.0; self.outputs * cols];
        for (row, line) in values.chunks_exact(self.group_cols).enumerate() {
            let at = row * cols + row / per_group * self.group_cols;
            dense[at..at + self.group_cols].copy_from_slice(line);
        }
        Cow::Owned(dense)
    }

    /// Where the nonzeros are.
    pub(crate) fn pattern(&self) -> Result<Pattern, FormatError> {
        Pattern::of(self.outputs, self.cols(), &self.dense())
    }
}
