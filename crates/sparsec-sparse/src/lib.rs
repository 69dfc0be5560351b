//! Sparsity patterns, their statistics, storage formats and exact conversions.
