//! ONNX reader: bytes to graph IR, zero copy.
