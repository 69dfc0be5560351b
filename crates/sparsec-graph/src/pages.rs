//! Memory behind constants that are borrowed from a file.
//!
//! A mapped file costs no memory until it is read, but then each page that was touched stays with the process. A compiler
//! reads every weight a few times and for a short time each, so it says when it is done with one: without that, a model
//! whose weights are folded into new ones would be in memory twice.

use std::fmt;

/// The file, or files, that the constants of a graph are borrowed from.
pub trait Pages: fmt::Debug + Send + Sync {
    /// Lets go of the memory that was taken by reading. The bytes stay valid, also while another thread reads them: they
    /// are fetched from the file again when they are next looked at. A hint that may do nothing.
    fn release(&self);
}
