//! Simulated rollouts of two hours: 600 requests a minute, a tenth of them to the candidate, one look a minute.

use steersman_stats::random::Random;

pub(crate) const MINUTES: usize = 120;
pub(crate) const REQUESTS: u64 = 600;
pub(crate) const WEIGHT: f64 = 0.1;
const BASE: f64 = 0.01;

/// One minute: requests and errors of champion and candidate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Minute {
    pub(crate) requests: [u64; 2],
    pub(crate) errors: [u64; 2],
}

/// How the base rate of errors moves.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Base {
    /// 1 % all the time.
    Steady,
    /// Once up and down around 1 %.
    Diurnal,
    /// From 0.5 % to 2 %.
    Climbing,
}

impl Base {
    fn at(self, minute: usize) -> f64 {
        let share = minute as f64 / MINUTES as f64;
        match self {
            Self::Steady => BASE,
            Self::Diurnal => BASE * (1.0 + 0.8 * (std::f64::consts::TAU * share).sin()),
            Self::Climbing => 0.005 + 0.015 * share,
        }
    }
}

/// The minutes of a rollout whose candidate has `ratio` times the champion's errors.
pub(crate) fn minutes(random: &mut Random, base: Base, ratio: f64) -> Vec<(f64, Minute)> {
    let steps = [0.05, 0.1, 0.25, 0.5];
    let minute = |at: usize| {
        let weight = if base == Base::Climbing { steps[at * steps.len() / MINUTES] } else { WEIGHT };
        let candidate = random.binomial(REQUESTS, weight);
        let champion = REQUESTS - candidate;
        let rate = base.at(at);
        let errors = [random.binomial(champion, rate), random.binomial(candidate, rate * ratio)];
        (weight, Minute { requests: [champion, candidate], errors })
    };
    (0..MINUTES).map(minute).collect()
}

/// In which share of the runs something was found, and when (median of those).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) share: f64,
    pub(crate) median: Option<usize>,
}

/// Runs of one kind, each with a seed of its own.
pub(crate) fn simulate(runs: u64, mut run: impl FnMut(&mut Random) -> Option<usize>) -> Found {
    let mut found: Vec<usize> = (0..runs)
        .filter_map(|seed| run(&mut Random::new(seed.wrapping_mul(0xd134_2543_de82_ef95))))
        .collect();
    found.sort_unstable();
    Found { share: found.len() as f64 / runs as f64, median: found.get(found.len() / 2).copied() }
}
