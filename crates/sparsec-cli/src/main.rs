//! The sparsec command.
fn main() {}
