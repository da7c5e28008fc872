//! The law of the Kolmogorov-Smirnov statistic: exact for two small samples, by the law of one sample otherwise.

use super::cramer::divisor;
use statrs::function::factorial::{ln_binomial, ln_factorial};
use std::f64::consts::PI;

/// Up to this many values in each sample the p-value is exact,
const EXACT: usize = 10_000;
/// unless there are more pairs than this and `d^2 nm / (n + m)` is above [`CERTAIN`]: then it is below 1e-15.
const FEW_PAIRS: usize = 1_000_000;
/// See [`FEW_PAIRS`].
const CERTAIN: f64 = 18.0;
/// Up to this size the law of one sample is computed exactly where it matters.
const SMALL: u64 = 140;
/// Beyond this size Smirnov's sum is replaced by its expansion, which agrees to 1e-10 there.
const LARGE: u64 = 20_000;

/// `P(D >= d)` for samples of `n` and `m` values without ties, where `d = scaled / (n m)`.
pub(super) fn two_sample_tail(n: usize, m: usize, scaled: u128) -> f64 {
    if scaled == 0 {
        return 1.0;
    }
    let (rows, others) = (n as f64, m as f64);
    let d = scaled as f64 / (rows * others);
    let effective = rows * others / (rows + others);
    let few = n.max(m) <= EXACT && (n * m <= FEW_PAIRS || d * d * effective < CERTAIN);
    let tail = match few {
        true if n == m => leave_square(n, scaled as usize / n),
        true => leave_band(n.max(m), n.min(m), scaled as usize / divisor(n, m)),
        false => one_sample_tail(effective.round_ties_even() as u64, d),
    };
    tail.clamp(0.0, 1.0)
}

/// The probability that a random path to `(n, n)` is somewhere at least `height` off the diagonal, by reflection
/// (B. V. Gnedenko and V. S. Korolyuk, Doklady 80, 1951).
fn leave_square(n: usize, height: usize) -> f64 {
    let n_f = n as f64;
    let mut tail = 0.0;
    for fold in (0..=n / height).rev() {
        let shift = (fold * height) as f64;
        let ratio = |step: usize| (n_f - shift - step as f64) / (n_f + shift + step as f64 + 1.0);
        tail = (0..height).map(ratio).product::<f64>() * (1.0 - tail);
    }
    2.0 * tail
}

/// The probability that a random path to `(long, short)` is somewhere at least `height` off the diagonal, in units of the
/// common divisor: column by column, of each point inside the band, the share of the paths to it that left the band
/// (J. L. Hodges, Arkiv för Matematik 3, 1958; as in SciPy).
fn leave_band(long: usize, short: usize, height: usize) -> f64 {
    let common = divisor(long, short);
    let (along, up) = ((long / common) as i64, (short / common) as i64);
    let (height, last) = (height as i64, short as i64);
    let end_of = |column: i64| ((up * column + height + along - 1) / along).min(last + 1);
    let shares: Vec<f64> = (0..=long + short).map(|steps| 1.0 / steps as f64).collect();
    let mut start = 0;
    let mut left = vec![0.0; end_of(0) as usize];
    for column in 1..=long as i64 {
        let before = start;
        start = ((up * column - height).div_euclid(along) + 1).clamp(0, last);
        let end = end_of(column);
        if end <= start {
            return 1.0;
        }
        // Whoever comes from outside the band has left it.
        left.resize((end - before) as usize, 1.0);
        let moved = (start - before) as usize;
        let mut from_below = if start == 0 { 0.0 } else { 1.0 };
        for (row, place) in (start..end).zip(0..) {
            let share = shares[(column + row) as usize];
            from_below = left[place + moved] * (column as f64 * share) + from_below * (row as f64 * share);
            left[place] = from_below;
        }
        left.truncate((end - start) as usize);
    }
    left.last().copied().unwrap_or(1.0)
}

/// `P(D_n >= x)` of one sample of `n` values against its law, by the formula that is exact to about 1e-10 in each region
/// (R. Simard and P. L'Ecuyer, *Computing the two-sided Kolmogorov-Smirnov distribution*, Journal of Statistical Software
/// 39, 2011). `scipy.stats.kstwo.sf`.
fn one_sample_tail(n: u64, x: f64) -> f64 {
    let size = n as f64;
    let scaled = size * x;
    let squared = scaled * x;
    if x >= 1.0 {
        0.0
    } else if scaled <= 0.5 {
        1.0
    } else if scaled <= 1.0 {
        1.0 - (ln_factorial(n) + size * ((2.0 * scaled - 1.0) / size).ln()).exp()
    } else if scaled >= size - 1.0 {
        2.0 * (1.0 - x).powf(size)
    } else if x >= 0.5 || squared > 4.0 || (n > SMALL && squared >= 2.2) {
        2.0 * one_sided_tail(n, x)
    } else if n <= SMALL {
        1.0 - durbin(n, x)
    } else if squared < 0.04 {
        1.0 // to 1e-13
    } else if n <= 100_000 && size * x.powf(1.5) <= 1.4 {
        1.0 - durbin(n, x)
    } else {
        pelz_good_tail(n, x)
    }
}

/// `P(D_n+ >= x)`: Smirnov's sum; for many values the logarithm of its expansion in `n^(-1/2)` (H. A. Lauwerier,
/// Zeitschrift für Wahrscheinlichkeitstheorie 2, 1963).
fn one_sided_tail(n: u64, x: f64) -> f64 {
    let size = n as f64;
    if n > LARGE {
        let (root, z) = (size.sqrt(), size.sqrt() * x);
        let square = z * z;
        let order_3 = z * (4.0 / 45.0 - 88.0 * square / 405.0) / (size * root);
        let order_2 = 4.0 * square / 9.0 * (1.0 - square) / size;
        return (-2.0 * square - 2.0 * z / (3.0 * root) + order_2 + order_3).exp();
    }
    let term = |step: u64| {
        let at = x + step as f64 / size;
        let rest = 1.0 - at;
        if rest <= 0.0 {
            return 0.0;
        }
        (ln_binomial(n, step) + (step as f64 - 1.0) * at.ln() + (n - step) as f64 * rest.ln()).exp()
    };
    x * (0..=(size * (1.0 - x)) as u64).map(term).sum::<f64>()
}

/// `P(D_n < x)` by a power of Durbin's matrix (G. Marsaglia, W. W. Tsang, J. Wang, Journal of Statistical Software 8,
/// 2003).
fn durbin(n: u64, x: f64) -> f64 {
    let scaled = n as f64 * x;
    let middle = scaled.ceil() as usize;
    let size = 2 * middle - 1;
    let h = middle as f64 - scaled;
    let mut matrix = Scaled::zero(size);
    for row in 0..size {
        for column in 0..=(row + 1).min(size - 1) {
            matrix.cells[row * size + column] = 1.0;
        }
    }
    for place in 0..size {
        matrix.cells[place * size] -= h.powi(place as i32 + 1);
        matrix.cells[(size - 1) * size + place] -= h.powi((size - place) as i32);
    }
    matrix.cells[(size - 1) * size] += (2.0 * h - 1.0).max(0.0).powi(size as i32);
    let mut factorial = 1.0;
    for diagonal in 1..=size {
        factorial /= diagonal as f64;
        for row in diagonal - 1..size {
            matrix.cells[row * size + row + 1 - diagonal] *= factorial;
        }
    }
    matrix.power(n, middle - 1)
}

/// A square matrix times a power of two.
#[derive(Clone)]
struct Scaled {
    size: usize,
    cells: Vec<f64>,
    exponent: i32,
}

impl Scaled {
    fn zero(size: usize) -> Self {
        Self { size, cells: vec![0.0; size * size], exponent: 0 }
    }

    fn times(&self, other: &Self) -> Self {
        let size = self.size;
        let mut product = Self { exponent: self.exponent + other.exponent, ..Self::zero(size) };
        for (into, row) in product.cells.chunks_exact_mut(size).zip(self.cells.chunks_exact(size)) {
            for (factor, line) in row.iter().zip(other.cells.chunks_exact(size)) {
                into.iter_mut().zip(line).for_each(|(cell, value)| *cell += factor * value);
            }
        }
        product.kept_in_range()
    }

    fn kept_in_range(mut self) -> Self {
        let middle = self.size / 2;
        if self.cells[middle * self.size + middle].abs() > 2f64.powi(256) {
            self.cells.iter_mut().for_each(|cell| *cell *= 2f64.powi(-256));
            self.exponent += 256;
        }
        self
    }

    /// The diagonal cell of the `n`-th power, times `n! / n^n`.
    fn power(self, n: u64, cell: usize) -> f64 {
        let mut result = Self::zero(self.size);
        (0..self.size).for_each(|place| result.cells[place * self.size + place] = 1.0);
        let (mut square, mut times) = (self, n);
        while times > 0 {
            if times % 2 == 1 {
                result = result.times(&square);
            }
            square = square.times(&square);
            times /= 2;
        }
        let value = result.cells[cell * result.size + cell];
        let logarithm = ln_factorial(n) - n as f64 * (n as f64).ln();
        (value.ln() + f64::from(result.exponent) * std::f64::consts::LN_2 + logarithm).exp()
    }
}

/// `P(D_n >= x)` by the four terms of W. Pelz and I. J. Good, Journal of the Royal Statistical Society B 38, 1976, in the
/// theta-function form for small `x`.
fn pelz_good_tail(n: u64, x: f64) -> f64 {
    let root = (n as f64).sqrt();
    let z = root * x;
    let (z2, z4, z6) = (z.powi(2), z.powi(4), z.powi(6));
    let (pi2, pi4, pi6) = (PI.powi(2), PI.powi(4), PI.powi(6));
    let mut sums = [0.0; 4];
    let mut extra = [0.0; 2];
    for k in 1..=(16.0 * z / PI).ceil() as i32 {
        let odd = f64::from(2 * k - 1);
        let (m2, m4, m6) = (odd.powi(2), odd.powi(4), odd.powi(6));
        let weight = (-m2 * pi2 / (8.0 * z2)).exp();
        sums[0] += weight;
        sums[1] += weight * (pi2 / 4.0 * m2 - z2);
        sums[2] += weight
            * (6.0 * z6
                + 2.0 * z4
                + (2.0 * z4 - 5.0 * z2) * pi2 / 4.0 * m2
                + pi4 * (1.0 - 2.0 * z2) / 16.0 * m4);
        sums[3] += weight
            * (-30.0 * z6 - 90.0 * z4 * z4
                + pi2 * (135.0 * z4 - 96.0 * z6) / 4.0 * m2
                + pi4 * (212.0 * z4 - 60.0 * z2) / 16.0 * m4
                + pi6 * (5.0 - 30.0 * z2) / 64.0 * m6);
        let even = f64::from(k * k);
        let weight = even * (-even * pi2 / (2.0 * z2)).exp();
        extra[0] += weight;
        extra[1] += weight * (3.0 * z2 - pi2 * even);
    }
    let factor = (2.0 * PI).sqrt();
    let terms = [
        sums[0] / z,
        sums[1] / (6.0 * z4),
        sums[2] / (72.0 * z4 * z * z2) - extra[0] * pi2 / (36.0 * z * z2),
        sums[3] / (6480.0 * z6 * z4) + extra[1] * pi2 / (216.0 * z6),
    ];
    let [first, second, third, fourth] = terms.map(|term| factor * term);
    1.0 - first - second / root - third / root.powi(2) - fourth / root.powi(3)
}
