//! The text form of [`Format`]: `Display`, `FromStr`, and serde as that string.
//!
//! ```text
//! format = "dense" | "csr" | "bitmap" | "bsr<" R "," C ">" | "nm<" N "," M ">"
//!        | "hyb<" partition "," bucket "," rows ">" | "pruned<" format ">"
//! ```
//!
//! Numbers are decimal without sign or leading zeros, there are no spaces, and `pruned` does not nest: one format has
//! one text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::FormatError;
use crate::format::Format;

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense => f.write_str("dense"),
            Self::Csr => f.write_str("csr"),
            Self::Bitmap => f.write_str("bitmap"),
            Self::Bsr { r, c } => write!(f, "bsr<{r},{c}>"),
            Self::Nm { n, m } => write!(f, "nm<{n},{m}>"),
            Self::Hyb { partition, bucket, rows } => write!(f, "hyb<{partition},{bucket},{rows}>"),
            Self::Pruned(inner) => write!(f, "pruned<{inner}>"),
        }
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let format = match text.strip_prefix("pruned<").and_then(|rest| rest.strip_suffix('>')) {
            // Refused here and not by `validate`, so that hostile text can't recurse.
            Some(inner) if inner.starts_with("pruned") => {
                return Err(parse_error(text, "a pruned matrix can't be pruned again"));
            }
            Some(inner) => Self::pruned(inner.parse()?),
            None => parse_plain(text)?,
        };
        format.validate()?;
        Ok(format)
    }
}

fn parse_plain(text: &str) -> Result<Format, FormatError> {
    let (name, arguments) = match text.split_once('<') {
        None => (text, None),
        Some((name, rest)) => {
            let inner = rest.strip_suffix('>').ok_or_else(|| parse_error(text, "the closing `>` is missing"))?;
            let numbers: Option<Vec<u32>> = inner.split(',').map(parse_number).collect();
            (name, Some(numbers.ok_or_else(|| parse_error(text, "parameters must be decimal numbers"))?))
        }
    };
    match (name, arguments.as_deref()) {
        ("dense", None) => Ok(Format::Dense),
        ("csr", None) => Ok(Format::Csr),
        ("bitmap", None) => Ok(Format::Bitmap),
        ("bsr", Some(&[r, c])) => Ok(Format::Bsr { r, c }),
        ("nm", Some(&[n, m])) => Ok(Format::Nm { n, m }),
        ("hyb", Some(&[partition, bucket, rows])) => Ok(Format::Hyb { partition, bucket, rows }),
        ("dense" | "csr" | "bitmap" | "bsr" | "nm" | "hyb" | "pruned", _) => {
            Err(parse_error(text, "wrong number of parameters"))
        }
        _ => Err(parse_error(text, "unknown name")),
    }
}

fn parse_number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

fn parse_error(text: &str, reason: &'static str) -> FormatError {
    FormatError::Parse { text: text.chars().take(40).collect(), reason }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
