//! The evidence on one guardrail: sums, and what follows from them.

use std::sync::Arc;
use steersman_domain::fact::{RolloutPlan, Sums, WeightCount};
use steersman_domain::spec::{Guardrail, MeanGuard, SegmentValue, Worse};
use steersman_stats::sequential::{
    ArmCount, ArmEvents, ArmTest, DifferenceProcess, MeanProcess, MeanSequence, RateProcess, mean_of_logs,
};

/// A candidate whose calls fail, or stay without an answer, less often than this is safe even where the champion never
/// fails.
pub const HARMLESS_ERROR_RATE: f64 = 0.01;
/// A candidate of whose calls fewer than this are slower than the champion's 99th percentile is safe: twice the
/// champion's share.
pub const HARMLESS_SLOW_RATE: f64 = 0.02;
/// The level of the intervals that are shown beside the evidence.
const SHOWN: f64 = 0.05;

/// The tests on which arm events come from.
#[derive(Debug)]
pub(super) struct ArmTests {
    harm: ArmTest,
    strict: ArmTest,
    early: ArmTest,
}

impl ArmTests {
    /// For the weights of a plan, and for pairs, which have weight 1/2.
    pub(super) fn new(plan: &RolloutPlan, must_win: bool) -> Arc<Self> {
        let mut weights: Vec<f64> = plan.stages.iter().map(|stage| stage.weight()).collect();
        weights.push(0.5);
        let ready = |test: ArmTest| test.at_weights(weights.iter().copied());
        let early_margin = plan.early_margin.unwrap_or(plan.margin).max(plan.margin);
        let safe = |margin| if must_win { ArmTest::better() } else { ArmTest::safety(margin) };
        Arc::new(Self {
            harm: ready(ArmTest::harm(plan.harm)),
            strict: ready(safe(plan.margin)),
            early: ready(safe(early_margin)),
        })
    }
}

/// A bet that the candidate is worse than allowed, and one that it is not.
#[derive(Debug, Clone)]
enum Bet {
    /// On the loss on the same request: against so many times the champion's.
    Losses { over: MeanProcess, over_times: f64, under: MeanProcess, under_times: f64 },
    /// On a number of the same request.
    Paired { over: MeanProcess, under: MeanProcess },
    /// On a number of different requests.
    Split { over: DifferenceProcess, under: DifferenceProcess },
    /// Won elsewhere.
    Won(f64, f64),
}

impl Bet {
    fn won(&self) -> (f64, f64) {
        match self {
            Self::Losses { over, under, .. } | Self::Paired { over, under } => (over.log_e(), under.log_e()),
            Self::Split { over, under } => (over.log_e(), under.log_e()),
            Self::Won(over, under) => (*over, *under),
        }
    }
}

/// What a level is held against.
#[derive(Debug, Clone)]
enum Level {
    /// Below it is harmless.
    Harmless(RateProcess),
    /// Above it is harmful.
    Harmful(RateProcess),
}

impl Level {
    fn process(&self) -> &RateProcess {
        match self {
            Self::Harmless(process) | Self::Harmful(process) => process,
        }
    }

    fn add(&mut self, count: u64, failures: u64) {
        match self {
            Self::Harmless(process) | Self::Harmful(process) => process.add(count, failures),
        }
    }
}

/// The evidence on one guardrail, of all requests or of a segment.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Which.
    pub guardrail: Guardrail,
    /// The segment or column; empty for all requests.
    pub subject: String,
    /// The segment by its place in the plan.
    pub segment: Option<usize>,
    /// Its share of alpha.
    pub share: f64,
    /// Whether a candidate must be proven safe in it.
    pub must_prove: bool,
    /// Bad events of champion and candidate.
    pub events: [u64; 2],
    /// What could have been bad.
    pub trials: [u64; 2],
    /// Pairs of answers to the same request.
    pub pairs: u64,
    arms: ArmEvents,
    tests: Option<Arc<ArmTests>>,
    level: Option<Level>,
    bets: Vec<Bet>,
    shown: Option<MeanSequence>,
    gaps: f64,
}

impl Evidence {
    fn new(guardrail: Guardrail, tests: Option<Arc<ArmTests>>) -> Self {
        Self {
            guardrail,
            subject: String::new(),
            segment: None,
            share: 1.0,
            must_prove: true,
            events: [0; 2],
            trials: [0; 2],
            pairs: 0,
            arms: ArmEvents::default(),
            tests,
            level: None,
            bets: Vec::new(),
            shown: None,
            gaps: 0.0,
        }
    }

    /// Of calls, which fail, stay without an answer or are slow.
    pub(super) fn of_calls(guardrail: Guardrail, tests: Arc<ArmTests>) -> Self {
        let limit = match guardrail {
            Guardrail::LatencyP99 => HARMLESS_SLOW_RATE,
            _ => HARMLESS_ERROR_RATE,
        };
        Self { level: Some(Level::Harmless(RateProcess::below(limit))), ..Self::new(guardrail, Some(tests)) }
    }

    /// Of predictions, which are wrong, and of losses on the same requests. A loss may be `harm` times the champion's
    /// before it counts as worse, and must be proven below `margin` times the champion's.
    pub(super) fn of_performance(tests: Arc<ArmTests>, harm: f64, margin: f64) -> Self {
        let losses = Bet::Losses {
            over: MeanProcess::above(0.0, -harm, 1.0),
            over_times: harm,
            under: MeanProcess::below(0.0, -margin, 1.0),
            under_times: margin,
        };
        let shown = Some(MeanSequence::new(SHOWN, -1.0, 1.0));
        Self { bets: vec![losses], shown, ..Self::new(Guardrail::Performance, Some(tests)) }
    }

    /// Of the mean of a number, which is worse the higher it is once [`Evidence::number`] has turned it.
    pub(super) fn of_mean(guard: &MeanGuard) -> Self {
        let (low, high) = guard.range;
        let (width, tolerance) = (high - low, guard.tolerance);
        let split = Bet::Split {
            over: DifferenceProcess::above(tolerance, low, high),
            under: DifferenceProcess::below(tolerance, low, high),
        };
        let paired = Bet::Paired {
            over: MeanProcess::above(tolerance, -width, width),
            under: MeanProcess::below(tolerance, -width, width),
        };
        let shown = Some(MeanSequence::new(SHOWN, -width, width));
        let subject = guard.column.clone();
        Self { bets: vec![split, paired], shown, subject, ..Self::new(Guardrail::Mean, None) }
    }

    /// Watches the candidate's own rate against what is harmful, instead of asking for proof of safety.
    pub(super) fn against(mut self, harmful_rate: Option<f64>) -> Self {
        self.must_prove = false;
        let rate = harmful_rate.filter(|rate| *rate > 0.0 && *rate < 0.5);
        self.level = rate.map(|rate| Level::Harmful(RateProcess::above(rate)));
        self
    }

    /// With this share of alpha.
    pub(super) fn sharing(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Of a segment alone, which guards and needs no proof of safety.
    pub(super) fn within(mut self, place: usize, segment: &SegmentValue) -> Self {
        self.subject = segment.to_string();
        self.segment = Some(place);
        self.must_prove = false;
        self
    }

    /// A number so turned that more is worse.
    pub(super) fn number(guard: &MeanGuard, value: f64) -> f64 {
        match guard.worse {
            Worse::Higher => value,
            Worse::Lower => guard.range.0 + guard.range.1 - value,
        }
    }

    /// Bad events among requests with this weight.
    pub fn add_events(&mut self, weight: f64, champion: u64, candidate: u64) {
        self.arms.add(weight, champion, candidate);
    }

    /// Trials of the candidate that are held against a level.
    pub fn add_level(&mut self, count: u64, failures: u64) {
        if let Some(level) = &mut self.level {
            level.add(count, failures);
        }
    }

    /// Losses of both on the same requests, in `[0, 1]`: champion's, candidate's, how often. One bet is laid on all.
    pub fn add_losses(&mut self, losses: &[(f64, f64, u64)]) {
        for bet in &mut self.bets {
            if let Bet::Losses { over, over_times, under, under_times } = bet {
                let against = |times: f64| -> Vec<(f64, u64)> {
                    losses.iter().map(|(champion, candidate, n)| (candidate - times * champion, *n)).collect()
                };
                over.observe_together(&against(*over_times));
                under.observe_together(&against(*under_times));
            }
        }
        for &(champion, candidate, times) in losses {
            self.pairs += times;
            self.gaps += times as f64 * (candidate - champion);
        }
    }

    /// A number of a request of one arm.
    pub(super) fn observe_number(&mut self, candidate: bool, weight: f64, value: f64) {
        for bet in &mut self.bets {
            if let Bet::Split { over, under } = bet {
                over.observe(candidate, weight, value);
                under.observe(candidate, weight, value);
            }
        }
    }

    /// The number of both on the same request.
    pub(super) fn observe_numbers(&mut self, champion: f64, candidate: f64) {
        for bet in &mut self.bets {
            if let Bet::Paired { over, under } = bet {
                over.observe(candidate - champion);
                under.observe(candidate - champion);
            }
        }
        self.pairs += 1;
        self.show(candidate - champion);
    }

    /// A difference that the shown interval is made from.
    pub(super) fn show(&mut self, difference: f64) {
        if let Some(shown) = &mut self.shown {
            shown.observe(difference);
        }
    }

    /// The mean difference of pairs, or else of the arms.
    pub(super) fn mean_difference(&self) -> Option<f64> {
        match self.guardrail {
            Guardrail::Performance => (self.pairs > 0).then(|| self.gaps / self.pairs as f64),
            _ => self.bets.iter().rev().find_map(|bet| match bet {
                Bet::Paired { over, .. } => (over.count() > 0).then(|| over.mean()),
                Bet::Split { over, .. } => (over.count() > 0).then(|| over.difference()),
                _ => None,
            }),
        }
    }

    /// The confidence sequence of the mean difference of pairs.
    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        self.shown.as_ref().filter(|shown| shown.count() > 0).map(MeanSequence::interval)
    }

    /// Evidence that the candidate is worse, and that it is not worse than allowed, as logarithms. The average of
    /// e-values is an e-value: all that speaks of this guardrail is averaged.
    pub fn weigh(&self, early: bool) -> (f64, f64) {
        let (mut harm, mut safety) = ([0.0; 4], [0.0; 4]);
        let (mut harms, mut safeties) = (0, 0);
        let mut put = |sides: (Option<f64>, Option<f64>)| {
            for (value, list, count) in
                [(sides.0, &mut harm, &mut harms), (sides.1, &mut safety, &mut safeties)]
            {
                if let (Some(value), Some(slot)) = (value, list.get_mut(*count)) {
                    *slot = value;
                    *count += 1;
                }
            }
        };
        if let Some(tests) = &self.tests {
            let proof = if early { &tests.early } else { &tests.strict };
            put((Some(tests.harm.log_e(&self.arms)), Some(proof.log_e(&self.arms))));
        }
        match &self.level {
            Some(Level::Harmless(process)) => put((None, Some(process.log_e()))),
            Some(Level::Harmful(process)) => put((Some(process.log_e()), None)),
            None => {}
        }
        for bet in &self.bets {
            let (over, under) = bet.won();
            put((Some(over), Some(under)));
        }
        (mean_of_logs(&harm[..harms]), mean_of_logs(&safety[..safeties]))
    }

    /// What the evidence is made from.
    pub(super) fn sums(&self) -> Sums {
        Sums {
            arms: weight_counts(&self.arms),
            level: self.level.as_ref().map(|level| level.process().counts()),
            bets: self.bets.iter().map(Bet::won).collect(),
        }
    }

    /// Takes the place of what was observed.
    pub(super) fn restore(&mut self, sums: &Sums) {
        self.arms = arm_events(&sums.arms);
        if let Some((count, failures)) = sums.level {
            self.add_level(count, failures);
        }
        self.bets = sums.bets.iter().map(|&(over, under)| Bet::Won(over, under)).collect();
    }
}

/// Counts as they stand in facts.
pub(super) fn weight_counts(events: &ArmEvents) -> Vec<WeightCount> {
    let count =
        |&ArmCount { weight, champion, candidate }: &ArmCount| WeightCount { weight, champion, candidate };
    events.counts().iter().map(count).collect()
}

/// Counts from facts.
pub(super) fn arm_events(counts: &[WeightCount]) -> ArmEvents {
    let count =
        |&WeightCount { weight, champion, candidate }: &WeightCount| ArmCount { weight, champion, candidate };
    counts.iter().map(count).collect()
}
