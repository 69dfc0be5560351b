//! Where the fields of an encoded protocol buffer lie, without its definition: enough to damage lengths and numbers
//! where it hurts.

use std::ops::Range;

/// A number in the encoding: a length or an integer field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    /// Bytes of the varint.
    pub bytes: Range<usize>,
    /// Whether it is the length of what follows.
    pub is_length: bool,
}

/// The numbers of an encoded message and of the messages in it. Bytes that happen to read as a message are taken for one.
#[must_use]
pub fn numbers(bytes: &[u8]) -> Vec<Number> {
    let mut found = Vec::new();
    walk(bytes, 0, 0, &mut found);
    found
}

/// Appends the numbers of `bytes`, which lie at `base`; whether they read as a message.
fn walk(bytes: &[u8], base: usize, depth: usize, found: &mut Vec<Number>) -> bool {
    let before = found.len();
    let mut at = 0;
    while at < bytes.len() {
        let field = varint(bytes, at).and_then(|(tag, next)| match (tag >> 3, tag & 7) {
            (0, _) => None,
            (_, 0) => {
                let (_, end) = varint(bytes, next)?;
                found.push(Number { bytes: base + next..base + end, is_length: false });
                Some(end)
            }
            (_, 1) => Some(next + 8),
            (_, 2) => {
                let (length, start) = varint(bytes, next)?;
                let end = start.checked_add(usize::try_from(length).ok()?).filter(|&e| e <= bytes.len())?;
                found.push(Number { bytes: base + next..base + start, is_length: true });
                // Weights are not worth a look: a message of the format is rarely this long below the top.
                if depth < 2 || end - start < 4096 {
                    walk(&bytes[start..end], base + start, depth + 1, found);
                }
                Some(end)
            }
            (_, 5) => Some(next + 4),
            _ => None,
        });
        match field {
            Some(end) if end <= bytes.len() => at = end,
            _ => {
                found.truncate(before);
                return false;
            }
        }
    }
    true
}

fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, at + i + 1));
        }
    }
    None
}

/// The encoding of a number.
#[must_use]
pub fn encode_varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lengths_and_integers() {
        // Field 1: integer 300. Field 2: a message with field 1: integer 1.
        let bytes = [0x08, 0xac, 0x02, 0x12, 0x02, 0x08, 0x01];
        let expected = [(1..3, false), (4..5, true), (6..7, false)];
        assert_eq!(numbers(&bytes), expected.map(|(bytes, is_length)| Number { bytes, is_length }));
        assert_eq!(encode_varint(300), [0xac, 0x02]);
        assert_eq!(encode_varint(u64::MAX).len(), 10);
    }
}
