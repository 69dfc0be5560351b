//! Tests of the reader. Models are built and encoded by `onnx-protobuf`, an implementation of the file format that
//! shares nothing with the reader's own.

mod arithmetic;
mod composed;
mod computed;
mod control;
mod errors;
mod external;
mod functions;
mod gradient;
mod malformed;
mod model;
mod operators;
mod pruning;
mod quantize;
mod sequences;
mod shapes;
mod strings;
mod tensors;
mod windows;
