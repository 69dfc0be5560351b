//! A constant weight as a matrix of outputs x columns, columns in `(channel, kh, kw)` order.

use sparsec_graph::TensorData;
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
}

impl WeightMatrix {
    /// A weight of `outputs` rows in `groups` groups. `None` where the data is not `f32` or the groups don't divide.
    pub(crate) fn new(data: &TensorData, outputs: usize, groups: usize) -> Option<Self> {
        let values = data.as_f32()?;
        if outputs == 0 || groups == 0 || outputs % groups != 0 || values.len() % outputs != 0 {
            return None;
        }
        let nonzeros = values.iter().filter(|v| **v != 0.0).count();
        let group_cols = values.len() / outputs;
        Some(WeightMatrix { data: data.clone(), outputs, group_cols, groups, nonzeros })
    }

    /// Rows.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns, of all groups together.
    pub(crate) fn cols(&self) -> usize {
        self.group_cols * self.groups
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

    /// All elements, groups expanded.
    pub(crate) fn dense(&self) -> Vec<f32> {
        let values = self.data.as_f32().unwrap_or_default();
        if self.groups == 1 {
            return values.into_owned();
        }
        let cols = self.cols();
        let per_group = self.outputs / self.groups;
        let mut dense = vec![0.0; self.outputs * cols];
        for (row, line) in values.chunks_exact(self.group_cols).enumerate() {
            let at = row * cols + row / per_group * self.group_cols;
            dense[at..at + self.group_cols].copy_from_slice(line);
        }
        dense
    }

    /// Where the nonzeros are.
    pub(crate) fn pattern(&self) -> Result<Pattern, FormatError> {
        Pattern::of(self.outputs, self.cols(), &self.dense())
    }
}
