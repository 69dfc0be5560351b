//! Recognises handwritten digits with a model that the build script compiled, and once more with a library that is
//! opened at run time, where its path is given.

use std::error::Error;

include!(concat!(env!("OUT_DIR"), "/digits.rs"));

const CLASSES: usize = 10;

/// Ten held-out images, one of each digit: the table of the C example, with ink from 0 to 16.
fn samples() -> Vec<[[[f32; 8]; 8]; 1]> {
    let table = include_str!("../../c/samples.h");
    let table = &table[table.find("sample_images").expect("the table")..];
    let table = &table[table.find('=').expect("its start")..];
    let ink: Vec<f32> = table.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let image = |pixels: &[f32]| [std::array::from_fn(|y| std::array::from_fn(|x| pixels[y * 8 + x] / 16.0))];
    ink.chunks_exact(64).map(image).collect()
}

fn largest(logits: &[f32; CLASSES]) -> usize {
    (0..CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let images = samples();
    let mut logits = vec![[0f32; CLASSES]; images.len()];

    // Linked: shapes are types, so an image of another size would not compile.
    let mut model = digits::Digits::new()?;
    model.reserve(images.len())?;
    let input = model.model().inputs()[0].name.clone();
    println!("the input is called {input}");
    model.run(digits::Inputs { image: &images }, digits::Outputs { logits: &mut logits })?;
    let mut right = 0;
    for (digit, logits) in logits.iter().enumerate() {
        println!("image {digit}: expected {digit}, predicted {}", largest(logits));
        right += usize::from(largest(logits) == digit);
    }
    println!("{right} of {} right", images.len());

    // Opened: `sparsec compile digits_pruned.onnx --name digits -o out`, then `out/libdigits.so`.
    if let Some(library) = std::env::args().nth(1) {
        let mut model = sparsec_runtime::Model::load(&library, "digits")?;
        let pixels: Vec<f32> = images.iter().flatten().flatten().flatten().copied().collect();
        let batch = sparsec_runtime::Tensor::from_slice(&[images.len() as i64, 1, 8, 8], &pixels);
        let outputs = model.run(&[batch])?;
        let same = outputs[0].as_slice::<f32>() == Some(logits.as_flattened());
        println!("{library}: {}", if same { "the same answers" } else { "other answers" });
        right = if same { right } else { 0 };
    }
    if right == images.len() { Ok(()) } else { Err("not all digits were read".into()) }
}
