//! Work of a product with a weight of 8 bits (`sparsec-lower`, `src/weight/bytes/`), a convolution or not.
//!
//! A dot product of four bytes in each lane counts as a multiply-add. Terms are those of the `f32` kernels that walk alike:
//! dense panels, rows of entries, and single vectors.

use sparsec_graph::Format;

use super::Machine;
use super::weight::{Product, StoredFacts, bytes, weight_bytes};
use super::work::{Term, Work};

/// Elements of K that one instruction multiplies.
const WORD: f64 = 4.0;

/// The work of a product, X read from memory and Y written; the epilogue is not in it.
pub(crate) fn product_work(machine: &Machine, stored: &StoredFacts, product: &Product) -> Work {
    let mut work = Work::default();
    let (image, lanes) = (&product.image, machine.lanes());
    let (outputs, channels) = (image.outputs as f64, image.channels as f64);
    let words = match stored.format {
        Format::Dense => (outputs / lanes).ceil() * lanes * (channels / WORD).ceil(),
        _ => stored.entries / WORD,
    };
    if product.is_vector {
        match stored.format {
            Format::Dense => work.add(Term::VectorDense, words / lanes),
            _ => {
                work.add(Term::VectorEntry, words + outputs * (lanes.min(8.0) - 1.0) / 2.0);
                work.add(Term::VectorRow, outputs);
            }
        }
        weight_bytes(&mut work, machine, stored, product);
        return work;
    }
    let tokens = product.n;
    let (x_beside, y_beside) = product.side_by_side;
    if stored.format == Format::Dense {
        let most = if machine.vector_registers >= 32 { 6.0 } else { 4.0 };
        let groups = (tokens / most).ceil();
        work.add(Term::DenseFma, words / lanes * groups * most.min(tokens) * machine.fma_cycles());
        work.add(Term::DenseLoad, words / lanes * groups);
        if x_beside {
            work.add(Term::PackElement, channels * tokens);
        }
        if y_beside {
            work.add(Term::StoreElement, outputs * tokens);
        } else {
            work.add(Term::StoreVector, (outputs / lanes).ceil() * tokens);
        }
        bytes(&mut work, machine, stored.bytes, product.weight_set);
        return work;
    }
    let most = if machine.vector_registers >= 32 { 8.0 } else { 4.0 };
    let vectors = (tokens / lanes).ceil();
    let tiles = (vectors / most).ceil();
    work.add(Term::RowFma, words * vectors * machine.fma_cycles());
    work.add(Term::RowLoad, words * vectors);
    work.add(Term::RowEntry, words * tiles);
    work.add(Term::RowGroup, outputs * tiles);
    if x_beside {
        work.add(Term::PackVector, channels * vectors);
    } else {
        work.add(Term::PackElement, channels / WORD * tokens);
    }
    if y_beside {
        work.add(Term::StoreVector, outputs * vectors);
    } else {
        work.add(Term::StoreElement, outputs * tokens);
    }
    bytes(&mut work, machine, stored.bytes, product.weight_set);
    bytes(&mut work, machine, stored.bytes * (tiles - 1.0), stored.bytes);
    work
}

/// The work of a convolution; the epilogue is not in it. Pixels lie along the lanes, as in the `f32` kernel of dense weights, and a row
/// of them is packed for each word under the window, from four rows of bytes.
pub(crate) fn convolution_work(machine: &Machine, stored: &StoredFacts, product: &Product) -> Work {
    let mut work = Work::default();
    let (image, lanes) = (&product.image, machine.lanes());
    let size = (image.windows.0.kernel * image.windows.1.kernel) as f64;
    let columns = (image.channels as f64 / WORD).ceil() * size;
    let most = if machine.vector_registers >= 32 { 4.0 } else { 2.0 };
    let whole = ((image.extents.0 * image.extents.1) as f64 / lanes).ceil();
    let (vectors, pieces) = (whole * product.batch, (whole / most).ceil().max(1.0) * product.batch);
    let height = 6.0_f64.min(image.outputs.max(1) as f64);
    let panels = (image.outputs as f64 / height).ceil();
    work.add(Term::DenseFma, panels * height * columns * vectors * machine.fma_cycles());
    work.add(Term::DenseLoad, panels * columns * vectors);
    work.add(Term::DenseStep, panels * columns * pieces);
    work.add(Term::DensePanel, panels * pieces);
    let term = if image.windows.1.stride == 1 { Term::PackVector } else { Term::PackStrided };
    let packed = if image.windows.1.stride == 1 { 1.0 } else { lanes };
    work.add(term, WORD * columns * vectors * packed);
    work.add(Term::StoreVector, image.outputs as f64 * vectors);
    bytes(&mut work, machine, stored.entries, product.weight_set);
    bytes(&mut work, machine, stored.entries * (pieces - 1.0), stored.entries);
    work
}
