//! Seeded random numbers, the same on every machine.

/// Splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number in `0..1`.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Numbers in `low..high`.
    pub fn uniform(&mut self, low: f32, high: f32, count: usize) -> Vec<f32> {
        (0..count).map(|_| low + (high - low) * self.unit()).collect()
    }

    /// Numbers of mean 0 and standard deviation `std`, nearly normal: the sum of four uniform ones.
    pub fn normal(&mut self, std: f32, count: usize) -> Vec<f32> {
        // The sum of four has variance 4 / 12.
        let scale = std * 3f32.sqrt();
        (0..count).map(|_| ((0..4).map(|_| self.unit()).sum::<f32>() - 2.0) * scale).collect()
    }
}
