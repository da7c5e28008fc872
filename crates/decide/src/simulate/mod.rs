//! Rollouts simulated on one's own traffic, through the judge and the rule that production goes by.
//!
//! Sums are drawn, not requests: between two looks of the judge come a Poisson number of requests, of which binomial numbers
//! go to the candidate, fail, are slow or turn out wrong once their labels come. Looks lie closer together at the begin of
//! a stage (3 % of the time in it, at least a second apart), so a rollout of weeks takes some hundreds of them.
//!
//! A prediction is right or wrong here, and losses are 0 and 1: real losses vary less, so performance is decided somewhat
//! sooner than said. Bad events of one kind come independently of those of others, each of a caller of its own.
//!
//! - [`Simulator`]: one strategy on one traffic; [`Simulator::run`] is one rollout, [`Simulator::outcome`] many.
//! - [`Sizes`]: which candidates it is tried with.
//! - [`summarise`]: what many rollouts amount to.

mod ending;
mod sizes;
mod traffic;

pub use ending::{Ending, How, summarise};
pub use sizes::Sizes;
pub use traffic::steady;

use crate::judge::{Panel, Standard};
use crate::rollout::{Move, Standing};
use std::collections::VecDeque;
use steersman_domain::Period;
use steersman_domain::fact::{RolloutPlan, VerdictOutcome};
use steersman_domain::simulation::{SimulatedOutcome, SimulatedStrategy, SimulatedTraffic};
use steersman_domain::spec::{Guardrail, ModelSpec, OnHold};
use steersman_stats::random::Random;
use traffic::Flow;

/// Time between two looks, as a share of the time in a stage,
const LOOK: f64 = 0.03;
/// and at least so many seconds.
const SHORTEST_LOOK: f64 = 1.0;
/// Whatever was not decided by then never will be.
const LONGEST: f64 = 2.0 * 366.0 * 86_400.0;

/// How a candidate differs from the champion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// In which guardrail; none for no difference.
    pub guardrail: Option<Guardrail>,
    /// How many times the champion's bad events it has.
    pub ratio: f64,
}

impl Change {
    /// As good as the champion.
    pub const NONE: Self = Self { guardrail: None, ratio: 1.0 };

    fn of(&self, guardrail: Guardrail) -> f64 {
        if self.guardrail == Some(guardrail) { self.ratio } else { 1.0 }
    }
}

/// One strategy on one traffic.
#[derive(Debug, Clone)]
pub struct Simulator {
    plan: RolloutPlan,
    panel: Panel,
    timeout: Period,
    on_hold: OnHold,
    label_delay: f64,
    traffic: SimulatedTraffic,
    flow: Flow,
}

/// Requests between two looks, until their labels have come.
#[derive(Debug, Clone, Copy)]
struct Batch {
    end: f64,
    weight: f64,
    champion: u64,
    candidate: u64,
    pairs: u64,
    /// Labels that have come, and whether they are due.
    came: u64,
    due: bool,
}

/// A rollout under way.
struct Course<'a> {
    with: &'a Simulator,
    random: Random,
    change: Change,
    panel: Panel,
    /// When the rollout begins within the season.
    offset: f64,
    now: f64,
    exposed: u64,
    batches: VecDeque<Batch>,
    /// How many batches were let go, and the next one for each part of the labels.
    gone: usize,
    next: Vec<usize>,
    next_due: usize,
    due: u64,
    came: u64,
    /// What the champion showed: bad events and trials, by guardrail.
    shown: Vec<(Guardrail, u64, u64)>,
}

impl Simulator {
    /// Simulates a plan as this spec has it.
    pub fn new(spec: &ModelSpec, plan: &RolloutPlan, traffic: &SimulatedTraffic) -> Self {
        // Nothing is known about means and segments.
        let plan = RolloutPlan { means: Vec::new(), segments: Vec::new(), ..plan.clone() };
        Self {
            panel: Panel::new(&plan),
            timeout: spec.rollout.stage_timeout,
            on_hold: spec.rollout.on_hold,
            label_delay: spec.model.label.expected_delay.seconds() as f64,
            flow: Flow::new(traffic),
            traffic: traffic.clone(),
            plan,
        }
    }

    /// One rollout.
    pub fn run(&self, change: Change, seed: u64) -> Ending {
        let mut random = Random::new(seed.wrapping_mul(0xd134_2543_de82_ef95));
        let offset = random.uniform() * self.flow.season();
        let course = Course {
            with: self,
            random,
            change,
            panel: self.panel.clone(),
            offset,
            now: 0.0,
            exposed: 0,
            batches: VecDeque::new(),
            gone: 0,
            next: vec![0; self.traffic.label_delays.len()],
            next_due: 0,
            due: 0,
            came: 0,
            shown: Vec::new(),
        };
        course.run()
    }

    /// So many rollouts of candidates of one kind, and what they amount to.
    pub fn outcome(&self, change: Change, rollouts: u64, seed: u64) -> SimulatedOutcome {
        let own = |number: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number);
        let endings: Vec<Ending> = (0..rollouts).map(|number| self.run(change, own(number))).collect();
        summarise(change, &endings)
    }

    /// The strategy in words, with these outcomes.
    pub fn strategy(&self, name: &str, outcomes: Vec<SimulatedOutcome>) -> SimulatedStrategy {
        SimulatedStrategy {
            name: name.to_owned(),
            strategy: self.plan.strategy,
            stages: self.plan.stages.iter().map(ToString::to_string).collect(),
            outcomes,
        }
    }

    fn rate(&self, guardrail: Guardrail) -> f64 {
        match guardrail {
            Guardrail::Errors => self.traffic.errors,
            Guardrail::Timeouts => self.traffic.timeouts,
            Guardrail::LatencyP99 => self.traffic.slow,
            Guardrail::Performance => self.traffic.wrong,
            Guardrail::Mean => 0.0,
        }
    }
}

impl Course<'_> {
    fn run(mut self) -> Ending {
        let with = self.with;
        let stages = &with.plan.stages;
        for (place, stage) in stages.iter().enumerate().take(stages.len().saturating_sub(1)) {
            let entered = self.now;
            loop {
                self.pass(entered, stage.weight(), stage.mirror(), false);
                if with.plan.budget.is_some_and(|budget| self.exposed >= budget) {
                    self.exposed = self.exposed.min(with.plan.budget.unwrap_or(u64::MAX));
                    return self.end(How::Withdrawn);
                }
                let since = ((self.now - entered) * 1e6) as i64;
                let standing = Standing {
                    stage: *stage,
                    last: place + 2 >= stages.len(),
                    since,
                    patience: since,
                    timeout: with.timeout,
                    on_hold: with.on_hold,
                };
                let mature = self.due > 0 && self.came as f64 >= with.plan.maturity * self.due as f64;
                let standard = Standard { early: stage.early(), mature, estimated_safe: false };
                match standing.next(self.panel.weigh(standard).outcome) {
                    Move::Stay if self.now < LONGEST => {}
                    Move::Advance | Move::Promote => break,
                    Move::RollBack => return self.end(How::RolledBack),
                    Move::GiveUp => return self.end(How::Withdrawn),
                    Move::Ask | Move::Stay => return self.end(How::Asked),
                }
            }
        }
        self.guard()
    }

    fn end(&self, how: How) -> Ending {
        Ending { how, after: self.now, exposed: self.exposed }
    }

    /// The time after the promotion.
    fn guard(mut self) -> Ending {
        let with = self.with;
        let promoted = self.end(How::Promoted);
        let Some(guard) = with.plan.guard else { return promoted };
        let shown = &self.shown;
        self.panel = Panel::guarding(&with.plan, |guardrail| {
            shown.iter().find(|of| of.0 == guardrail).map(|&(_, events, trials)| (events, trials))
        });
        let mirror = with.plan.stages.iter().any(|stage| stage.mirror());
        let entered = self.now;
        while self.now < entered + guard.seconds() as f64 {
            self.pass(entered, 1.0, mirror, true);
            if self.panel.weigh(Standard::default()).outcome == VerdictOutcome::Fail {
                return self.end(How::Reverted);
            }
        }
        promoted
    }

    /// Time goes on to the next look.
    fn pass(&mut self, entered: f64, weight: f64, mirror: bool, guarding: bool) {
        let length = ((self.now - entered) * LOOK).max(SHORTEST_LOOK);
        let from = self.offset + self.now;
        let requests = self.random.poisson(self.with.flow.between(from, from + length)) as u64;
        self.now += length;
        let candidate = self.random.successes(requests, weight);
        let champion = requests - candidate;
        let pairs = if mirror { requests } else { 0 };
        self.exposed += candidate;
        if !guarding {
            self.panel.add_requests(weight, champion, candidate);
        }
        let batch = Batch { end: self.now, weight, champion, candidate, pairs, came: 0, due: false };
        for place in 0..self.panel.evidence().len() {
            self.calls(place, &batch, guarding);
        }
        if requests > 0 && self.with.plan.guardrails.contains(&Guardrail::Performance) {
            self.batches.push_back(batch);
        }
        self.labels(guarding);
    }

    /// Bad calls of a batch.
    fn calls(&mut self, place: usize, batch: &Batch, guarding: bool) {
        let guardrail = self.panel.evidence()[place].guardrail;
        if guardrail == Guardrail::Performance {
            return;
        }
        let rate = self.with.rate(guardrail);
        let candidate_rate = (rate * self.change.of(guardrail)).min(1.0);
        let champion = self.random.successes(batch.champion, rate);
        let candidate = self.random.successes(batch.candidate, candidate_rate);
        self.show(guardrail, champion, batch.champion);
        let copied = self.random.successes(batch.pairs, if guarding { rate } else { candidate_rate });
        let evidence = &mut self.panel.evidence_mut()[place];
        evidence.add_events(batch.weight, champion, candidate);
        evidence.add_level(batch.candidate, candidate);
        if batch.pairs == 0 {
            return;
        }
        // Of each pair one answered the caller and one the copy: which of them failed alone?
        let served = champion + candidate;
        let both = self.random.successes(copied, served as f64 / batch.pairs as f64);
        let (served_alone, copy_alone) = (served - both.min(served), copied - both);
        let evidence = &mut self.panel.evidence_mut()[place];
        match guarding {
            true => evidence.add_events(0.5, copy_alone, served_alone),
            false => {
                evidence.add_events(0.5, served_alone, copy_alone);
                evidence.add_level(batch.pairs, copied);
            }
        }
    }

    fn show(&mut self, guardrail: Guardrail, events: u64, trials: u64) {
        match self.shown.iter_mut().find(|of| of.0 == guardrail) {
            Some(of) => {
                of.1 += events;
                of.2 += trials;
            }
            None => self.shown.push((guardrail, events, trials)),
        }
    }

    /// Labels that have come by now.
    fn labels(&mut self, guarding: bool) {
        let with = self.with;
        let part = with.traffic.labelled / with.traffic.label_delays.len().max(1) as f64;
        for (slot, delay) in with.traffic.label_delays.iter().enumerate() {
            while let Some(batch) = self.batch(self.next[slot]).filter(|batch| batch.end + delay <= self.now)
            {
                let at = self.next[slot];
                self.next[slot] += 1;
                let came = self.label(&batch, part, guarding);
                if let Some(batch) = self.batches.get_mut(at - self.gone) {
                    batch.came += came;
                    if batch.due {
                        self.came += came;
                    }
                }
            }
        }
        while let Some(batch) =
            self.batch(self.next_due).filter(|batch| batch.end + with.label_delay <= self.now)
        {
            self.due += batch.champion + batch.candidate;
            self.came += batch.came;
            if let Some(batch) = self.batches.get_mut(self.next_due - self.gone) {
                batch.due = true;
            }
            self.next_due += 1;
        }
        let done = self.next.iter().copied().chain([self.next_due]).min().unwrap_or(0);
        while self.gone < done {
            self.batches.pop_front();
            self.gone += 1;
        }
    }

    fn batch(&self, at: usize) -> Option<Batch> {
        self.batches.get(at.checked_sub(self.gone)?).copied()
    }

    /// A part of the labels of a batch; returns how many there are.
    fn label(&mut self, batch: &Batch, part: f64, guarding: bool) -> u64 {
        // What was asked before the promotion says nothing about the time after it.
        if guarding && batch.weight < 1.0 {
            return 0;
        }
        let ratio = self.change.of(Guardrail::Performance);
        let wrong = self.with.traffic.wrong;
        let Some(place) = self.panel.evidence().iter().position(|of| of.guardrail == Guardrail::Performance)
        else {
            return 0;
        };
        let champion = self.random.successes(batch.champion, part);
        let candidate = self.random.successes(batch.candidate, part);
        let champion_wrong = self.random.successes(champion, wrong);
        let candidate_wrong = self.random.successes(candidate, (wrong * ratio).min(1.0));
        self.show(Guardrail::Performance, champion_wrong, champion);
        let evidence = &mut self.panel.evidence_mut()[place];
        evidence.add_events(batch.weight, champion_wrong, candidate_wrong);
        if guarding {
            evidence.add_level(candidate, candidate_wrong);
        }
        let pairs = if batch.pairs > 0 { champion + candidate } else { 0 };
        if pairs > 0 {
            // On some requests two good versions differ, each as often wrong; a worse one is wrong beyond that.
            let half = 0.5 * self.with.traffic.differ.min(1.0);
            let more = wrong * (ratio - 1.0);
            let candidate_alone = (half + more.max(0.0)).min(1.0);
            let champion_alone = (half + (-more).max(0.0)).min(1.0 - candidate_alone);
            let both = (wrong - champion_alone).clamp(0.0, 1.0 - candidate_alone - champion_alone);
            let first = self.random.successes(pairs, candidate_alone);
            let second =
                self.random.successes(pairs - first, champion_alone / (1.0 - candidate_alone).max(1e-12));
            let rest = pairs - first - second;
            let share = both / (1.0 - candidate_alone - champion_alone).max(1e-12);
            let third = self.random.successes(rest, share.min(1.0));
            let losses = [(0.0, 1.0, first), (1.0, 0.0, second), (1.0, 1.0, third), (0.0, 0.0, rest - third)];
            self.panel.evidence_mut()[place].add_losses(&losses);
        }
        champion + candidate
    }
}
