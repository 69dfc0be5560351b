//! The backward step: which channels something can't do without, and which constants are folded where.

use std::collections::BTreeMap;

use sparsec_graph::{Graph, NodeId, TensorData};

use super::analyse::{Analysis, Consumer, WeightAxes, weight_data};

/// A carrier's constant may be this much smaller than the largest one; else another channel is better.
const SMALLEST_CARRIER: f32 = 1e-3;

/// What happens to the columns of one weight.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) weight: WeightAxes,
    /// Columns whose input is constant: they become zero.
    pub(super) zeroed: Vec<usize>,
    /// The constants among them that become bias.
    pub(super) into_bias: Vec<(usize, f32)>,
    /// The constants among them that become part of another column.
    pub(super) into_carrier: Vec<(usize, f32)>,
    /// That column and its constant.
    pub(super) carrier: Option<(usize, f32)>,
}

/// Pins what is demanded, and at least one channel of every value; returns the folds by consumer.
pub(super) fn pin_demanded(graph: &Graph, analysis: &mut Analysis) -> BTreeMap<NodeId, Fold> {
    let consumers = analysis.consumers.clone();
    let mut folds = BTreeMap::new();
    for consumer in &consumers {
        if let Some(fold) = constant_columns(graph, analysis, consumer) {
            folds.insert(consumer.node, fold);
        }
    }
    // Only now is it known which channels stay anyway: those are the better carriers.
    for consumer in &consumers {
        if let Some(fold) = folds.get_mut(&consumer.node) {
            choose_carrier(analysis, consumer, fold);
        }
    }
    folds.retain(|_, fold| !fold.zeroed.is_empty());
    keep_blocks_whole(graph, analysis);
    for channels in analysis.channels.values() {
        let mut any = false;
        for &class in &channels.classes {
            any |= analysis.classes.is_pinned(class);
        }
        if let Some(&first) = channels.classes.first().filter(|_| !any) {
            analysis.classes.pin(first);
        }
    }
    folds
}

/// Where the rows of a weight come in blocks of equal zeros, a block stays whole or goes whole: removing a few rows would
/// shift all others, and turn a block pattern into an unstructured one.
fn keep_blocks_whole(graph: &Graph, analysis: &mut Analysis) {
    let mut blocks: Vec<(usize, Vec<u32>)> = Vec::new();
    for &(id, axes) in &analysis.producers {
        let node = graph.node(id);
        let Some(data) = weight_data(graph, node.operands[axes.operand]) else { continue };
        let height = block_height(graph, data, axes).unwrap_or(1);
        let channels = node.results.first().and_then(|result| analysis.channels.get(result));
        if let Some(channels) = channels.filter(|c| height > 1 && c.classes.len() == data.shape[axes.rows]) {
            blocks.push((height, channels.classes.clone()));
        }
    }
    // Classes are shared between values, so pinning for one weight may reach the blocks of another.
    let mut changed = true;
    while changed {
        changed = false;
        for block in blocks.iter().flat_map(|(height, classes)| classes.chunks(*height)) {
            let pinned = block.iter().filter(|&&class| analysis.classes.is_pinned(class)).count();
            if pinned > 0 && pinned < block.len() {
                analysis.pin_all(block);
                changed = true;
            }
        }
    }
}

/// The largest height, up to 16, of aligned blocks of rows whose zeros lie in the same columns. `None` where there is no
/// block, or no block that is neither empty nor full.
fn block_height(graph: &Graph, weight: &TensorData, axes: WeightAxes) -> Option<usize> {
    let values = graph.values::<f32>(weight)?;
    let rows = weight.shape[axes.rows];
    let behind: usize = weight.shape[axes.rows + 1..].iter().product();
    // A hash of where the nonzeros of each row are, and how many there are.
    let mut seen = vec![(0u64, 0usize); rows];
    for (i, _) in values.iter().enumerate().filter(|(_, v)| **v != 0.0) {
        let row = i / behind % rows;
        let place = (i / (behind * rows) * behind + i % behind) as u64;
        let (hash, count) = &mut seen[row];
        *hash = (*hash ^ place).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        *count += 1;
    }
    let columns = values.len() / rows.max(1);
    let partial = seen.iter().any(|&(_, count)| count > 0 && count < columns);
    let whole = |height: usize| seen.chunks(height).all(|block| block.iter().all(|row| *row == block[0]));
    [16, 8, 4, 2].into_iter().find(|&height| partial && rows.is_multiple_of(height) && whole(height))
}

/// Pins the channels of unknown value that meet a column with a nonzero, and collects the others.
fn constant_columns(graph: &Graph, analysis: &mut Analysis, consumer: &Consumer) -> Option<Fold> {
    let weight = weight_data(graph, graph.node(consumer.node).operands[consumer.weight.operand])?;
    let nonzero = nonzero_columns(graph, weight, consumer.weight)?;
    let Analysis { classes, channels, .. } = analysis;
    let channels = channels.get(&consumer.data)?;
    let mut fold = Fold {
        weight: consumer.weight,
        zeroed: Vec::new(),
        into_bias: Vec::new(),
        into_carrier: Vec::new(),
        carrier: None,
    };
    for column in (0..nonzero.len()).filter(|&column| nonzero[column]) {
        match channels.constants[column] {
            None => classes.pin(channels.classes[column]),
            Some(0.0) => fold.zeroed.push(column),
            Some(c) if consumer.padded => fold.into_carrier.push((column, c)),
            Some(c) => {
                fold.zeroed.push(column);
                fold.into_bias.push((column, c));
            }
        }
    }
    Some(fold)
}

fn nonzero_columns(graph: &Graph, weight: &TensorData, axes: WeightAxes) -> Option<Vec<bool>> {
    let values = graph.values::<f32>(weight)?;
    let run: usize = weight.shape[axes.columns + 1..].iter().product();
    let mut nonzero = vec![false; weight.shape[axes.columns]];
    for slab in values.chunks_exact((run * nonzero.len()).max(1)) {
        for (part, nonzero) in slab.chunks_exact(run).zip(&mut nonzero) {
            *nonzero = *nonzero || part.iter().any(|&v| v != 0.0);
        }
    }
    Some(nonzero)
}

/// Picks the column that takes over the other constants before padding: one that stays anyway, the largest, the first.
fn choose_carrier(analysis: &mut Analysis, consumer: &Consumer, fold: &mut Fold) {
    let Analysis { classes, channels, .. } = analysis;
    let Some(channels) = channels.get(&consumer.data) else { return };
    let largest = fold.into_carrier.iter().map(|(_, c)| c.abs()).fold(0.0, f32::max);
    let mut best: Option<((bool, f32), (usize, f32))> = None;
    for &(column, c) in &fold.into_carrier {
        let stays = classes.is_pinned(channels.classes[column]) && c.abs() >= SMALLEST_CARRIER * largest;
        let rank = (stays, c.abs());
        if best.is_none_or(|(other, _)| rank > other) {
            best = Some((rank, (column, c)));
        }
    }
    let Some((_, carrier)) = best else { return };
    classes.pin(channels.classes[carrier.0]);
    fold.carrier = Some(carrier);
    fold.into_carrier.retain(|(column, _)| *column != carrier.0);
    fold.zeroed.extend(fold.into_carrier.iter().map(|(column, _)| *column));
}
