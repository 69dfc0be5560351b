//! Graph passes: folding, recognition, CSE, DCE, sparsity propagation.
