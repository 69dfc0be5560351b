//! Graph IR: operators with exact meaning, symbolic shapes, text form, verifier, shape inference, interpreter.
