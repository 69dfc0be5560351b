//! Compute capabilities, and which of them run code for an architecture.

use std::fmt;

/// A compute capability: `8.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability {
    /// The generation.
    pub major: u32,
    /// The member of it.
    pub minor: u32,
}

impl Capability {
    /// Whether it runs PTX for an architecture: `sm_80` runs on it and on everything later, `sm_90a` on 9.0 alone, since
    /// what the `a` stands for is of that generation only. `None` for what is no architecture.
    #[must_use]
    pub fn runs(self, gpu: &str) -> Option<bool> {
        let number = gpu.strip_prefix("sm_")?;
        let (number, specific) = match number.strip_suffix('a') {
            Some(number) => (number, true),
            None => (number, false),
        };
        if number.len() < 2 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number: u32 = number.parse().ok()?;
        let wanted = Capability { major: number / 10, minor: number % 10 };
        Some(if specific { self == wanted } else { self >= wanted })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::Capability;

    #[test]
    fn later_devices_run_what_is_not_specific() {
        let runs = |major, minor, gpu| Capability { major, minor }.runs(gpu);
        assert_eq!(runs(8, 0, "sm_80"), Some(true));
        assert_eq!(runs(8, 6, "sm_80"), Some(true));
        assert_eq!(runs(9, 0, "sm_80"), Some(true));
        assert_eq!(runs(7, 5, "sm_80"), Some(false));
        assert_eq!(runs(9, 0, "sm_90a"), Some(true));
        assert_eq!(runs(10, 0, "sm_90a"), Some(false));
        assert_eq!(runs(12, 0, "sm_100"), Some(true));
        for text in ["", "sm_", "sm_8", "sm_9x", "80", "sm_a", "sm_+90", "sm_99999999999"] {
            assert_eq!(runs(9, 0, text), None, "{text}");
        }
    }
}
