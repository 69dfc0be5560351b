//! Matrix descriptors of `wgmma`, and where they say that entries lie.
//!
//! The PTX ISA has them in "Asynchronous Warpgroup Level Matrix Shared Memory Layout". A matrix is read in chunks of 16 bytes.
//! *K-major*, a chunk is neighbouring entries of one row of A (column of B); *MN-major*, of one column of A (row of B). With `S` the
//! stride and `L` the leading byte offset, and `w` the width of the swizzle in bytes, a chunk lies at
//!
//! | | no swizzle | swizzle |
//! |---|---|---|
//! | K-major, row `r`, chunk `c` along k | `16 (r % 8) + S (r / 8) + L c` | `w (r % 8) + S (r / 8) + 16 c` |
//! | MN-major, step `k`, chunk `c` along m or n | `16 (k % 8) + L (k / 8) + S c` | `w (k % 8) + S (k / 8) + 16 (c % (w / 16)) + L (c / (w / 16))` |
//!
//! from the start address on; with a swizzle, bits 7 and up of the address are then added (exclusive or) to bits 4 and up: three
//! of them for 128 bytes, two for 64, one for 32. The ISA gives this as figures, and tables of "canonical layouts"; that the base offset is
//! subtracted from bits 7 to 9 is its formula as understood here.

use crate::error::Fault;

/// What a descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    start: u32,
    leading: u32,
    stride: u32,
    base: u32,
    /// Width of the swizzle in bytes; 0 for none.
    swizzle: u32,
}

impl Descriptor {
    /// Reads the fields; bits that have no meaning are zero.
    pub(crate) fn new(bits: u64) -> Result<Descriptor, Fault> {
        // Bits 46 to 48, 14, 15, 30, 31 and 52 to 61.
        if bits & 0x3ff1_c000_c000_c000 != 0 {
            return Err(Fault::Descriptor { descriptor: bits, reason: "bits without a meaning are set" });
        }
        let field = |from: u32, width: u32| (bits >> from) as u32 & ((1 << width) - 1);
        let swizzle = [0, 128, 64, 32][field(62, 2) as usize];
        let base = field(49, 3);
        Ok(Descriptor {
            start: field(0, 14) << 4,
            leading: field(16, 14) << 4,
            stride: field(32, 14) << 4,
            base,
            swizzle,
        })
    }

    /// The address of a chunk: `across` is a row of A or a column of B, `along` a chunk along k.
    pub(crate) fn k_major(&self, across: u32, along: u32) -> Result<u32, Fault> {
        let (line, outer) = (across % 8, across / 8 * self.stride);
        if self.swizzle == 0 {
            return Ok(self.start + 16 * line + outer + along * self.leading);
        }
        if self.start % self.swizzle + 16 * along >= self.swizzle {
            return Err(Fault::Unsupported("a matrix whose depth is beyond the width of its swizzle"));
        }
        Ok(self.swizzled(self.start + self.swizzle * line + outer + 16 * along))
    }

    /// The address of a chunk: `across` is one of eight rows of A or columns of B, `along` a step along k.
    pub(crate) fn mn_major(&self, across: u32, along: u32) -> u32 {
        let (line, outer) = (along % 8, along / 8);
        if self.swizzle == 0 {
            return self.start + 16 * line + outer * self.leading + across * self.stride;
        }
        let wide = self.swizzle / 16;
        let chunk = 16 * (across % wide) + across / wide * self.leading;
        self.swizzled(self.start + self.swizzle * line + outer * self.stride + chunk)
    }

    fn swizzled(&self, address: u32) -> u32 {
        let line = (address >> 7).wrapping_sub(self.base) & (self.swizzle / 16 - 1);
        address ^ line << 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(start: u64, leading: u64, stride: u64, mode: u64) -> u64 {
        start >> 4 | (leading >> 4) << 16 | (stride >> 4) << 32 | mode << 62
    }

    #[test]
    fn chunks_of_a_swizzled_line_change_places() {
        let d = Descriptor::new(bits(1024, 0, 1024, 1)).expect("a descriptor");
        assert_eq!(d.k_major(0, 3), Ok(1024 + 48));
        assert_eq!(d.k_major(5, 3), Ok(1024 + 5 * 128 + 16 * (3 ^ 5)));
        assert_eq!(d.k_major(13, 3), Ok(2048 + 5 * 128 + 16 * (3 ^ 5)));
        // Two lines of 64 bytes share 128, so that the second of four pairs is the first to change.
        let d = Descriptor::new(bits(1024, 0, 512, 2)).expect("a descriptor");
        assert_eq!(d.k_major(1, 1), Ok(1024 + 64 + 16));
        assert_eq!(d.k_major(2, 1), Ok(1024 + 128));
        let d = Descriptor::new(bits(1024, 0, 256, 3)).expect("a descriptor");
        assert_eq!(d.k_major(3, 0), Ok(1024 + 96));
        assert_eq!(d.k_major(4, 0), Ok(1024 + 128 + 16));
    }

    #[test]
    fn what_is_no_descriptor() {
        assert!(matches!(Descriptor::new(1 << 14), Err(Fault::Descriptor { .. })));
        assert!(matches!(Descriptor::new(1 << 52), Err(Fault::Descriptor { .. })));
        let d = Descriptor::new(bits(1024, 0, 256, 3)).expect("a descriptor");
        assert!(matches!(d.k_major(0, 2), Err(Fault::Unsupported(_))));
    }
}
