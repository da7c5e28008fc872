//! The table of `docs/rollouts.md`, in short: what rules do on simulated rollouts, against figures that were published for
//! the same setting (2,000 rollouts). The whole: `cargo run --release -p steersman-decide --example rollout_rules`.

#[path = "../../examples/rollout_rules/day.rs"]
mod day;
#[path = "../../examples/rollout_rules/others.rs"]
mod others;
#[path = "../../examples/rollout_rules/rules.rs"]
mod rules;

use day::{Base, Found, minutes, simulate};

const RUNS: u64 = 400;
const PUBLISHED_RUNS: f64 = 2_000.0;

/// A share is the published one within four standard errors of both, and half a point.
fn share_is(what: &str, found: Found, published: f64) {
    let error = (published * (1.0 - published) * (1.0 / RUNS as f64 + 1.0 / PUBLISHED_RUNS)).sqrt();
    assert!((found.share - published).abs() <= 4.0 * error + 0.005, "{what}: {found:?}, {published}");
}

/// A median is the published one within a sixth, or one look.
fn median_is(what: &str, found: Found, published: f64, look: f64) {
    let median = found.median.map_or(f64::INFINITY, |median| median as f64);
    assert!((median - published).abs() <= (published / 6.0).max(look), "{what}: {found:?}, {published}");
}

#[test]
fn rules_do_what_was_published() {
    let published: [(&str, [f64; 2], [f64; 3], f64); 7] = [
        ("first failure", [0.726, 0.975], [10.0, 5.0, 5.0], 5.0),
        ("third failure", [0.138, 0.61], [30.0, 15.0, 15.0], 5.0),
        // The published test is not said to the last detail (pooled, or not): its false rollbacks are not compared.
        ("z-test", [f64::NAN; 2], [4.0, 2.0, 1.0], 1.0),
        ("Mann-Whitney", [0.003, 0.003], [45.0, 15.0, 15.0], 15.0),
        ("asymptotic", [0.002, 0.003], [29.0, 10.0, 2.0], 2.0),
        ("judge", [0.017, 0.016], [19.0, 6.0, 1.0], 1.0),
        ("judge beyond a quarter", [0.002, 0.004], [37.0, 9.0, 1.0], 1.0),
    ];
    for ((_, rule), (name, shares, medians, look)) in rules::RULES.into_iter().zip(published) {
        let of = |base, ratio| simulate(RUNS, |random| rule(&minutes(random, base, ratio)));
        for (base, share) in [Base::Steady, Base::Diurnal].into_iter().zip(shares) {
            if share.is_finite() {
                share_is(name, of(base, 1.0), share);
            }
        }
        for (ratio, median) in [2.0, 3.0, 10.0].into_iter().zip(medians) {
            median_is(&format!("{name} at {ratio}"), of(Base::Steady, ratio), median, look);
        }
    }
}

#[test]
fn what_misleads_others_does_not_mislead_the_judge() {
    let [pooled, judged] = others::climbing(RUNS, 1.0);
    share_is("pooled", pooled, 0.99);
    share_is("climbing", judged, 0.022);
    median_is("climbing twice", others::climbing(RUNS, 2.0)[1], 38.0, 1.0);
    share_is("by request", others::clustered(RUNS, false), 0.52);
    share_is("by user", others::clustered(RUNS, true), 0.022);
    share_is("tiny", others::tiny(RUNS, 0.02), 0.023);
    median_is("tiny", others::tiny(RUNS, 0.2), 20.0, 1.0);
    assert!(others::lost_records(RUNS, 0.0).share <= 0.015);
    let lost = others::lost_records(100, 0.1);
    assert!(lost.share > 0.99 && lost.median.is_some_and(|median| median <= 34), "{lost:?}");
    // Pairs that disagree on 4 % of the items; half of the evidence is what the level says, so proof takes ln 2 more.
    assert!(others::paired(100).median.is_some_and(|median| median <= 886));
    assert!(others::proof(100, 0.1).median.is_some_and(|median| (17..=24).contains(&median)));
}
