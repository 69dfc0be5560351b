//! Helpers shared by the end-to-end tests and by the program `fuzz`.

pub mod models;
pub mod mutate;
pub mod wire;
