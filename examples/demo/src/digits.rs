//! The images of handwritten digits, and how well a network reads them.

use std::path::Path;

use sparsec::graph::TensorData;
use sparsec::npy;
use sparsec_runtime::Tensor;

use crate::{DemoError, Network};

/// Pixels of an image.
const PIXELS: usize = 64;

/// Full ink in the files.
const INK: f32 = 16.0;

/// The held-out images, which no network was trained on.
#[derive(Clone, Debug)]
pub struct Digits {
    /// Each an input of the networks: 1 x 1 x 8 x 8.
    pub images: Vec<Tensor>,
    /// The digits that they show.
    pub labels: Vec<u8>,
}

impl Digits {
    /// Reads `images.npy`, `labels.npy` and `split.npy`.
    ///
    /// # Errors
    /// Where a file is missing or is not of the form that `examples/digits/README.md` describes.
    pub fn read(folder: &Path) -> Result<Digits, DemoError> {
        let array = |name: &str| npy::read(&folder.join(name)).map_err(|e| DemoError::new("digits", e));
        let (images, labels) = (array("images.npy")?, array("labels.npy")?);
        let split = integers(&array("split.npy")?)?;
        let labels = integers(&labels)?;
        let mut digits = Digits { images: Vec::new(), labels: Vec::new() };
        for index in split {
            let at = index as usize;
            let pixels = images.bytes.get(at * PIXELS..(at + 1) * PIXELS);
            let (Some(pixels), Some(&label)) = (pixels, labels.get(at)) else {
                return Err(DemoError::new("split.npy", format!("there is no image {index}")));
            };
            let image: Vec<f32> = pixels.iter().map(|&ink| f32::from(ink) / INK).collect();
            digits.images.push(Tensor::from_slice(&[1, 1, 8, 8], &image));
            digits.labels.push(label as u8);
        }
        Ok(digits)
    }
}

fn integers(data: &TensorData) -> Result<Vec<i64>, DemoError> {
    data.as_i64().ok_or_else(|| DemoError::new("digits", format!("{} is no array of integers", data.ty())))
}

/// The share of the images whose digit the network tells.
///
/// # Errors
/// Where the network can't be run on the images.
pub fn accuracy(network: &mut Network, digits: &Digits) -> Result<f64, DemoError> {
    let mut right = 0;
    for (image, &label) in digits.images.iter().zip(&digits.labels) {
        let logits = network.run(std::slice::from_ref(image))?;
        if strongest(&logits) == Some(usize::from(label)) {
            right += 1;
        }
    }
    Ok(right as f64 / digits.images.len().max(1) as f64)
}

/// The index of the largest logit.
fn strongest(outputs: &[Tensor]) -> Option<usize> {
    let logits = outputs.first()?.as_slice::<f32>()?;
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(digit, _)| digit)
}
