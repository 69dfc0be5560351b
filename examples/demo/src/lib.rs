//! The demo's parts: models made in code, the digits data, timing, the report.

mod model;
mod random;
mod resnet;

pub use model::{Attribute, Extent, ModelBuilder};
pub use random::Random;
pub use resnet::resnet50;
