//! Rules that decide on a rollout: those of other tools, and the judge's.

use super::day::{MINUTES, Minute};
use steersman_decide::judge::{Panel, Standard};
use steersman_domain::fact::{RolloutPlan, VerdictOutcome};
use steersman_domain::spec::{ModelSpec, Strategy};
use steersman_stats::sequential::asymptotic_radius;

/// The minute after which a rule rolls back.
pub(crate) type Rule = fn(&[(f64, Minute)]) -> Option<usize>;

/// Rolls back at the n-th time that the candidate's errors of five minutes were above 2 % (the default of Argo Rollouts is
/// the first time; failures are counted in total).
fn threshold(minutes: &[(f64, Minute)], failures: usize) -> Option<usize> {
    let looks = minutes.chunks(5).enumerate().take(MINUTES / 5 - 1).filter(|(_, window)| {
        let sum = |of: fn(&Minute) -> u64| window.iter().map(|(_, minute)| of(minute)).sum::<u64>() as f64;
        sum(|minute| minute.errors[1]) > 0.02 * sum(|minute| minute.requests[1])
    });
    looks.map(|(look, _)| 5 * (look + 1)).nth(failures - 1)
}

pub(crate) fn first_failure(minutes: &[(f64, Minute)]) -> Option<usize> {
    threshold(minutes, 1)
}

pub(crate) fn third_failure(minutes: &[(f64, Minute)]) -> Option<usize> {
    threshold(minutes, 3)
}

/// Sums up to each minute: requests and errors of both arms.
fn running(minutes: &[(f64, Minute)]) -> impl Iterator<Item = (usize, [f64; 2], [f64; 2])> {
    let (mut requests, mut errors) = ([0.0; 2], [0.0; 2]);
    minutes.iter().enumerate().map(move |(at, (_, minute))| {
        for arm in 0..2 {
            requests[arm] += minute.requests[arm] as f64;
            errors[arm] += minute.errors[arm] as f64;
        }
        (at + 1, requests, errors)
    })
}

/// A one-sided z-test of two shares at 5 %, looked at each minute.
pub(crate) fn z_test(minutes: &[(f64, Minute)]) -> Option<usize> {
    running(minutes).find_map(|(at, requests, errors)| {
        let pooled = (errors[0] + errors[1]) / (requests[0] + requests[1]);
        let error = (pooled * (1.0 - pooled) * (1.0 / requests[0] + 1.0 / requests[1])).sqrt();
        let z = (errors[1] / requests[1] - errors[0] / requests[0]) / error;
        (z > 1.644_853_6).then_some(at)
    })
}

/// Kayenta's judge on error rates by minute, each 15 minutes on all so far: high if the lower end of the 98 % interval of
/// the shift (Mann and Whitney) is above a quarter of its estimate (Hodges and Lehmann).
pub(crate) fn mann_whitney(minutes: &[(f64, Minute)]) -> Option<usize> {
    let rates = |until: usize, arm: usize| -> Vec<f64> {
        let rate =
            |(_, minute): &(f64, Minute)| minute.errors[arm] as f64 / minute.requests[arm].max(1) as f64;
        minutes[..until].iter().map(rate).collect()
    };
    (1..=MINUTES / 15).map(|look| 15 * look).find(|&until| {
        let (champion, candidate) = (rates(until, 0), rates(until, 1));
        let mut shifts: Vec<f64> =
            candidate.iter().flat_map(|own| champion.iter().map(move |other| own - other)).collect();
        shifts.sort_by(f64::total_cmp);
        let (m, n) = (candidate.len() as f64, champion.len() as f64);
        let lowest = m * n / 2.0 - 2.326_347_9 * (m * n * (m + n + 1.0) / 12.0).sqrt();
        let low = if lowest >= 1.0 { shifts[lowest as usize] } else { f64::NEG_INFINITY };
        let middle = shifts[shifts.len() / 2];
        low > 0.25 * middle.abs()
    })
}

/// The asymptotic confidence sequence of the weighted difference of rates.
pub(crate) fn asymptotic(minutes: &[(f64, Minute)]) -> Option<usize> {
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    minutes.iter().enumerate().find_map(|(at, (weight, minute))| {
        let (up, down) = (1.0 / weight, 1.0 / (1.0 - weight));
        sum += up * minute.errors[1] as f64 - down * minute.errors[0] as f64;
        squares += up * up * minute.errors[1] as f64 + down * down * minute.errors[0] as f64;
        count += (minute.requests[0] + minute.requests[1]) as f64;
        let mean = sum / count;
        let radius = asymptotic_radius(count, squares / count - mean * mean, 0.05, 10_000.0);
        (mean > radius).then_some(at + 1)
    })
}

/// A plan whose only guardrail are errors.
pub(crate) fn plan(harm: f64) -> RolloutPlan {
    let spec = ModelSpec::parse(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={column='y'}\n[data]\nreference='r'\ntime='t'\n\
         [rollout]\nstages=['5%','10%','25%','50%','100%']\nguardrails=['errors']\n",
    )
    .unwrap();
    let mut plan = steersman_decide::rollout::plan(&spec, (None, None), false);
    (plan.harm, plan.strategy) = (harm, Strategy::Canary);
    plan
}

/// The judge, asked each minute, until it says this.
pub(crate) fn judge(minutes: &[(f64, Minute)], plan: &RolloutPlan, wanted: VerdictOutcome) -> Option<usize> {
    let mut panel = Panel::new(plan);
    minutes.iter().enumerate().find_map(|(at, (weight, minute))| {
        let errors = panel.evidence_mut().first_mut()?;
        errors.add_events(*weight, minute.errors[0], minute.errors[1]);
        panel.add_requests(*weight, minute.requests[0], minute.requests[1]);
        (panel.weigh(Standard::default()).outcome == wanted).then_some(at + 1)
    })
}

pub(crate) fn judged(minutes: &[(f64, Minute)]) -> Option<usize> {
    judge(minutes, &plan(1.0), VerdictOutcome::Fail)
}

pub(crate) fn judged_beyond_a_quarter(minutes: &[(f64, Minute)]) -> Option<usize> {
    judge(minutes, &plan(1.25), VerdictOutcome::Fail)
}

pub(crate) const RULES: [(&str, Rule); 7] = [
    ("threshold 2 % in 5 min, first failure (Argo's default)", first_failure),
    ("the same, third failure", third_failure),
    ("one-sided z-test at 0.05, looked at each minute", z_test),
    ("Mann-Whitney on minute rates, each 15 min (Kayenta)", mann_whitney),
    ("asymptotic confidence sequence", asymptotic),
    ("**the judge**, `harm = 1.0`, `alpha = 0.05`", judged),
    ("**the judge**, `harm = 1.25`", judged_beyond_a_quarter),
];
