//! Random numbers from a seed: the same everywhere, to the bit.

use serde::{Deserialize, Serialize};
use statrs::function::factorial::ln_binomial;
use std::f64::consts::TAU;

/// From this mean on, Poisson numbers are drawn from the normal law.
const NORMAL_FROM: f64 = 30.0;

/// SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014): eight bytes of state,
/// small and well mixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Random(u64);

impl Random {
    /// A stream of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `[0, 1)`, a multiple of `2^-53`.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number in `0..limit`, by multiplication (D. Lemire, ACM TOMACS 29, 2019; the bias is below
    /// `limit / 2^64`); 0 if the limit is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }

    /// Puts the values into random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }

    /// `take` of the numbers `0..count`, each at most once, in random order.
    pub(crate) fn choose(&mut self, count: usize, take: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..count).collect();
        for at in 0..take.min(count) {
            chosen.swap(at, at + self.below(count - at));
        }
        chosen.truncate(take);
        chosen
    }

    /// A count with this mean: by multiplication of uniform numbers (Knuth), or the rounded normal law where that is as
    /// good (Box and Muller).
    pub fn poisson(&mut self, mean: f64) -> f64 {
        if mean >= NORMAL_FROM {
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            let normal = radius * (TAU * self.uniform()).cos();
            return (mean + mean.sqrt() * normal).round().max(0.0);
        }
        let limit = (-mean).exp();
        let (mut product, mut count) = (self.uniform(), 0.0);
        while product > limit {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }

    /// How many of `trials` succeed that each do so with probability `share`: inversion, searched outwards from the mode,
    /// so that it takes about as many steps as the standard deviation is large.
    pub fn binomial(&mut self, trials: u64, share: f64) -> u64 {
        if trials == 0 || share <= 0.0 {
            return 0;
        }
        if share >= 1.0 {
            return trials;
        }
        let odds = share / (1.0 - share);
        let mode = (((trials + 1) as f64 * share) as u64).min(trials);
        let at_mode = (ln_binomial(trials, mode)
            + mode as f64 * share.ln()
            + (trials - mode) as f64 * (-share).ln_1p())
        .exp();
        let mut left = self.uniform() - at_mode;
        let (mut below, mut above) = ((mode, at_mode), (mode, at_mode));
        while left >= 0.0 && (below.0 > 0 || above.0 < trials) {
            if above.0 < trials {
                above.1 *= (trials - above.0) as f64 / (above.0 + 1) as f64 * odds;
                above.0 += 1;
                left -= above.1;
                if left < 0.0 {
                    return above.0;
                }
            }
            if below.0 > 0 {
                below.1 *= below.0 as f64 / (trials - below.0 + 1) as f64 / odds;
                below.0 -= 1;
                left -= below.1;
                if left < 0.0 {
                    return below.0;
                }
            }
            // Both tails are used up to the last bit: what is left is rounding.
            if below.1 + above.1 < f64::MIN_POSITIVE {
                break;
            }
        }
        mode
    }

    /// The same for simulations that draw very many: inversion from 0 where few succeed or few fail, the rounded normal law
    /// otherwise.
    pub fn successes(&mut self, trials: u64, share: f64) -> u64 {
        if trials == 0 || share <= 0.0 {
            return 0;
        }
        if share > 0.5 {
            return trials - self.successes(trials, 1.0 - share);
        }
        let (count, mean) = (trials as f64, trials as f64 * share);
        if mean >= NORMAL_FROM {
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            let normal = radius * (TAU * self.uniform()).cos();
            return (mean + (mean * (1.0 - share)).sqrt() * normal).round().clamp(0.0, count) as u64;
        }
        let odds = share / (1.0 - share);
        let mut chance = (count * (-share).ln_1p()).exp();
        let (mut left, mut found) = (self.uniform() - chance, 0u64);
        while left >= 0.0 && found < trials && chance > 0.0 {
            chance *= (count - found as f64) / (found + 1) as f64 * odds;
            found += 1;
            left -= chance;
        }
        found
    }

    /// How `rows` fall into cells with these shares, which add up to 1.
    pub(crate) fn multinomial(&mut self, rows: u64, shares: &[f64]) -> Vec<u64> {
        let (mut left, mut rest) = (rows, 1.0f64);
        let draw = |share: &f64| {
            let drawn = self.binomial(left, if rest > 0.0 { share / rest } else { 1.0 });
            left -= drawn;
            rest -= share;
            drawn
        };
        let mut cells: Vec<u64> = shares.iter().map(draw).collect();
        // Rounding may leave a row over.
        if let Some(largest) = (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b])) {
            cells[largest] += left;
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn binomial_numbers_have_their_mean_and_variance() {
        for (trials, share) in [(10, 0.3), (400, 0.02), (5_000, 0.5), (2_000_000, 0.9)] {
            let mut random = Random::new(trials);
            let runs = 4_000;
            let drawn: Vec<f64> = (0..runs).map(|_| random.binomial(trials, share) as f64).collect();
            let mean = drawn.iter().sum::<f64>() / runs as f64;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / runs as f64;
            let expected = trials as f64 * share * (1.0 - share);
            assert!((mean - trials as f64 * share).abs() < 4.0 * (expected / runs as f64).sqrt());
            assert!((variance / expected - 1.0).abs() < 0.1, "{variance} {expected}");
            let drawn: Vec<f64> = (0..runs).map(|_| random.successes(trials, share) as f64).collect();
            let mean = drawn.iter().sum::<f64>() / runs as f64;
            let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / runs as f64;
            assert!((mean - trials as f64 * share).abs() < 4.0 * (expected / runs as f64).sqrt());
            assert!((variance / expected - 1.0).abs() < 0.1, "{variance} {expected}");
        }
    }

    #[test]
    fn multinomial_rows_add_up() {
        let mut random = Random::new(1);
        for _ in 0..100 {
            let cells = random.multinomial(1_000, &[0.1, 0.2, 0.0, 0.7]);
            assert_eq!((cells.iter().sum::<u64>(), cells[2]), (1_000, 0));
        }
    }
}
