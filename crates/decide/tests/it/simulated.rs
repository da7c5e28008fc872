//! Simulated rollouts: they keep the promises of the judge, and say what a person needs to choose by.

use steersman_decide::rollout::plan;
use steersman_decide::simulate::{Change, Simulator, steady, summarise};
use steersman_domain::ModelSpec;
use steersman_domain::simulation::{SimulatedOutcome, SimulatedTraffic};
use steersman_domain::spec::Guardrail;

const RUNS: u64 = 400;

fn simulated(rollout: &str, traffic: &SimulatedTraffic, change: Change) -> SimulatedOutcome {
    let spec = ModelSpec::parse(&format!(
        "[model]\nname='m'\ntask='binary'\nprediction='p'\nlabel={{column='y', expected_delay='6h'}}\n\
         [data]\nreference='r'\ntime='t'\n[rollout]\n{rollout}\n"
    ))
    .unwrap();
    let simulator = Simulator::new(&spec, &plan(&spec, (None, None), false), traffic);
    let endings: Vec<_> = (0..RUNS).map(|seed| simulator.run(change, seed)).collect();
    summarise(change, &endings)
}

fn errors(ratio: f64) -> Change {
    Change { guardrail: Some(Guardrail::Errors), ratio }
}

fn wrong(ratio: f64) -> Change {
    Change { guardrail: Some(Guardrail::Performance), ratio }
}

const CANARY: &str = "stages=['5%','25%','100%']\nguardrails=['errors','timeouts','latency_p99']";

#[test]
fn false_rollbacks_keep_to_alpha_and_regressions_are_found_before_many_are_exposed() {
    let traffic = steady(864_000.0);
    let same = simulated(CANARY, &traffic, Change::NONE);
    // Alpha once for the rollout and once for the time after it.
    assert!(same.found() <= 0.1 && same.promoted >= 0.9, "{same:?}");
    let (twice, tenfold) =
        (simulated(CANARY, &traffic, errors(2.0)), simulated(CANARY, &traffic, errors(10.0)));
    assert!(twice.found() > 0.98 && tenfold.found() > 0.999, "{twice:?} {tenfold:?}");
    let after = |outcome: &SimulatedOutcome| outcome.found_after.unwrap().median;
    assert!(after(&tenfold) < 120.0 && after(&tenfold) * 5.0 < after(&twice), "{tenfold:?} {twice:?}");
    assert!(tenfold.exposed_mean < 100.0 && tenfold.exposed_mean < twice.exposed_mean);
    // The same seed, the same numbers.
    assert_eq!(simulated(CANARY, &traffic, errors(2.0)), twice);
}

#[test]
fn performance_waits_for_its_labels_and_the_shadow_exposes_nobody() {
    let mut traffic = steady(86_400.0);
    traffic.label_delays = vec![2.0 * 3_600.0, 4.0 * 3_600.0];
    let shadow = "strategy='shadow'\nstages=['shadow 1h','100%']\nguardrails=['performance']\nguard='off'";
    let (same, worse) = (simulated(shadow, &traffic, Change::NONE), simulated(shadow, &traffic, wrong(1.5)));
    assert!(same.promoted > 0.9 && worse.found() > 0.95, "{same:?} {worse:?}");
    // The first labels come after two hours; all that are due after six.
    assert!(worse.found_after.unwrap().low > 7_200.0 && same.promoted_after.unwrap().low > 21_600.0);
    assert_eq!((worse.exposed_mean, same.exposed_mean), (0.0, 0.0));
    let never = SimulatedTraffic { labelled: 0.0, ..traffic };
    assert_eq!(simulated(shadow, &never, Change::NONE).asked, 1.0);
}

#[test]
fn blue_green_moves_at_once_and_exposes_everybody_until_it_returns() {
    let steps = "strategy='blue_green'\nguardrails=['errors']\nguard='1d'";
    let traffic = steady(864_000.0);
    let (same, bad) = (simulated(steps, &traffic, Change::NONE), simulated(steps, &traffic, errors(10.0)));
    assert!(same.promoted > 0.95 && same.promoted_after.unwrap().high < 700.0, "{same:?}");
    assert!(bad.reverted > 0.99 && bad.rolled_back == 0.0, "{bad:?}");
    let (green, canary) = (simulated(steps, &traffic, errors(2.0)), simulated(CANARY, &traffic, errors(2.0)));
    assert!(green.exposed_mean > 3.0 * canary.exposed_mean, "{green:?} {canary:?}");
}

#[test]
fn a_budget_is_never_exceeded_and_nights_are_slower_than_days() {
    let traffic = steady(86_400.0);
    let tight = simulated(&format!("{CANARY}\nbudget=40"), &traffic, errors(2.0));
    assert!(tight.exposed.high <= 40.0 && tight.withdrawn > 0.5, "{tight:?}");
    // All of a day's traffic in one hour: whoever begins outside it waits.
    let rates: Vec<f64> = (0..24).map(|hour| if hour == 9 { 24.0 } else { 0.0 }).collect();
    let bursts = SimulatedTraffic { rates, stretch_seconds: 3_600.0, ..traffic };
    let even = simulated(CANARY, &steady(86_400.0), errors(10.0)).found_after.unwrap();
    let uneven = simulated(CANARY, &bursts, errors(10.0)).found_after.unwrap();
    assert!(uneven.high > 3.0 * even.high, "{even:?} {uneven:?}");
}
