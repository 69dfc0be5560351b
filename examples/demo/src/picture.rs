//! Pictures of where the nonzeros of a weight are.

use std::fmt::Write;
use std::path::Path;

use sparsec_onnx::proto;

use crate::DemoError;

/// Most cells of a picture along one side; larger weights are averaged.
const CELLS: usize = 96;

/// Fewest elements of a weight that is worth a picture.
const MIN_ELEMENTS: usize = 256;

/// Where the nonzeros of one weight are.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Name of the weight.
    pub tensor: String,
    /// Outputs and inputs.
    pub shape: (usize, usize),
    /// Nonzeros / elements.
    pub density: f64,
    cells: (usize, usize),
    /// Density of each cell, row by row.
    shades: Vec<f64>,
}

/// Pictures of the larger weights of a model file, in the file's order.
///
/// # Errors
/// Where the file can't be read.
pub fn pictures(file: &Path) -> Result<Vec<Picture>, DemoError> {
    let model = proto::read(file).map_err(|e| DemoError::new(file.display(), e))?;
    let graph = model.graph.unwrap_or_default();
    let pictures = graph.initializer.iter().filter(|t| t.dims.len() >= 2).filter_map(|tensor| {
        let dims: Vec<usize> = tensor.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
        let values: Vec<bool> =
            tensor.raw_data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b) != 0.0).collect();
        let large = values.len() >= MIN_ELEMENTS && values.len() == dims.iter().product::<usize>();
        large.then(|| Picture::new(tensor.name(), &dims, &values))
    });
    Ok(pictures.collect())
}

impl Picture {
    /// A picture of a weight, the first dimension downwards.
    fn new(tensor: &str, dims: &[usize], nonzero: &[bool]) -> Self {
        let rows = dims[0];
        let columns = nonzero.len() / rows.max(1);
        let cells = (rows.min(CELLS), columns.min(2 * CELLS));
        let (mut counts, mut hits) = (vec![0u32; cells.0 * cells.1], vec![0u32; cells.0 * cells.1]);
        for (i, &nonzero) in nonzero.iter().enumerate() {
            let (row, column) = (i / columns, i % columns);
            let cell = row * cells.0 / rows * cells.1 + column * cells.1 / columns;
            counts[cell] += 1;
            hits[cell] += u32::from(nonzero);
        }
        let shades = counts.iter().zip(&hits).map(|(&n, &hit)| f64::from(hit) / f64::from(n.max(1))).collect();
        let density = nonzero.iter().filter(|&&n| n).count() as f64 / nonzero.len().max(1) as f64;
        Picture { tensor: tensor.to_owned(), shape: (rows, columns), density, cells, shades }
    }

    /// The picture as SVG. Neighbouring cells of one shade are one rectangle.
    #[must_use]
    pub fn svg(&self) -> String {
        let (rows, columns) = self.cells;
        let mut text = format!(
            "<svg viewBox=\"0 0 {columns} {rows}\" width=\"{}\" height=\"{}\" shape-rendering=\"crispEdges\">\
             <rect width=\"{columns}\" height=\"{rows}\" fill=\"#f2f2f2\"/>",
            columns * 3,
            rows * 3
        );
        for row in 0..rows {
            let line = &self.shades[row * columns..(row + 1) * columns];
            let mut column = 0;
            for run in line.chunk_by(|a, b| level(*a) == level(*b)) {
                if level(run[0]) > 0 {
                    let gray = 230 - level(run[0]) * 200 / 16;
                    // Writing to a string does not fail.
                    let _ = write!(
                        text,
                        "<rect x=\"{column}\" y=\"{row}\" width=\"{}\" height=\"1\" fill=\"rgb({gray},{gray},{})\"/>",
                        run.len(),
                        gray / 2 + 90
                    );
                }
                column += run.len();
            }
        }
        text + "</svg>"
    }
}

/// One of 17 shades.
fn level(density: f64) -> u32 {
    (density * 16.0).ceil() as u32
}
