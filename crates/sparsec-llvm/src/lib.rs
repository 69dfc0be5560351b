//! LLVM backend: flat tensor IR to machine code.
