//! Class shares and class delays from a development triangle whose youngest labels are still to come.

use super::delay::Seen;
use crate::random::Random;
use std::collections::BTreeMap;

/// Rounds of expectation and maximisation at most.
const MOST_ROUNDS: usize = 2_000;
/// Shares that move by less than this in a round have settled.
const SETTLED: f64 = 1e-9;

/// Counts of one stratum by block of time. Blocks are as long as the window in question; each has a share of its own.
#[derive(Debug, Clone)]
pub(super) struct Triangle {
    /// Delays that occur, in cells, ascending.
    pub(super) delays: Vec<u32>,
    blocks: Vec<Block>,
    /// Position of the window among the blocks.
    window: usize,
}

#[derive(Debug, Clone)]
struct Block {
    /// How much it counts for the delays.
    weight: f64,
    /// Labels by outcome and position of their delay.
    arrivals: [Vec<f64>; 2],
    /// Records without label by the number of delays that they have outlived.
    waiting: Vec<f64>,
}

/// What fits a triangle best.
#[derive(Debug, Clone)]
pub(super) struct Fit {
    /// Share of outcome 1 in each block.
    shares: Vec<f64>,
    /// By outcome: the probability of each delay, and last of a longer one than any that occurs.
    laws: [Vec<f64>; 2],
    window: usize,
    /// Records of the window.
    pub(super) records: f64,
}

impl Triangle {
    /// Blocks of `length` cells, one of which begins at cell `start`. A block counts half for every `half_life` cells
    /// that lie between it and the window. None if the window is empty.
    pub(super) fn new(cohorts: &[Seen<'_>], start: i64, length: i64, half_life: f64) -> Option<Self> {
        let mut delays: Vec<u32> =
            cohorts.iter().flat_map(|cohort| cohort.arrivals().map(|(cell, _)| cell)).collect();
        delays.sort_unstable();
        delays.dedup();
        let mut blocks: BTreeMap<i64, Block> = BTreeMap::new();
        for cohort in cohorts {
            let number = cohort.index.saturating_sub(start).div_euclid(length);
            let block = blocks.entry(number).or_insert_with(|| Block {
                weight: 0.5f64.powf((number as f64 * length as f64).abs() / half_life),
                arrivals: [vec![0.0; delays.len()], vec![0.0; delays.len()]],
                waiting: vec![0.0; delays.len() + 1],
            });
            for (cell, counts) in cohort.arrivals() {
                let position = delays.partition_point(|delay| *delay < cell);
                for (column, count) in block.arrivals.iter_mut().zip(counts) {
                    column[position] += count as f64;
                }
            }
            block.waiting[delays.partition_point(|delay| *delay <= cohort.age)] += cohort.waiting() as f64;
        }
        let window = blocks.range(..0).count();
        blocks.contains_key(&0).then(|| Self { delays, blocks: blocks.into_values().collect(), window })
    }

    /// The same with each count replaced by a Poisson number of that mean.
    pub(super) fn resampled(&self, random: &mut Random) -> Self {
        let mut copy = self.clone();
        for block in &mut copy.blocks {
            for count in block.arrivals.iter_mut().flatten().chain(&mut block.waiting) {
                *count = if *count > 0.0 { random.poisson(*count) } else { 0.0 };
            }
        }
        copy
    }

    /// Maximum likelihood by expectation and maximisation: each block `b` has its own share `p_b`, delays have one law
    /// `g_c` for each outcome, kept free of any form. A record that still waits at an age belongs to outcome 1 with
    /// probability `p_b S_1 / (p_b S_1 + (1 - p_b) S_0)`, `S_c = P(delay > age | c)`, and its label comes later as `g_c`
    /// says. Blocks enter `g` by their weights.
    pub(super) fn fit(&self) -> Fit {
        let support = self.delays.len() + 1;
        let law = vec![1.0 / support as f64; support];
        let shares = vec![0.5; self.blocks.len()];
        self.fit_from(Fit { shares, laws: [law.clone(), law], window: self.window, records: 0.0 })
    }

    /// The same, begun from a fit of similar counts.
    pub(super) fn fit_from(&self, mut fit: Fit) -> Fit {
        let support = self.delays.len() + 1;
        // Weighted labels by outcome and delay: what is known of `g`.
        let mut known = [vec![0.0; support], vec![0.0; support]];
        for block in &self.blocks {
            for (sums, arrivals) in known.iter_mut().zip(&block.arrivals) {
                sums.iter_mut().zip(arrivals).for_each(|(sum, count)| *sum += block.weight * count);
            }
        }
        // An outcome that never occurs has no share.
        let occurs = known.each_ref().map(|sums| sums.iter().any(|count| *count > 0.0));
        match occurs {
            [true, false] => fit.shares.fill(0.0),
            [false, true] => fit.shares.fill(1.0),
            _ => {}
        }
        for _ in 0..MOST_ROUNDS {
            if self.round(&known, &mut fit.shares, &mut fit.laws) < SETTLED {
                break;
            }
        }
        fit.records = self.blocks.get(self.window).map_or(0.0, Block::records);
        fit
    }

    /// One round; returns by how much a share moved at most.
    fn round(&self, known: &[Vec<f64>; 2], shares: &mut [f64], laws: &mut [Vec<f64>; 2]) -> f64 {
        let mut moved = 0.0;
        // P(delay beyond the first k | outcome), for k from 0.
        let beyond = laws.each_ref().map(|law| {
            let mut tail = 0.0;
            let mut tails: Vec<f64> = law
                .iter()
                .rev()
                .map(|mass| {
                    tail += mass;
                    tail
                })
                .collect();
            tails.reverse();
            tails
        });
        // Waiting records by outcome, over their chance to be still waiting, by the delays they have outlived.
        let mut spread = laws.each_ref().map(|law| vec![0.0; law.len()]);
        for (block, share) in self.blocks.iter().zip(shares) {
            let [mut negatives, mut positives]: [f64; 2] =
                block.arrivals.each_ref().map(|arrivals| arrivals.iter().sum());
            for (age, &count) in block.waiting.iter().enumerate().filter(|(_, count)| **count > 0.0) {
                let likelihoods = [(1.0 - *share) * beyond[0][age], *share * beyond[1][age]];
                let total = likelihoods[0] + likelihoods[1];
                // No delay is known to be that long: such a record says nothing of its outcome.
                let odds = if total > 0.0 { likelihoods[1] / total } else { *share };
                let expected = [count * (1.0 - odds), count * odds];
                negatives += expected[0];
                positives += expected[1];
                for outcome in [0, 1] {
                    if beyond[outcome][age] > 0.0 {
                        spread[outcome][age] += block.weight * expected[outcome] / beyond[outcome][age];
                    }
                }
            }
            if negatives + positives > 0.0 {
                let fitted = positives / (negatives + positives);
                moved = f64::max(moved, (fitted - *share).abs());
                *share = fitted;
            }
        }
        for ((law, known), spread) in laws.iter_mut().zip(known).zip(&spread) {
            let mut reached = 0.0;
            for ((mass, known), spread) in law.iter_mut().zip(known).zip(spread) {
                reached += spread;
                *mass = known + *mass * reached;
            }
            let total: f64 = law.iter().sum();
            if total > 0.0 {
                law.iter_mut().for_each(|mass| *mass /= total);
            }
        }
        moved
    }
}

impl Block {
    fn records(&self) -> f64 {
        self.arrivals.iter().flatten().chain(&self.waiting).sum()
    }
}

impl Fit {
    /// Share of outcome 1 among the records of the window.
    pub(super) fn share(&self) -> f64 {
        self.shares.get(self.window).copied().unwrap_or(0.5)
    }

    /// By outcome: the probability that a label has arrived by each of the delays.
    pub(super) fn arrived(&self) -> [Vec<f64>; 2] {
        self.laws.each_ref().map(|law| {
            let mut sum = 0.0;
            let delays = law.iter().take(law.len().saturating_sub(1));
            delays
                .map(|mass| {
                    sum += mass;
                    f64::min(sum, 1.0)
                })
                .collect()
        })
    }

    /// Share of the window's labels whose delay is longer than any that was seen.
    pub(super) fn unseen(&self) -> f64 {
        let [negative, positive] = self.laws.each_ref().map(|law| law.last().copied().unwrap_or(0.0));
        (1.0 - self.share()) * negative + self.share() * positive
    }
}
