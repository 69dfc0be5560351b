//! The constant weights of a graph: their patterns, and the formats that are worth a try.
//!
//! Each weight is looked at once, whatever number of layers uses it: its zeros are counted, and only where there are
//! enough of them is a pattern built. Weights are independent, so threads share them; results are kept in the order
//! of values and don't depend on the threads.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sparsec_graph::{DType, Format, Graph, Op, TensorData, ValueId};
use sparsec_sparse::{Element, PartitionStats, Pattern, PatternKind, PatternStats, StatsOptions, count_blocks, detect};

use crate::cost::{Machine, StoredFacts, rows_in_flight, takes_bitmap, takes_vector};
use crate::error::RewriteError;
use crate::rules::weight_operand;

/// From this density on no format has anything to gain, and no pattern is built.
const DENSE: f64 = 0.95;
/// Widths of `hyb` partitions that are tried.
const PARTITIONS: [u32; 4] = [128, 192, 256, 512];
/// Length roundings of `hyb` that are tried.
const BUCKETS: [u32; 3] = [1, 2, 4];

/// A constant weight as an M x K matrix. For a convolution K runs over kernel positions, then channels.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    /// Name of the constant.
    pub(crate) name: String,
    /// Rows and columns.
    pub(crate) shape: (usize, usize),
    /// The kind of pattern.
    pub(crate) kind: PatternKind,
    /// Nonzeros / elements.
    pub(crate) density: f64,
    /// Statistics; none where the weight is dense.
    pub(crate) stats: Option<PatternStats>,
    /// Formats to choose from, `dense` first unless one is forced.
    pub(crate) candidates: Vec<StoredFacts>,
    /// Whether the user chose.
    pub(crate) forced: bool,
    /// The format that was measured to be the fastest; it is among the candidates.
    pub(crate) measured: Option<Format>,
}

impl Weight {
    /// The formats that a rewriting chooses from.
    pub(crate) fn offered(&self) -> Vec<Format> {
        match &self.measured {
            Some(format) => vec![format.clone()],
            None => self.candidates.iter().map(|c| c.format.clone()).collect(),
        }
    }

    /// Whether this format is used whatever is predicted.
    pub(crate) fn is_set(&self, format: &Format) -> bool {
        self.forced || self.measured.as_ref() == Some(format)
    }

    /// What is known of the weight in a format that is among the candidates.
    pub(crate) fn stored(&self, format: &Format) -> Option<&StoredFacts> {
        self.candidates.iter().find(|c| c.format == *format)
    }
}

/// A weight before it is looked at.
struct Source<'a> {
    value: ValueId,
    name: &'a str,
    data: &'a TensorData,
    /// Rows, kernel positions, and channels of a group: `K = positions * channels`.
    extents: (usize, usize, usize),
    /// Grouped convolutions are computed densely.
    grouped: bool,
    /// Whether every use is a matrix-vector product.
    vector: bool,
    /// Whether every use is a product of matrices.
    product: bool,
    /// Whether every use multiplies it with bytes.
    bytes: bool,
    forced: Option<Format>,
    measured: Option<Format>,
}

/// Refuses formats for what is no weight, here or in a graph within control flow.
///
/// # Errors
/// [`RewriteError::UnknownWeight`].
pub(crate) fn check_forced(graph: &Graph, forced: &BTreeMap<String, Format>) -> Result<(), RewriteError> {
    fn names<'a>(graph: &'a Graph, forced: &BTreeMap<String, Format>, known: &mut BTreeSet<&'a str>) {
        known.extend(collect(graph, forced, &BTreeMap::new()).iter().map(|s| s.name));
        let nested = graph.nodes().flat_map(|(_, node)| node.op.graphs());
        nested.for_each(|graph| names(graph, forced, known));
    }
    let mut known = BTreeSet::new();
    names(graph, forced, &mut known);
    match forced.keys().find(|name| !known.contains(name.as_str())) {
        Some(name) => Err(RewriteError::UnknownWeight { name: name.clone() }),
        None => Ok(()),
    }
}

/// Looks at the weights of all contractions and convolutions.
///
/// # Errors
/// When a forced or measured format can't hold the pattern of its weight.
pub(crate) fn analyse_weights(
    graph: &Graph,
    machine: &Machine,
    forced: &BTreeMap<String, Format>,
    measured: &BTreeMap<String, Format>,
) -> Result<BTreeMap<ValueId, Weight>, RewriteError> {
    let sources = collect(graph, forced, measured);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(8).min(sources.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(source) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let weight = analyse(graph, source, machine);
                    graph.release_pages();
                    if let Ok(mut results) = results.lock() {
                        results.insert(source.value, weight);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_default();
    results.into_iter().map(|(value, weight)| Ok((value, weight?))).collect()
}

fn collect<'a>(
    graph: &'a Graph,
    forced: &BTreeMap<String, Format>,
    measured: &BTreeMap<String, Format>,
) -> Vec<Source<'a>> {
    let mut sources: BTreeMap<ValueId, Source<'a>> = BTreeMap::new();
    for (_, node) in graph.nodes() {
        let Some(&value) = weight_operand(&node.op).and_then(|index| node.operands.get(index)) else { continue };
        let Some(constant) = graph.constant(value) else { continue };
        let (data, grouped) = (&constant.data, matches!(&node.op, Op::Conv(attrs) if attrs.groups != 1));
        let extents = match data.shape.as_slice() {
            &[m, k] => (m, 1, k),
            [m, c, kernel @ ..] => (*m, kernel.iter().product(), *c),
            _ => continue,
        };
        let vector = is_vector_product(graph, node);
        let product = matches!(node.op, Op::Contract(_));
        let bytes = multiplies_bytes(graph, node);
        let forced = forced.get(&constant.name).or(node.format.as_ref()).cloned();
        let measured = measured.get(&constant.name).filter(|_| forced.is_none()).cloned();
        let name = &constant.name;
        let source = Source { value, name, data, extents, grouped, vector, product, bytes, forced, measured };
        sources
            .entry(value)
            .and_modify(|known| {
                known.grouped |= source.grouped;
                known.vector &= source.vector;
                known.product &= source.product;
                known.bytes &= source.bytes;
            })
            .or_insert(source);
    }
    sources.into_values().collect()
}

fn is_vector_product(graph: &Graph, node: &sparsec_graph::Node) -> bool {
    let (Op::Contract(spec), Some(&x)) = (&node.op, node.operands.get(1)) else { return false };
    spec.rhs.iter().zip(&graph.ty(x).shape).all(|(label, extent)| !spec.out.contains(label) || extent.is(1))
}

/// Whether a node is the product of a weight of `i8` and activations of `u8`.
fn multiplies_bytes(graph: &Graph, node: &sparsec_graph::Node) -> bool {
    let dtype = |i: usize| node.operands.get(i).map(|&v| graph.ty(v).dtype);
    matches!(node.op, Op::Contract(_)) && dtype(0) == Some(DType::I8) && dtype(1) == Some(DType::U8)
}

fn analyse(graph: &Graph, source: &Source<'_>, machine: &Machine) -> Result<Weight, RewriteError> {
    let data = source.data;
    match data.dtype {
        DType::F32 => analyse_as::<f32>(graph, source, machine),
        DType::I8 if source.bytes => analyse_as::<i8>(graph, source, machine),
        // Kernels of other types take no format: one is looked at only where it is asked for.
        _ if matches!(source.forced, None | Some(Format::Dense)) => dense_weight(source, 1.0),
        DType::F64 => analyse_as::<f64>(graph, source, machine),
        DType::I8 => analyse_as::<i8>(graph, source, machine),
        DType::U8 => analyse_as::<u8>(graph, source, machine),
        DType::I32 => analyse_as::<i32>(graph, source, machine),
        _ => dense_weight(source, 1.0),
    }
}

fn analyse_as<T: Element + bytemuck::Pod>(
    graph: &Graph,
    source: &Source<'_>,
    machine: &Machine,
) -> Result<Weight, RewriteError> {
    let (rows, positions, channels) = source.extents;
    let cols = positions * channels;
    let values = graph.values::<T>(source.data).unwrap_or_default();
    let nonzeros = values.iter().filter(|v| !v.is_zero()).count();
    let density = if values.is_empty() { 0.0 } else { nonzeros as f64 / values.len() as f64 };
    let free = [&source.forced, &source.measured].into_iter().all(|f| matches!(f, None | Some(Format::Dense)));
    if free && (density >= DENSE || source.grouped || values.is_empty()) {
        return dense_weight(source, density);
    }
    let pattern = if positions == 1 {
        Pattern::of(rows, cols, &values)
    } else {
        // [m, c, positions] seen as [m, positions, c].
        Pattern::from_fn(rows, cols, |row, i| !values[row * cols + i % channels * positions + i / channels].is_zero())
    };
    let failed = |format: &Format| {
        let (name, format) = (source.name.to_owned(), format.clone());
        move |error| RewriteError::Format { name, format, error }
    };
    let pattern = pattern.map_err(failed(&Format::Dense))?;
    let kind = detect(&pattern);
    let mut formats = match &source.forced {
        Some(format) => vec![format.clone()],
        // Four bytes along K are one operand of a dot product: what is stored is those that are not all zero.
        None if source.bytes => vec![Format::Dense, Format::Bsr { r: 1, c: 4 }],
        None => candidates(&pattern, kind, machine, (source.vector, source.product && source.data.dtype == DType::F32)),
    };
    formats.extend(source.measured.iter().filter(|format| !formats.contains(format)).cloned().collect::<Vec<_>>());
    let facts = formats.iter().map(|format| facts_of(format, &pattern, T::BYTES).map_err(failed(format)));
    Ok(Weight {
        name: source.name.to_owned(),
        shape: (rows, cols),
        kind,
        density,
        stats: Some(PatternStats::with_options(&pattern, &stats_for(kind))),
        candidates: facts.collect::<Result<_, _>>()?,
        forced: source.forced.is_some(),
        measured: source.measured.clone(),
    })
}

fn dense_weight(source: &Source<'_>, density: f64) -> Result<Weight, RewriteError> {
    let (rows, positions, channels) = source.extents;
    let shape = (rows, positions * channels);
    if let Some(format) = [&source.forced, &source.measured].into_iter().flatten().find(|f| **f != Format::Dense) {
        let (name, dtype) = (source.name.to_owned(), source.data.dtype);
        return Err(RewriteError::ElementType { name, format: format.clone(), dtype });
    }
    let entries = (shape.0 * shape.1) as f64;
    let facts = StoredFacts {
        format: Format::Dense,
        bytes: entries * source.data.dtype.size() as f64,
        entries,
        kept: (shape.0 as f64, shape.1 as f64),
        segment: shape.1 as f64,
    };
    Ok(Weight {
        name: source.name.to_owned(),
        shape,
        kind: PatternKind::Dense,
        density,
        stats: None,
        candidates: vec![facts],
        forced: source.forced.is_some(),
        measured: source.measured.clone(),
    })
}

/// Statistics that say something about this kind; each costs a pass over the nonzeros.
fn stats_for(kind: PatternKind) -> StatsOptions {
    let (mut blocks, mut nm) = (Vec::new(), Vec::new());
    match kind {
        PatternKind::Block { r, c } => blocks.push((r, c)),
        PatternKind::NM { n, m } => nm.push((n, m)),
        _ => {}
    }
    StatsOptions { blocks, nm, partitions: vec![256] }
}

/// Formats worth a try for a pattern.
fn candidates(pattern: &Pattern, kind: PatternKind, machine: &Machine, (vector, product): (bool, bool)) -> Vec<Format> {
    let mut formats = vec![Format::Dense];
    match kind {
        PatternKind::Dense => return formats,
        PatternKind::Zero => {
            formats.push(Format::Csr);
            return formats;
        }
        PatternKind::Block { r, c } => formats.extend(block_formats(r, c)),
        PatternKind::NM { n, m } => formats.push(Format::Nm { n, m }),
        PatternKind::Channel { .. } => formats.push(Format::pruned(Format::Dense)),
        PatternKind::Unstructured => {}
    }
    formats.push(Format::Csr);
    // Rows of equal length: `hyb` would multiply the same entries and read an index for each.
    let hyb = match kind {
        PatternKind::NM { .. } => Vec::new(),
        _ => shortlist_hyb(pattern, machine),
    };
    // Whole rows or columns to remove: what remains may still be unstructured.
    let kept = pattern.kept_rows().len() * pattern.kept_cols().len();
    let all = pattern.rows() * pattern.cols();
    if !matches!(kind, PatternKind::Channel { .. }) && kept < all - all / 20 {
        formats.push(Format::pruned(Format::Dense));
        formats.extend(hyb.first().map(|best| Format::pruned(best.clone())));
    }
    formats.extend(hyb);
    if kind == PatternKind::Unstructured && product && machine.gpu.as_ref().is_some_and(takes_bitmap) {
        formats.push(Format::Bitmap);
    }
    if vector {
        formats.retain(takes_vector);
    }
    formats
}

/// The detected block, and the lower blocks into which it can be cut without padding.
fn block_formats(r: u32, c: u32) -> Vec<Format> {
    let mut formats = vec![Format::Bsr { r, c }];
    for lower in [8, 4] {
        if r > lower && r.is_multiple_of(lower) {
            formats.push(Format::Bsr { r: lower, c });
        }
        if c > 1 && r >= lower && r.is_multiple_of(lower) {
            formats.push(Format::Bsr { r: lower, c: 1 });
        }
    }
    formats
}

/// `hyb` for each unit to which rows are rounded, in the partition that stores the fewest bytes.
///
/// The kernel cuts X as its tile asks for, whatever the format's partition is, so that is a matter of bytes alone.
fn shortlist_hyb(pattern: &Pattern, machine: &Machine) -> Vec<Format> {
    let rows = rows_in_flight(machine);
    let narrower = |p: u32| (p as usize) < pattern.cols();
    let count = PARTITIONS.iter().filter(|&&p| narrower(p)).count();
    let best = |bucket: u32| {
        let formats = PARTITIONS.iter().take(count + 1).map(|&partition| Format::Hyb { partition, bucket, rows });
        formats.filter_map(|f| Some((f.stored_bytes(pattern, 4).ok()?, f))).min().map(|(_, format)| format)
    };
    BUCKETS.iter().filter_map(|&bucket| best(bucket)).collect()
}

/// Entries and bytes of a pattern in a format.
fn facts_of(format: &Format, pattern: &Pattern, size: usize) -> Result<StoredFacts, sparsec_sparse::FormatError> {
    let bytes = format.stored_bytes(pattern, size)? as f64;
    let (rows, cols, nnz) = (pattern.rows(), pattern.cols(), pattern.nnz());
    let entries = match format {
        Format::Dense => rows * cols,
        Format::Csr | Format::Bitmap => nnz,
        &Format::Bsr { r, c } => count_blocks(pattern, r, c).nonempty * (r * c) as usize,
        &Format::Nm { n, m } => rows * cols.div_ceil(m as usize) * n as usize,
        &Format::Hyb { partition, .. } => {
            let segments = PartitionStats::of(pattern, partition).segments.max(1) as f64;
            let (entries, kept) = (nnz as f64, (rows as f64, cols as f64));
            return Ok(StoredFacts { format: format.clone(), bytes, entries, kept, segment: entries / segments });
        }
        Format::Pruned(inner) => {
            let kept = facts_of(inner, &pattern.without_zero_rows_and_cols(), size)?;
            return Ok(StoredFacts { format: format.clone(), bytes, ..kept });
        }
    };
    let segment = entries as f64 / rows.max(1) as f64;
    let kept = (rows as f64, cols as f64);
    Ok(StoredFacts { format: format.clone(), bytes, entries: entries as f64, kept, segment })
}
