//! What a launch did.

use std::fmt;

/// Counts of one launch; all of warps, not threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instructions that a warp executed.
    pub instructions: u64,
    /// Of these, jumps where lanes parted.
    pub divergent_branches: u64,
    /// Matrix products, dense and sparse.
    pub matrix_products: u64,
    /// Barriers of blocks, counted once for each warp.
    pub barriers: u64,
    /// Accesses to shared memory, at the best one pass each 128 bytes.
    pub shared_passes: u64,
    /// Further passes, since different words of one bank were needed.
    pub bank_conflicts: u64,
    /// Loads of global memory, `cp.async` included.
    pub global_loads: u64,
    /// Of these, those that touched more sectors of 32 bytes than their data would fill, alignment allowed for.
    pub uncoalesced_loads: u64,
    /// Sectors of 32 bytes that loads touched, counted once for each instruction.
    pub load_sectors: u64,
    /// Stores to global memory, atomics included.
    pub global_stores: u64,
    /// Sectors of 32 bytes that stores touched.
    pub store_sectors: u64,
}

impl Counts {
    /// Both together.
    pub fn add(&mut self, other: &Counts) {
        let Counts {
            instructions,
            divergent_branches,
            matrix_products,
            barriers,
            shared_passes,
            bank_conflicts,
            global_loads,
            uncoalesced_loads,
            load_sectors,
            global_stores,
            store_sectors,
        } = other;
        self.instructions += instructions;
        self.divergent_branches += divergent_branches;
        self.matrix_products += matrix_products;
        self.barriers += barriers;
        self.shared_passes += shared_passes;
        self.bank_conflicts += bank_conflicts;
        self.global_loads += global_loads;
        self.uncoalesced_loads += uncoalesced_loads;
        self.load_sectors += load_sectors;
        self.global_stores += global_stores;
        self.store_sectors += store_sectors;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} instructions, {} matrix products, {} barriers, {} divergent branches; shared: {} passes, {} bank \
             conflicts; global: {} loads ({} uncoalesced, {} sectors), {} stores ({} sectors)",
            self.instructions,
            self.matrix_products,
            self.barriers,
            self.divergent_branches,
            self.shared_passes,
            self.bank_conflicts,
            self.global_loads,
            self.uncoalesced_loads,
            self.load_sectors,
            self.global_stores,
            self.store_sectors
        )
    }
}

/// Passes over the banks that a warp's accesses to shared memory take, and the least that their size would take.
///
/// The addresses are those of the active lanes, in order of the lanes. A pass reads or writes one word of 4 bytes from each of
/// 32 banks. Wider accesses are served by 16 or 8 lanes at a time.
pub(crate) fn shared_passes(addresses: &[(u32, u32)], bytes: u32) -> (u64, u64) {
    let lanes_at_once = (128 / bytes.max(4)).clamp(8, 32);
    let (mut passes, mut least) = (0, 0);
    let mut words: Vec<u32> = Vec::with_capacity(32);
    for group in addresses.chunk_by(|a, b| a.0 / lanes_at_once == b.0 / lanes_at_once) {
        words.clear();
        for (_, address) in group {
            words.extend(address / 4..(address + bytes).div_ceil(4));
        }
        words.sort_unstable();
        words.dedup();
        let mut banks = [0_u64; 32];
        for word in &words {
            banks[*word as usize % 32] += 1;
        }
        passes += banks.into_iter().max().unwrap_or(0);
        least += 1;
    }
    (passes, least)
}

/// Sectors of 32 bytes that accesses touch, and the most that the same data would touch if it lay together.
pub(crate) fn sectors(addresses: &[(u32, u64)], bytes: u32) -> (u64, u64) {
    let mut touched: Vec<u64> = Vec::with_capacity(64);
    let mut starts: Vec<u64> = addresses.iter().map(|(_, a)| *a).collect();
    for start in &starts {
        touched.extend(start / 32..=(start + u64::from(bytes) - 1) / 32);
    }
    touched.sort_unstable();
    touched.dedup();
    starts.sort_unstable();
    starts.dedup();
    let data = starts.len() as u64 * u64::from(bytes);
    (touched.len() as u64, data.div_ceil(32) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes<T>(address: impl Fn(u32) -> T) -> Vec<(u32, T)> {
        (0..32).map(|l| (l, address(l))).collect()
    }

    #[test]
    fn banks() {
        assert_eq!(shared_passes(&lanes(|l| 4 * l), 4), (1, 1), "neighbours");
        assert_eq!(shared_passes(&lanes(|_| 64), 4), (1, 1), "one word for all");
        assert_eq!(shared_passes(&lanes(|l| 8 * l), 4), (2, 1), "every other word");
        assert_eq!(shared_passes(&lanes(|l| 128 * l), 4), (32, 1), "one bank");
        assert_eq!(shared_passes(&lanes(|l| 132 * l), 4), (1, 1), "a padded row");
        assert_eq!(shared_passes(&lanes(|l| 16 * l), 16), (4, 4), "vectors of four");
        assert_eq!(shared_passes(&lanes(|l| 2 * l), 2), (1, 1), "halves");
    }

    #[test]
    fn coalescing() {
        assert_eq!(sectors(&lanes(|l| 4 * u64::from(l)), 4), (4, 5), "neighbours");
        assert_eq!(sectors(&lanes(|l| 4 + 4 * u64::from(l)), 4), (5, 5), "neighbours from elsewhere");
        assert_eq!(sectors(&lanes(|l| 32 * u64::from(l)), 4), (32, 5), "a column");
        assert_eq!(sectors(&lanes(|_| 96), 4), (1, 2), "one for all");
    }
}
