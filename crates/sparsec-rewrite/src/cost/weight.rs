//! Predicted time of a product with a stored weight.
//!
//! Three regimes of N, the number of tokens or pixels: one (`SpMV`, bound by bytes and gathers), skinny (below a
//! vector, lanes are idle) and wide (bound by arithmetic and loads in L1).

use sparsec_graph::Format;

use super::Machine;

/// What the model needs to know of a weight in one format. Counts are of the matrix as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredFacts {
    /// The format.
    pub(crate) format: Format,
    /// Bytes of values and indices.
    pub(crate) bytes: f64,
    /// Entries that a kernel multiplies, padding included.
    pub(crate) entries: f64,
    /// Mean number of entries of a row within a partition, where the format has partitions.
    pub(crate) segment: f64,
}

/// The product in which the weight takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Product {
    /// Columns of X; exactly one, known while compiling, means a matrix-vector product.
    pub(crate) n: f64,
    /// Whether N is 1 whatever the inputs are.
    pub(crate) is_vector: bool,
    /// Working set that the weight's bytes come from: all weights of the model.
    pub(crate) weight_set: f64,
}

/// Formats that matrix-vector kernels take.
pub(crate) fn takes_vector(format: &Format) -> bool {
    matches!(format, Format::Dense | Format::Csr | Format::Bsr { .. } | Format::Nm { .. })
}

/// Seconds for the product itself, without packing X or storing Y.
pub(crate) fn product_seconds(machine: &Machine, stored: &StoredFacts, product: &Product) -> f64 {
    let reading = machine.seconds_for_bytes(stored.bytes, product.weight_set);
    if product.is_vector {
        return reading.max(vector_seconds(machine, stored));
    }
    let lanes = f64::from(machine.vector_lanes);
    let padded = (product.n / lanes).ceil() * lanes;
    let flops = 2.0 * stored.entries * padded;
    reading.max(machine.seconds_for_flops(flops, wide_efficiency(machine, stored, &stored.format)))
}

fn vector_seconds(machine: &Machine, stored: &StoredFacts) -> f64 {
    let (rates, lanes) = (&machine.efficiency, f64::from(machine.vector_lanes));
    let per_cycle = match &stored.format {
        // A dense row is a dot product: two loads a cycle, one of them the weight's.
        Format::Dense => lanes,
        Format::Bsr { r, .. } => (f64::from(*r).min(lanes) * rates.spmv_vector).max(rates.spmv_gather),
        Format::Nm { .. } => lanes * rates.spmv_vector,
        Format::Csr | Format::Hyb { .. } | Format::Pruned(_) => rates.spmv_gather,
    };
    stored.entries / (per_cycle * machine.ghz * 1e9)
}

/// Share of the FMA peak that a kernel reaches on the entries of a format with many columns.
fn wide_efficiency(machine: &Machine, stored: &StoredFacts, format: &Format) -> f64 {
    let rates = &machine.efficiency;
    match format {
        Format::Dense => rates.dense,
        Format::Csr => rates.csr,
        Format::Bsr { r: 1, .. } => rates.bsr[0],
        Format::Bsr { r: 2..=3, .. } => rates.bsr[1],
        Format::Bsr { .. } => rates.bsr[2],
        Format::Nm { .. } => rates.nm,
        Format::Hyb { partition, bucket, rows } => {
            let segment = stored.segment.max(1.0);
            let long = rates.hyb * segment / (segment + rates.hyb_segment);
            long * fit_of_tile(machine, *partition) * fit_of_unit(*bucket) * fit_of_rows(machine, *rows)
        }
        Format::Pruned(inner) if **inner == Format::Dense => rates.dense,
        // Sparse formats skip empty rows and columns anyway; renaming them has to be worth the gather.
        Format::Pruned(inner) => 0.97 * wide_efficiency(machine, stored, inner),
    }
}

/// The tile of X, `partition` rows of four vectors, has to stay in L1 beside the stream of weights.
fn fit_of_tile(machine: &Machine, partition: u32) -> f64 {
    let tile = f64::from(partition) * 4.0 * f64::from(machine.vector_lanes) * 4.0;
    if tile <= machine.l1_bytes {
        1.0
    } else if tile <= 2.0 * machine.l1_bytes {
        0.85
    } else {
        0.6
    }
}

/// Four entries at a time is the fast path; a tail of two costs little, a tail of one more.
fn fit_of_unit(bucket: u32) -> f64 {
    match bucket {
        1 => 0.90,
        2 => 0.97,
        _ => 1.0,
    }
}

/// Eight accumulators hide the latency of the FMA: four vectors of two rows. More rows share the loop's overhead,
/// as far as there are registers.
fn fit_of_rows(machine: &Machine, rows: u32) -> f64 {
    let accumulators = 4 * rows;
    if rows == 1 {
        0.8
    } else if accumulators + 6 > machine.vector_registers {
        0.7
    } else {
        1.0
    }
}

/// Rows in flight that suit the machine's registers.
pub(crate) fn rows_in_flight(machine: &Machine) -> u32 {
    if machine.vector_registers >= 32 { 4 } else { 2 }
}
