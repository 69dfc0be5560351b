//! Control flow: graphs within a graph.
//!
//! A nested graph is a graph of its own, with its own values, constants and nodes. It sees nothing of the graph around it but
//! the symbols, which have the same values in both; what it reads from there comes in through its inputs, as operands of the
//! node. So passes, rewriting and lowering look at nested graphs as at any other.

use crate::{Dim, Graph};

/// A loop: `ONNX`'s `Loop` and `Scan`, and the recurrent operators, are all written with it.
///
/// | | in order |
/// |---|---|
/// | operands | trip count (only [`Trip::Operand`]), condition (only where `conditional`), carried, scanned, captured |
/// | body inputs | iteration (`i64` scalar), carried, a slice of each scanned operand, captured |
/// | body outputs | condition (only where `conditional`), carried, a slice of each stacked result |
/// | results | carried, stacked |
///
/// The body runs while there are iterations left and the condition holds, which is looked at before each. Carried values keep
/// their type. Slices are along axis 0, which they lack; another axis is a transpose outside of the loop.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopSpec {
    /// How often the body runs at most.
    pub trip: Trip,
    /// Whether there is a condition.
    pub conditional: bool,
    /// How many values go from one iteration to the next.
    pub carried: usize,
    /// The operands that the body gets a slice of in each iteration, and the end from which slices are taken.
    pub scanned: Vec<Direction>,
    /// The results that the body gives a slice of in each iteration, and the end from which they are filled.
    pub stacked: Vec<Direction>,
    /// What runs in each iteration.
    pub body: Graph,
}

/// How often a loop runs at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trip {
    /// As often as a number says that is known once the symbols are.
    Known(Dim),
    /// As often as the first operand says, an `i64` scalar.
    Operand,
    /// Until the condition fails.
    Unbounded,
}

/// The order in which slices are taken or put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first on.
    Forward,
    /// From the last on.
    Reverse,
}

impl Direction {
    /// The name in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }

    /// The direction of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Direction::Forward, Direction::Reverse].into_iter().find(|d| d.name() == name)
    }
}

impl LoopSpec {
    /// Operands before the carried ones.
    #[must_use]
    pub fn first_carried(&self) -> usize {
        usize::from(self.trip == Trip::Operand) + usize::from(self.conditional)
    }

    /// Operands before the captured ones.
    #[must_use]
    pub fn first_captured(&self) -> usize {
        self.first_carried() + self.carried + self.scanned.len()
    }

    /// The position of the first captured value among the inputs of the body.
    #[must_use]
    pub fn first_captured_input(&self) -> usize {
        1 + self.carried + self.scanned.len()
    }
}
