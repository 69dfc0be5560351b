//! Opens compiled models from Rust: loader, tensors, thread pool.
