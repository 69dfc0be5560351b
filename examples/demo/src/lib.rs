//! The demo's parts: models made in code, the digits data, networks that are compiled and run, the report.

mod digits;
mod html;
mod model;
mod network;
mod picture;
mod random;
mod resnet;

use std::fmt;

pub use digits::{Digits, accuracy};
pub use html::{report, weight_rows};
pub use model::{Attribute, Extent, ModelBuilder};
pub use network::{Measured, Network, measure};
pub use picture::{Picture, pictures};
pub use random::Random;
pub use resnet::resnet50;

/// Why the demo failed: one message for a person.
#[derive(Debug)]
pub struct DemoError(String);

impl DemoError {
    /// An error about `what`.
    pub fn new(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        DemoError(format!("{what}: {error}"))
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DemoError {}
