//! How simulated rollouts end, and what many of them amount to.

use super::Change;
use steersman_domain::simulation::{SimulatedOutcome, Spread};

/// Points of a curve of decisions over time.
const POINTS: usize = 40;

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Harm was found before the candidate became champion.
    RolledBack,
    /// Harm was found while the old champion stood ready.
    Reverted,
    /// The candidate became champion and stayed.
    Promoted,
    /// There was no proof in time, or the budget was used up.
    Withdrawn,
    /// A person had to decide.
    Asked,
}

/// The end of a simulated rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ending {
    /// How it ended.
    pub how: How,
    /// After so many seconds.
    pub after: f64,
    /// Requests that the candidate answered until then.
    pub exposed: u64,
}

/// What rollouts of candidates of one kind amount to.
pub fn summarise(change: Change, endings: &[Ending]) -> SimulatedOutcome {
    let count = endings.len().max(1) as f64;
    let share = |how: How| endings.iter().filter(|ending| ending.how == how).count() as f64 / count;
    let times = |keep: fn(How) -> bool| -> Vec<f64> {
        let mut times: Vec<f64> =
            endings.iter().filter(|ending| keep(ending.how)).map(|ending| ending.after).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let mut exposed: Vec<f64> = endings.iter().map(|ending| ending.exposed as f64).collect();
    exposed.sort_by(f64::total_cmp);
    let decided = times(|how| matches!(how, How::RolledBack | How::Reverted | How::Promoted));
    let curve = (1..=POINTS).filter_map(|point| {
        let rank = (point * decided.len()).div_ceil(POINTS);
        Some((*decided.get(rank.checked_sub(1)?)?, rank as f64 / count))
    });
    SimulatedOutcome {
        guardrail: change.guardrail,
        ratio: change.ratio,
        rolled_back: share(How::RolledBack),
        reverted: share(How::Reverted),
        promoted: share(How::Promoted),
        withdrawn: share(How::Withdrawn),
        asked: share(How::Asked),
        found_after: spread(&times(|how| matches!(how, How::RolledBack | How::Reverted))),
        promoted_after: spread(&times(|how| how == How::Promoted)),
        exposed: spread(&exposed).unwrap_or(Spread { low: 0.0, median: 0.0, high: 0.0 }),
        exposed_mean: exposed.iter().sum::<f64>() / count,
        decided: curve.collect(),
    }
}

/// Where most of the sorted values lie.
fn spread(sorted: &[f64]) -> Option<Spread> {
    let at = |share: f64| sorted.get((share * sorted.len() as f64) as usize).copied();
    Some(Spread { low: at(0.1)?, median: at(0.5)?, high: at(0.9)? })
}
