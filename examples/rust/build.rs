//! Compiles the model. `cargo build` does so again when the file changes.

fn main() {
    sparsec_build::Model::new("../digits/digits_pruned.onnx").name("digits").compile_or_exit();
}
