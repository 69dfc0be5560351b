//! The compiler driver: compile(model, options) -> Artifact.
