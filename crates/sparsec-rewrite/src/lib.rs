//! Equality saturation over the graph IR: fusion, layout and weight format by predicted cost.
