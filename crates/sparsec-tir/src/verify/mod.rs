//! Verification.

mod types;

pub use types::{MAX_LANES, TypeError, type_in_vector, type_of};
