//! What else can go wrong, and how the judge takes it.

use super::day::{Base, Found, MINUTES, REQUESTS, WEIGHT, minutes, simulate};
use super::rules::{judge, judged, plan, z_test};
use jiff::Timestamp;
use steersman_decide::Judge;
use steersman_decide::judge::{Panel, Standard};
use steersman_domain::fact::VerdictOutcome;
use steersman_domain::record::Arm;
use steersman_domain::{ModelSpec, Record};
use steersman_stats::random::Random;
use steersman_stats::sequential::{ArmEvents, ArmTest};

/// Stages of 5, 10, 25 and 50 % while the base rate climbs fourfold: pooled rates compare early champions with late
/// candidates (Simpson).
pub(crate) fn climbing(runs: u64, ratio: f64) -> [Found; 2] {
    let run = |random: &mut Random| minutes(random, Base::Climbing, ratio);
    [simulate(runs, |random| z_test(&run(random))), simulate(runs, |random| judged(&run(random)))]
}

/// Users who fail ten times each, judged by request and by user.
pub(crate) fn clustered(runs: u64, by_user: bool) -> Found {
    let spec = ModelSpec::parse(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={column='y'}\n[data]\nreference='r'\ntime='t'\n",
    )
    .unwrap();
    let plan = plan(1.0);
    simulate(runs, |random| {
        let mut judge = Judge::new(&spec, &plan);
        let (mut users, mut requests) = (0u64, 0u64);
        (1..=MINUTES).find(|_| {
            let failing = random.poisson(REQUESTS as f64 * 0.01 / 10.0) as u64;
            for _ in 0..failing {
                users += 1;
                let candidate = random.uniform() < WEIGHT;
                for _ in 0..10 {
                    requests += 1;
                    judge.record(&Record {
                        id: format!("r{requests}").parse().unwrap(),
                        time: Timestamp::UNIX_EPOCH,
                        version: None,
                        arm: Some(if candidate { Arm::Candidate } else { Arm::Champion }),
                        weight: Some(WEIGHT),
                        unit: Some(if by_user { users } else { requests }),
                        features: Default::default(),
                        outputs: Default::default(),
                        latency_ms: None,
                        status: Some(500),
                    });
                }
            }
            // Only what failed is shown to this judge, so the split is not as it was told: the evidence alone is asked.
            judge.panel().weigh(Standard::default()).harm >= judge.panel().conclusive()
        })
    })
}

/// Five requests a minute, a fifth of them to the candidate, 2 % or 20 % errors.
pub(crate) fn tiny(runs: u64, candidate_rate: f64) -> Found {
    let plan = plan(1.0);
    simulate(runs, |random| {
        let mut panel = Panel::new(&plan);
        (1..=MINUTES).find(|_| {
            let candidate = random.binomial(5, 0.2);
            let errors = [random.binomial(5 - candidate, 0.02), random.binomial(candidate, candidate_rate)];
            panel.evidence_mut()[0].add_events(0.2, errors[0], errors[1]);
            panel.weigh(Standard::default()).outcome == VerdictOutcome::Fail
        })
    })
}

/// Proof that there are less than twice the champion's errors, when there are as many.
pub(crate) fn proof(runs: u64, weight: f64) -> Found {
    let mut plan = plan(1.0);
    plan.margin = 2.0;
    simulate(runs, |random| {
        let day: Vec<_> = (0..MINUTES)
            .map(|_| {
                let candidate = random.binomial(REQUESTS, weight);
                let champion = REQUESTS - candidate;
                let errors = [random.binomial(champion, 0.01), random.binomial(candidate, 0.01)];
                (weight, super::day::Minute { requests: [champion, candidate], errors })
            })
            .collect();
        judge(&day, &plan, VerdictOutcome::Pass)
    })
}

/// A tenth of the candidate's records is lost on the way: the split is not believed. At the level 0.01.
pub(crate) fn lost_records(runs: u64, lost: f64) -> Found {
    let test = ArmTest::split().at_weights([WEIGHT]);
    simulate(runs, |random| {
        let mut requests = ArmEvents::default();
        (1..=MINUTES).find(|_| {
            let candidate = random.binomial(REQUESTS, WEIGHT);
            let seen = random.binomial(candidate, 1.0 - lost);
            requests.add(WEIGHT, REQUESTS - candidate, seen);
            test.log_e(&requests) >= 100f64.ln()
        })
    })
}

/// Accuracy 92 against 90 % on the same items (3 % only the candidate has wrong, 1 % only the champion), one look an item;
/// how many items it takes.
pub(crate) fn paired(runs: u64) -> Found {
    let test = ArmTest::harm(1.0).at_weights([0.5]);
    simulate(runs, |random| {
        let mut events = ArmEvents::default();
        (1..=20_000).find(|_| {
            let draw = random.uniform();
            if draw < 0.04 {
                events.observe(draw < 0.03, 0.5);
            }
            draw < 0.04 && test.log_e(&events) >= 20f64.ln()
        })
    })
}
