//! Kernels over dense tensors, written in Stage II: one file a family.

pub(crate) mod attention;
pub(crate) mod band;
pub(crate) mod conv;
pub(crate) mod gather;
pub(crate) mod gemm;
pub(crate) mod gemv;
pub(crate) mod line;
pub(crate) mod map;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod softmax;
