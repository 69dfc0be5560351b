//! Helpers shared by the end-to-end and differential tests.
