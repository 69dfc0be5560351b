//! Verification: what must hold of each stage. All errors are collected, each with its place.
//!
//! Stages II and III ([`verify_position`], [`verify_flat`]):
//!
//! 1. Names of params, buffers, registers and variables are identifiers of the text form and differ from each other.
//!    Comments have no line breaks.
//! 2. Buffers have `i64` extents over params, and no strides or one per dimension. Extents of scratch are constants.
//! 3. Registers have valid lanes and extents that aren't 0.
//! 4. A variable is used where it is defined: in the body of its loop, or after its `let` in the same block. It isn't
//!    defined again there.
//! 5. Every expression has a type ([`type_of`]). A `let`'s is its variable's, a `Set`'s its register's, a `Store`'s its
//!    place's (Stage II: or a scalar, which is splatted). Conditions are scalar `bool`, bounds and counts scalar `i64`.
//! 6. Inputs aren't stored to.
//! 7. Loops have positive steps; `parallel`, `unroll` and `vector` loops have step 1. Only `vector` loops have
//!    an active count.
//! 8. A parallel loop is the only top-level statement.
//! 9. Bounds of `unroll` loops and indices of registers are built from constants and variables of `unroll` loops.
//! 10. Accesses aren't `padded`.
//!
//! 21. The sums of a matrix product are `f32x128`. They are set to constants, added to by products and saved, and nothing
//!     else: which lane holds which is the backend's business.
//! 22. Factors of a product are elements of the type that its precision is stored in, and 2:4 sparse for 16 bits only;
//!     sums are saved to `f32`. Products stand in no vector loop.
//!
//! 23. At most one `warps` loop stands in the parallel loop's body, beside `let`s and comments. It runs from 0 to a constant up to 32.
//! 24. Barriers, copies and team buffers stand in it only. Loops and branches with a barrier in them have bounds and conditions that are
//!     the same for all warps: of constants, params, variables that are so, and elements of inputs.
//! 25. A copy moves 512 bytes of one type from an input to a team buffer; the source alone has an active count.
//! 26. Only left factors of single warps are blocked; then their distances are multiples of a block.
//! 27. Products of groups, their ends and waits for them stand in a team of four warps or a multiple, where no warps have parted. Both
//!     factors have 16 bits and lie in team buffers, in blocks at multiples of 16 bytes, at the same place for all warps.
//! 28. What is spread is a vector of whole pieces of 16 bytes; they lie at multiples of 16 bytes in a team buffer.
//!
//! Stage II:
//!
//! 11. `vector` loops run from 0 to a constant power of two up to [`MAX_LANES`], aren't nested, and satisfy what
//!     `lower_to_flat` asks of their bodies. There are no gathers.
//!
//! Stage III:
//!
//! 12. There are no `vector` loops. Buffers have one dimension and no strides.
//! 13. Operands have equal lanes: splats are explicit.
//!
//! Before a backend ([`verify_machine`]): also
//!
//! 14. There is no `exp`, `log`, `erf`, `tanh`, `sin`, `cos` or `pow`: `expand_math` has run.
//!
//! Stage I ([`verify_coordinate`]):
//!
//! 15. Names are identifiers; those of params, variables and buffers differ from each other, and so do those of axes,
//!     of maps, and of iterations.
//! 16. Parents of axes come before them. Lengths and extents are `i64` expressions over params.
//! 17. A buffer has a shape or axes; maps and buffers name existing axes.
//! 18. An iteration's variables are bound once, and a map gets one variable per axis.
//! 19. `init` and `epilogue` use variables of spatial axes only; the target's buffer is an output with a shape; every
//!     value has the target's type.
//! 20. Loads and the target touch one element, with as many indices as dimensions (or axes).

mod coordinate;
mod kernel;
mod team;
mod types;

pub use coordinate::verify_coordinate;
pub use kernel::{verify_flat, verify_machine, verify_position};
pub(crate) use team::has_barrier;
pub use types::{MAX_LANES, TypeError, type_in_vector, type_of};
pub(crate) use types::{lane_type, lanes_ok, type_in, type_of_access};

use std::fmt;

/// Something that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kernel `{kernel}`: {place}: {message}")]
pub struct VerifyError {
    /// The kernel.
    pub kernel: String,
    /// The statement or declaration, in the text form.
    pub place: String,
    /// What doesn't hold.
    pub message: String,
}

/// Everything that doesn't hold of a kernel, in the order of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyErrors(pub Vec<VerifyError>);

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for VerifyErrors {}

/// Collects errors of one kernel.
pub(crate) struct Errors {
    kernel: String,
    errors: Vec<VerifyError>,
}

impl Errors {
    fn new(kernel: &str) -> Self {
        Errors { kernel: kernel.to_owned(), errors: Vec::new() }
    }

    fn push(&mut self, place: impl Into<String>, message: impl fmt::Display) {
        let (kernel, place) = (self.kernel.clone(), place.into());
        self.errors.push(VerifyError { kernel, place, message: message.to_string() });
    }

    fn check(&mut self, holds: bool, place: &str, message: impl fmt::Display) {
        if !holds {
            self.push(place, message);
        }
    }

    fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    fn finish(self) -> Result<(), VerifyErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(VerifyErrors(self.errors)) }
    }

    /// Names that are identifiers and differ.
    fn names<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            self.check(crate::is_identifier(name), name, "is no identifier");
            self.check(seen.insert(name), name, "is the name of something else too");
        }
    }
}
