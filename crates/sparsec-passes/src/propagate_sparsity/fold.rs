//! Folding the columns of constant channels.

use sparsec_graph::{Graph, TensorData};

use super::demand::Fold;

/// A weight without the columns of constant channels.
pub(super) struct Folded {
    /// The weight; it has the shape that it had.
    pub(super) weight: TensorData,
    /// What the channels add to each output, where they add anything.
    pub(super) bias: Option<Vec<f64>>,
}

/// Moves the columns of constant channels into the bias or the carrier's column, and makes them zero.
pub(super) fn fold_columns(graph: &Graph, weight: &TensorData, fold: &Fold) -> Option<Folded> {
    let mut values: Vec<f32> = weight.copy_values(graph.pages().map(AsRef::as_ref))?;
    let axes = fold.weight;
    let (rows, columns) = (weight.shape[axes.rows], weight.shape[axes.columns]);
    let kernel: usize = weight.shape[2..].iter().product();
    let at = |row: usize, column: usize| {
        let matrix = if axes.rows == 0 { row * columns + column } else { column * rows + row };
        matrix * kernel..(matrix + 1) * kernel
    };
    let mut bias = vec![0.0; rows];
    for (row, bias) in bias.iter_mut().enumerate() {
        for &(column, c) in &fold.into_bias {
            *bias += f64::from(c) * values[at(row, column)].iter().map(|&v| f64::from(v)).sum::<f64>();
        }
        if let Some((carrier, carried)) = fold.carrier {
            let start = at(row, carrier).start;
            for tap in 0..kernel {
                let merged: f64 = fold
                    .into_carrier
                    .iter()
                    .map(|&(column, c)| f64::from(values[at(row, column).start + tap]) * f64::from(c))
                    .sum();
                if merged != 0.0 {
                    let own = f64::from(values[start + tap]);
                    values[start + tap] = (own + merged / f64::from(carried)) as f32;
                }
            }
        }
        for &column in &fold.zeroed {
            values[at(row, column)].fill(0.0);
        }
    }
    let bias = (!fold.into_bias.is_empty()).then_some(bias);
    Some(Folded { weight: TensorData::f32(&weight.shape, values), bias })
}
