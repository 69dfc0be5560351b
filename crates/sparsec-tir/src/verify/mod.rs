//! Verification.

mod types;

pub use types::{MAX_LANES, TypeError, type_in_vector, type_of};
pub(crate) use types::{lane_type, lanes_ok, type_in, type_of_access};
