//! The tail of a sample as a generalised Pareto law.

/// The share of the sample that counts as its tail.
const TAIL: f64 = 0.1;
/// Fewer values than this in the tail say nothing about its shape.
const LEAST_IN_TAIL: usize = 10;

/// The law of values beyond a threshold: `P(X > x) = share (1 + shape (x - threshold) / scale)^(-1/shape)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ParetoTail {
    pub(super) threshold: f64,
    share: f64,
    shape: f64,
    scale: f64,
}

impl ParetoTail {
    /// Fits the upper tenth of values in rising order by probability-weighted moments (Hosking and Wallis, Technometrics
    /// 29, 1987, section 3). Tails are taken to be at least exponential: a law with an end would call any value beyond
    /// it impossible.
    pub(super) fn fit(sorted: &[f64]) -> Option<Self> {
        let count = (TAIL * sorted.len() as f64) as usize;
        if count < LEAST_IN_TAIL {
            return None;
        }
        let (body, tail) = sorted.split_at(sorted.len() - count);
        let threshold = *body.last()?;
        let n = count as f64;
        let mean = tail.iter().map(|value| value - threshold).sum::<f64>() / n;
        let weighted = tail.iter().enumerate();
        let weighted = weighted
            .map(|(rank, value)| (value - threshold) * (n - 1.0 - rank as f64) / (n - 1.0))
            .sum::<f64>()
            / n;
        let difference = mean - 2.0 * weighted;
        if !(mean > 0.0 && difference > 0.0) {
            return None;
        }
        let shape = (2.0 - mean / difference).max(0.0);
        // The scale that keeps the mean if the shape was raised to 0.
        let scale = mean * (1.0 - shape);
        let share = (n + 1.0) / (sorted.len() as f64 + 1.0);
        (scale > 0.0).then_some(Self { threshold, share, shape, scale })
    }

    pub(super) fn probability(&self, value: f64) -> f64 {
        let far = (value - self.threshold).max(0.0) / self.scale;
        let beyond = match self.shape > 1e-9 {
            true => (1.0 + self.shape * far).powf(-1.0 / self.shape),
            false => (-far).exp(),
        };
        self.share * beyond
    }
}
