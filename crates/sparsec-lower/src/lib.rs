//! Lowering: fused graph with formats to sparse tensor kernels, memory plan, launch plan.
