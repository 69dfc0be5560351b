//! Sparse tensor IR in three stages: coordinate space, position space, flat.
