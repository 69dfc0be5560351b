//! The choices that a schedule makes inside a format: the compiler's own, or ones that somebody measured.
//!
//! Lowering predicts which tile is the fastest. A prediction can be wrong, so each kernel of a constant weight says which
//! schedule it has and which others there are ([`crate::Lowered::schedules`]), and
//! [`crate::LowerOptions::schedules`] sets one. Nothing here looks at a clock.

use std::fmt;
use std::str::FromStr;

/// How the kernel of a constant weight is cut. Text form: `tile(rows=1,vectors=8,channels=96,flight=1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Schedule {
    /// Kernels with a window: `hyb`, blocks, N:M.
    Tile {
        /// Output rows of a tile.
        rows: usize,
        /// Vectors of a tile.
        vectors: usize,
        /// Channels of a partition.
        channels: usize,
        /// What is computed at once: pairs of rows (`hyb`), rows (blocks, N:M).
        flight: usize,
        /// Whether vectors have half of the machine's lanes. Printed as `halves=1` where they do.
        halves: bool,
    },
    /// The dense kernel.
    Pieces {
        /// Outputs of a panel.
        height: usize,
        /// Vectors of a piece.
        vectors: usize,
        /// Pixels of a piece behind its vectors.
        tail: usize,
        /// Channels of a part.
        channels: usize,
    },
    /// The dense kernel by minimal filtering.
    Filtering {
        /// Outputs of a panel.
        height: usize,
        /// Vectors of a piece, whose lanes are tiles.
        vectors: usize,
        /// Tiles of a piece behind its vectors.
        tail: usize,
    },
}

/// A text that is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no schedule: expected one like `tile(rows=1,vectors=8,channels=96,flight=1)`")]
pub struct ScheduleError(pub String);

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Tile { rows, vectors, channels, flight, halves } => {
                let halves = if *halves { ",halves=1" } else { "" };
                write!(f, "tile(rows={rows},vectors={vectors},channels={channels},flight={flight}{halves})")
            }
            Schedule::Pieces { height, vectors, tail, channels } => {
                write!(f, "pieces(height={height},vectors={vectors},tail={tail},channels={channels})")
            }
            Schedule::Filtering { height, vectors, tail } => {
                write!(f, "filtering(height={height},vectors={vectors},tail={tail})")
            }
        }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        parse(text).ok_or_else(|| ScheduleError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Schedule> {
    let (kind, rest) = text.trim().strip_suffix(')')?.split_once('(')?;
    let fields: Vec<(&str, usize)> = rest
        .split(',')
        .map(|field| {
            let (name, value) = field.split_once('=')?;
            Some((name.trim(), value.trim().parse().ok()?))
        })
        .collect::<Option<_>>()?;
    match (kind, fields.as_slice()) {
        (
            "tile",
            &[("rows", rows), ("vectors", vectors), ("channels", channels), ("flight", flight), ref rest @ ..],
        ) => {
            let halves = match rest {
                [] => false,
                [("halves", 1)] => true,
                _ => return None,
            };
            Some(Schedule::Tile { rows, vectors, channels, flight, halves })
        }
        ("pieces", &[("height", height), ("vectors", vectors), ("tail", tail), ("channels", channels)]) => {
            Some(Schedule::Pieces { height, vectors, tail, channels })
        }
        ("filtering", &[("height", height), ("vectors", vectors), ("tail", tail)]) => {
            Some(Schedule::Filtering { height, vectors, tail })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_read_back() {
        for schedule in [
            Schedule::Tile { rows: 2, vectors: 7, channels: 96, flight: 1, halves: false },
            Schedule::Tile { rows: 7, vectors: 14, channels: 64, flight: 1, halves: true },
            Schedule::Pieces { height: 8, vectors: 3, tail: 1, channels: 64 },
            Schedule::Filtering { height: 6, vectors: 4, tail: 0 },
        ] {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
        for wrong in [
            "",
            "tile",
            "tile()",
            "tile(rows=1)",
            "tile(rows=1,vectors=8,channels=x,flight=1)",
            "pieces(1)",
            "tile(rows=1,vectors=8,channels=8,flight=1,halves=2)",
        ] {
            assert_eq!(wrong.parse::<Schedule>(), Err(ScheduleError(wrong.to_owned())));
        }
    }
}
