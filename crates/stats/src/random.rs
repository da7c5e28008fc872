//! Random numbers from a seed: the same everywhere, to the bit.

/// SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014): small and
/// well mixed.
pub(crate) struct Random(u64);

impl Random {
    /// A stream of its own for each seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `count - 1`, by multiplication (D. Lemire, ACM TOMACS 29, 2019; the bias is below
    /// `count / 2^64`).
    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// Puts `take` randomly chosen values in front, in random order (Fisher and Yates, stopped early).
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T], take: usize) {
        for at in 0..take.min(values.len()) {
            values.swap(at, at + self.below(values.len() - at));
        }
    }

    /// `take` of the numbers `0..count`, each at most once, in random order.
    pub(crate) fn choose(&mut self, count: usize, take: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..count).collect();
        self.shuffle(&mut chosen, take);
        chosen.truncate(take);
        chosen
    }
}
