//! Work of a product with a stored weight: multiplying, packing X, partial sums, and storing Y.
//!
//! Which kernel a format gets, how many rows it has in flight and how wide its tiles may be is as in `sparsec-lower`
//! (`multiply` in its `src/weight/mod.rs`, and the kernels beside it).

use sparsec_graph::Format;

use super::Machine;
use super::tile::{Image, Tile, Window, Wish};
use super::work::{Term, Work};

/// What the model needs to know of a weight in one format. Counts are of the matrix as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredFacts {
    /// The format.
    pub(crate) format: Format,
    /// Bytes of values and indices.
    pub(crate) bytes: f64,
    /// Entries that a kernel multiplies, without what rows are padded by.
    pub(crate) entries: f64,
    /// Rows and columns that are left: fewer than the weight's where zero rows and columns are removed.
    pub(crate) kept: (f64, f64),
    /// Mean number of entries of a row within a partition, where the format has partitions.
    pub(crate) segment: f64,
}

/// The product in which the weight takes part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Product {
    /// One image; tokens are a row of pixels.
    pub(crate) image: Image,
    /// Images.
    pub(crate) batch: f64,
    /// Columns of X in all.
    pub(crate) n: f64,
    /// Whether N is 1 whatever the inputs are.
    pub(crate) is_vector: bool,
    /// Groups of channels; 1 for all but grouped convolutions.
    pub(crate) groups: usize,
    /// Whether pixels lie side by side in X, and in Y.
    pub(crate) side_by_side: (bool, bool),
    /// Working set that the weight's bytes come from: all weights of the model.
    pub(crate) weight_set: f64,
}

/// Formats that matrix-vector kernels take.
pub(crate) fn takes_vector(format: &Format) -> bool {
    matches!(format, Format::Dense | Format::Csr | Format::Bsr { .. } | Format::Nm { .. } | Format::Bitmap)
}

/// Sums in flight that hide the latency of a multiply-add.
const CHAINS: usize = 8;

/// The kernel of a format.
enum Family {
    /// Rows of a panel.
    Panels,
    /// Entries to which row lengths are rounded.
    Rows(u32),
    Nm,
}

/// The work of a product, X read from memory and Y written; the epilogue is not in it.
pub(crate) fn product_work(machine: &Machine, stored: &StoredFacts, product: &Product) -> Work {
    let mut work = Work::default();
    if product.is_vector {
        vector_work(&mut work, machine, stored, product);
        return work;
    }
    if product.groups > 1 && product.groups == product.image.channels && product_elements(&product.image) <= 64 {
        depthwise_work(&mut work, machine, product);
        return work;
    }
    if stored.format == Format::Dense && product.groups == 1 {
        if !outputs_work(&mut work, machine, stored, product) {
            dense_work(&mut work, machine, stored, product);
        }
        return work;
    }
    let (family, height, wish) = schedule(machine, &stored.format, product);
    let image = Image { density: density(stored, product), ..product.image.clone() };
    let tile = Tile::choose(&image, wish, machine);
    let (vectors, parts) = (tile.vectors as f64, tile.parts(&image) as f64);
    let tiles = product.batch * tile.count(&image) as f64;
    // With one tile row the rows in flight follow from the tile.
    let height = match family {
        Family::Rows(_) | Family::Nm => {
            let room = (machine.vector_registers as usize).saturating_sub(4) / tile.vectors;
            CHAINS.div_ceil(tile.vectors).min(room).max(1)
        }
        _ => height,
    } as f64;
    let rows = (image.outputs as f64 / height).ceil() * height;
    let groups = rows / height * parts * tiles;
    let (fma, load, entry, step, group) = match family {
        Family::Panels => (Term::PanelFma, Some(Term::PanelLoad), None, Some(Term::PanelStep), Term::PanelPanel),
        Family::Rows(_) => (Term::RowFma, None, Some(Term::RowEntry), Some(Term::RowStep), Term::RowGroup),
        Family::Nm => (Term::NmFma, None, Some(Term::NmEntry), None, Term::NmGroup),
    };
    let entries = match family {
        Family::Panels => panel_entries(stored, product, height),
        Family::Rows(unit) => {
            let segments = (stored.kept.0 * parts).min(stored.entries);
            stored.entries + segments * f64::from(unit - 1) / 2.0
        }
        Family::Nm => stored.entries,
    };
    let per_step = match family {
        Family::Rows(unit) => height * f64::from(unit),
        _ => height,
    };
    work.add(fma, entries * vectors * tiles * machine.fma_cycles());
    if let Some(load) = load {
        work.add(load, entries / height * vectors * tiles);
    }
    if matches!(family, Family::Rows(_)) {
        // Rows are paired so that they share columns: the more, the denser they are.
        let shared = (0.25 + 0.75 * image.density).min(1.0);
        work.add(Term::RowLoad, entries * (1.0 - shared / 2.0) * vectors * tiles);
    }
    if tile.crosses_lines() && matches!(family, Family::Rows(_) | Family::Nm | Family::Panels) {
        let loads = if matches!(family, Family::Panels) { entries / height } else { entries };
        work.add(Term::Unaligned, loads * vectors * tiles);
    }
    if let Some(entry) = entry {
        work.add(entry, entries * tiles);
    }
    if let Some(step) = step {
        work.add(step, entries / per_step * tiles);
    }
    work.add(group, groups);
    work.add(Term::PartialSum, rows * (parts - 1.0) * vectors * tiles);
    pack(&mut work, &tile, &image, tiles, machine.lanes(), product.side_by_side.0);
    store(&mut work, &tile, &image, (tiles, product.n), machine.lanes(), product.side_by_side.1);
    // The first tile has the weight from where the last run left it, the others from the nearest cache that holds it.
    bytes(&mut work, machine, stored.bytes, product.weight_set);
    bytes(&mut work, machine, stored.bytes * (tiles - 1.0), stored.bytes);
    work
}

/// Weights without structure, piece by piece of the image. Pixels lie in a row for each column of the weight, and of a last
/// vector with one or two pixels only those are computed.
fn dense_work(work: &mut Work, machine: &Machine, stored: &StoredFacts, product: &Product) {
    let (image, lanes) = (&product.image, machine.lanes());
    if winograd_work(work, machine, stored, product) || filtered_work(work, machine, product) {
        return;
    }
    let pixels = (image.extents.0 * image.extents.1) as f64;
    let whole = (pixels / lanes).floor();
    let vectors = match pixels - whole * lanes {
        rest if rest > 2.0 => whole + 1.0,
        rest => whole + rest / 2.0,
    };
    let most = if machine.vector_registers >= 32 { 4.0 } else { 2.0 };
    let pieces = (vectors / most).ceil().max(1.0) * product.batch;
    let vectors = vectors * product.batch;
    let height = 6.0_f64.min(image.outputs.max(1) as f64);
    let panels = (image.outputs as f64 / height).ceil();
    let (elements, columns) = (product_elements(image) as f64, product_columns(image));
    let fitting = (machine.l1_bytes / 4.0 / (most * lanes * elements)).floor().max(1.0);
    let parts = (image.channels as f64 / fitting).ceil().max(1.0);
    work.add(Term::DenseFma, panels * height * columns * vectors * machine.fma_cycles());
    work.add(Term::DenseLoad, panels * columns * vectors);
    work.add(Term::DenseStep, panels * columns * pieces);
    work.add(Term::DensePanel, panels * parts * pieces);
    work.add(Term::PartialSum, panels * height * (parts - 1.0) * vectors);
    let rows = columns * pieces;
    if product.side_by_side.0 && image.windows.1.stride == 1 {
        work.add(Term::PackVector, columns * vectors);
    } else {
        let term = if product.side_by_side.0 { Term::PackStrided } else { Term::PackElement };
        work.add(term, columns * vectors * lanes);
    }
    work.add(Term::PackRow, if elements > 1.0 { rows } else { rows * 0.25 });
    if product.side_by_side.1 {
        work.add(Term::StoreVector, image.outputs as f64 * vectors);
    } else {
        work.add(Term::StoreElement, image.outputs as f64 * product.n);
    }
    bytes(work, machine, stored.bytes, product.weight_set);
    bytes(work, machine, stored.bytes * (pieces - 1.0), stored.bytes);
}

/// The most tokens whose product has its lanes along the outputs.
const FEW_TOKENS: f64 = 8.0;

/// Few tokens whose outputs lie side by side: lanes along the outputs, nothing is packed; tells whether this is such a product.
fn outputs_work(work: &mut Work, machine: &Machine, stored: &StoredFacts, product: &Product) -> bool {
    let image = &product.image;
    if image.windows != (Window::POINT, Window::POINT) || product.side_by_side.1 || product.n > FEW_TOKENS {
        return false;
    }
    let (vectors, columns) = ((image.outputs as f64 / machine.lanes()).ceil(), image.channels as f64);
    work.add(Term::DenseFma, vectors * columns * product.n * machine.fma_cycles());
    work.add(Term::DenseLoad, vectors * columns);
    work.add(Term::StoreVector, vectors * product.n);
    bytes(work, machine, stored.bytes, product.weight_set);
    true
}

/// 3x3 convolutions of stride 1 by minimal filtering; tells whether this is one that is computed so.
fn winograd_work(work: &mut Work, machine: &Machine, stored: &StoredFacts, product: &Product) -> bool {
    let (image, lanes) = (&product.image, machine.lanes());
    let fits = |w: Window| w == Window { kernel: 3, ..Window::POINT };
    let (rows, cols) = image.extents;
    let tiles = rows.div_ceil(2) * cols.div_ceil(2);
    let over = tiles * 160 > rows * cols * 54;
    let small = image.outputs < 32 || image.channels < 32 || tiles < 2 * machine.vector_lanes as usize;
    let most = if machine.vector_registers >= 32 { 4.0 } else { 2.0 };
    let inputs = 16.0 * image.channels as f64 * most * lanes * 4.0;
    if !fits(image.windows.0) || !fits(image.windows.1) || over || small || inputs > 32.0 * machine.l1_bytes {
        return false;
    }
    let (channels, outputs) = (image.channels as f64, image.outputs as f64);
    let vectors = (tiles as f64 / lanes).ceil() * product.batch;
    let pieces = (vectors / most).ceil();
    let panels = (outputs / 6.0).ceil();
    work.add(Term::WinogradFma, 16.0 * panels * 6.0 * channels * vectors * machine.fma_cycles());
    work.add(Term::DenseStep, 16.0 * panels * channels * pieces);
    work.add(Term::DensePanel, 16.0 * panels * pieces);
    work.add(Term::WinogradInput, channels * vectors);
    work.add(Term::WinogradOutput, outputs * vectors);
    // Sixteen transformed weights in place of nine.
    let weight = stored.bytes * 16.0 / 9.0;
    bytes(work, machine, weight, product.weight_set.max(weight));
    bytes(work, machine, weight * (pieces - 1.0), weight);
    true
}

/// High windows by minimal filtering along the rows of the image; tells whether this is one that is computed so.
fn filtered_work(work: &mut Work, machine: &Machine, product: &Product) -> bool {
    const STRIP: usize = 4;
    let (image, lanes) = (&product.image, machine.vector_lanes as usize);
    let (high, wide) = image.windows;
    let (rows, cols) = image.extents;
    let (height, most) = if machine.vector_registers >= 32 { (8, 3) } else { (6, 2) };
    let taps = high.kernel.div_ceil(high.stride);
    if high.kernel < 5 || high.dilation != 1 || image.outputs < 16 || !(3..=5).contains(&taps) {
        return false;
    }
    let phases = high.stride.min(high.kernel);
    let full = high.kernel - (taps - 1) * high.stride;
    let steps = ((STRIP + taps - 2) * phases + full) * image.channels;
    let (width, strips) = (cols.next_multiple_of(lanes), rows.div_ceil(STRIP));
    let direct = STRIP * high.kernel * image.channels * cols * rows;
    let budget = 4.0 * machine.l1_bytes;
    let inputs = (steps * wide.stride.min(wide.kernel) * width) as f64;
    let weight = (steps * wide.kernel * image.outputs) as f64;
    if steps * width * strips * STRIP * 10 > direct * 8 || inputs > budget || weight > budget {
        return false;
    }
    let strips = strips as f64 * product.batch;
    let vectors = (width / lanes) as f64 * strips;
    let panels = image.outputs.div_ceil(height) as f64;
    let blocks = (width / lanes).div_ceil(most) as f64 * strips;
    let rows = (steps * wide.kernel) as f64;
    work.add(Term::DenseFma, panels * height as f64 * rows * vectors * machine.fma_cycles());
    work.add(Term::DenseLoad, panels * rows * vectors);
    work.add(Term::DenseStep, panels * rows * blocks);
    work.add(Term::DensePanel, panels * (STRIP + taps - 1) as f64 * blocks);
    // Along one axis, where the transformations of `winograd_work` go along two.
    work.add(Term::WinogradInput, (phases * image.channels * wide.stride.min(wide.kernel)) as f64 * vectors / 2.0);
    work.add(Term::WinogradOutput, image.outputs as f64 * vectors / 2.0);
    bytes(work, machine, weight * 4.0, product.weight_set.max(weight * 4.0));
    bytes(work, machine, weight * 4.0 * (strips - 1.0), weight * 4.0);
    true
}

/// Depthwise convolutions, band by band.
fn depthwise_work(work: &mut Work, machine: &Machine, product: &Product) {
    let (image, lanes) = (&product.image, machine.lanes());
    let outputs = product.batch * image.outputs as f64;
    let vectors = outputs * image.extents.0 as f64 * (image.extents.1 as f64 / lanes).ceil();
    work.add(Term::DepthwiseFma, vectors * product_elements(image) as f64 * machine.fma_cycles());
    work.add(Term::DepthwiseVector, vectors);
    band(work, machine, image.windows, image.extents, product.batch * image.channels as f64);
}

/// The copies of images for windows that slide over them plane by plane.
pub(super) fn band(
    work: &mut Work,
    machine: &Machine,
    (vertical, horizontal): (Window, Window),
    (rows, cols): (usize, usize),
    planes: f64,
) {
    let read = |window: Window, extent: usize| {
        (extent.saturating_sub(1) * window.stride + (window.kernel - 1) * window.dilation + 1) as f64
    };
    let rows = planes * read(vertical, rows);
    let term = if horizontal.stride == 1 { Term::BandVector } else { Term::BandStrided };
    work.add(term, rows * (read(horizontal, cols) / machine.lanes()).ceil());
    work.add(Term::BandRow, rows);
}

/// Kernel elements of a channel.
fn product_elements(image: &Image) -> usize {
    image.windows.0.kernel * image.windows.1.kernel
}

/// Columns of the weight matrix.
fn product_columns(image: &Image) -> f64 {
    (image.channels * product_elements(image)) as f64
}

/// Bytes that are read or written, and were touched last a working set ago.
pub(super) fn bytes(work: &mut Work, machine: &Machine, bytes: f64, set: f64) {
    if set <= machine.l1_bytes / 2.0 {
        return;
    }
    let (term, gbs) = if set <= machine.l2_bytes {
        (Term::L2Bytes, machine.l2_gbs)
    } else if set <= machine.l3_bytes {
        (Term::L3Bytes, machine.l3_gbs)
    } else {
        (Term::DramBytes, machine.dram_gbs)
    };
    work.add(term, machine.transfer_cycles(bytes, gbs));
}

/// The kernel of a format, its rows in flight, and what it asks of its tile.
fn schedule(machine: &Machine, format: &Format, product: &Product) -> (Family, usize, Wish) {
    let wide = machine.vector_registers >= 32;
    let panels = |height: usize, vectors: usize| {
        (Family::Panels, height, Wish { vectors, entry_loads: height as f64, aligned: false })
    };
    let loads = |family: Family, entry_loads: f64| {
        (family, 1, Wish { vectors: if wide { 8 } else { 6 }, entry_loads, aligned: true })
    };
    let outputs = product.image.outputs.max(1);
    match format {
        Format::Hyb { bucket, .. } => loads(Family::Rows(*bucket), 0.8),
        Format::Nm { .. } => loads(Family::Nm, 1.5),
        Format::Bsr { r: 1, .. } => loads(Family::Rows(1), 0.8),
        Format::Bsr { r, .. } => match *r as usize {
            r @ 1..=4 => panels(r, if wide { 24 / r.max(3) } else { 3 }),
            r if r % 6 == 0 => panels(6, if wide { 4 } else { 2 }),
            r if r % 4 == 0 => panels(if wide { 8.min(r) } else { 4 }, 3),
            r => panels(r.min(6), 2),
        },
        // Bitmaps have a kernel on GPUs alone, which lowering says.
        Format::Csr | Format::Bitmap => panels(1, 8),
        Format::Dense | Format::Pruned(_) => panels(6.min(outputs), if wide { 4 } else { 2 }),
    }
}

/// Fraction of the weight's elements that are multiplied.
fn density(stored: &StoredFacts, product: &Product) -> f64 {
    match &stored.format {
        Format::Dense => 1.0 / product.groups as f64,
        _ => stored.entries / (product.image.outputs as f64 * product_columns(&product.image)).max(1.0),
    }
}

/// Values that panels hold: every column in which some row of the panel has a nonzero counts for all of its rows.
fn panel_entries(stored: &StoredFacts, product: &Product, height: f64) -> f64 {
    let (rows, cols) = stored.kept;
    match &stored.format {
        // From the first column of a panel's first group to the last of its last group.
        Format::Dense => {
            let outputs = (product.image.outputs as f64 / product.groups as f64).max(1.0);
            let per_group = product_columns(&product.image) / product.groups as f64;
            let groups = ((height - 1.0) / outputs).floor() + 1.0;
            product.image.outputs as f64 * per_group * groups
        }
        Format::Pruned(inner) if **inner != Format::Dense => {
            let filled = stored.entries / (rows * cols).max(1.0);
            let mut empty = 1.0;
            for _ in 0..height as usize {
                empty *= 1.0 - filled.min(1.0);
            }
            rows * cols * (1.0 - empty)
        }
        _ => stored.entries,
    }
}

fn pack(work: &mut Work, tile: &Tile, image: &Image, tiles: f64, lanes: f64, side_by_side: bool) {
    let rows = (image.channels * tile.planes * tile.window.0) as f64 * tiles;
    let columns = tile.window.1 as f64;
    if side_by_side && image.windows.1.stride == 1 {
        work.add(Term::PackVector, rows * (columns / lanes).ceil());
    } else {
        work.add(if side_by_side { Term::PackStrided } else { Term::PackElement }, rows * columns);
    }
    let padded = image.windows.0.kernel > 1 || image.windows.1.kernel > 1;
    work.add(Term::PackRow, if tile.flat && !padded { rows * 0.25 } else { rows });
}

fn store(work: &mut Work, tile: &Tile, image: &Image, (tiles, n): (f64, f64), lanes: f64, side_by_side: bool) {
    let outputs = image.outputs as f64;
    if !side_by_side {
        work.add(Term::StoreElement, outputs * n);
        return;
    }
    let rows = outputs * tiles * tile.extents.0 as f64;
    work.add(Term::StoreVector, rows * (tile.extents.1 as f64 / lanes).ceil());
    if !tile.flat {
        work.add(Term::StoreRow, rows);
        // Sums go through memory.
        work.add(Term::StoreVector, outputs * tiles * tile.vectors as f64);
    }
}

/// Products with a single vector.
fn vector_work(work: &mut Work, machine: &Machine, stored: &StoredFacts, product: &Product) {
    let lanes = machine.lanes();
    let outputs = product.image.outputs as f64;
    match &stored.format {
        Format::Dense => {
            let vectors = outputs * (product_columns(&product.image) / lanes).ceil();
            work.add(Term::VectorDense, vectors);
            work.add(Term::VectorRow, outputs / 4.0);
        }
        Format::Bsr { r: r @ (4 | 8 | 16), .. } if product.image.outputs.is_multiple_of(*r as usize) => {
            let r = f64::from(*r);
            work.add(Term::VectorBlock, stored.entries / r * (r / lanes).ceil());
            work.add(Term::VectorRow, outputs / r);
        }
        Format::Nm { .. } => {
            work.add(Term::VectorNm, outputs * (product_columns(&product.image) / lanes).ceil());
            work.add(Term::VectorRow, outputs);
        }
        _ => {
            work.add(Term::VectorEntry, stored.entries + outputs * (lanes.min(8.0) - 1.0) / 2.0);
            work.add(Term::VectorRow, outputs);
        }
    }
    weight_bytes(work, machine, stored, product);
}

/// The bytes of a weight that is used for a single vector.
pub(super) fn weight_bytes(work: &mut Work, machine: &Machine, stored: &StoredFacts, product: &Product) {
    let set = product.weight_set;
    let gbs = if set <= machine.l2_bytes {
        machine.l2_gbs
    } else if set <= machine.l3_bytes {
        machine.l3_gbs
    } else {
        machine.dram_gbs
    };
    let term = if stored.format == Format::Dense { Term::VectorBytes } else { Term::VectorIndexed };
    work.add(term, machine.transfer_cycles(stored.bytes, gbs));
}

/// Rows in flight that suit the machine's registers.
pub(crate) fn rows_in_flight(machine: &Machine) -> u32 {
    if machine.vector_registers >= 32 { 4 } else { 2 }
}
