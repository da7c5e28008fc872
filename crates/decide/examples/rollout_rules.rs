//! False rollbacks and times to detection of rules that decide on rollouts, as Markdown tables: `docs/rollouts.md` holds
//! what this prints.
//!
//! `cargo run --release -p steersman-decide --example rollout_rules`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a report on the terminal; what cannot go on stops"
)]

#[path = "rollout_rules/day.rs"]
mod day;
#[path = "rollout_rules/others.rs"]
mod others;
#[path = "rollout_rules/rules.rs"]
mod rules;

use day::{Base, Found, minutes, simulate};

fn main() {
    let runs = 2_000;
    println!(
        "| rule | false | false, diurnal | 1 to 2 % | 1 to 3 % | 1 to 10 % |\n|---|---|---|---|---|---|"
    );
    for (name, rule) in rules::RULES {
        let of = |base, ratio| simulate(runs, |random| rule(&minutes(random, base, ratio)));
        let percent = |base| format!("{:.1} %", 100.0 * of(base, 1.0).share);
        let time = |ratio| {
            let found = of(Base::Steady, ratio);
            let missed =
                if found.share > 0.995 { String::new() } else { format!(" ({:.1} %)", 100.0 * found.share) };
            found.median.map_or("-".to_owned(), |median| format!("{median} min{missed}"))
        };
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            percent(Base::Steady),
            percent(Base::Diurnal),
            time(2.0),
            time(3.0),
            time(10.0)
        );
    }
    println!();
    let say = |what: &str, found: Found, unit: &str| {
        let median = found.median.map_or(String::new(), |median| format!(", median {median} {unit}"));
        println!("| {what} | {:.1} %{median} |", 100.0 * found.share);
    };
    println!("| situation | decided |\n|---|---|");
    let [pooled, judged] = others::climbing(runs, 1.0);
    say("base climbs through four stages, no change: pooled z-test", pooled, "min");
    say("the same: the judge", judged, "min");
    say("the same, twice the errors: the judge", others::climbing(runs, 2.0)[1], "min");
    say("users who fail ten times each, no change: counted by request", others::clustered(600, false), "min");
    say("the same: counted by user, the unit of randomisation", others::clustered(600, true), "min");
    say("5 requests a minute, 20 %: no change", others::tiny(runs, 0.02), "min");
    say("the same: 2 to 20 %", others::tiny(runs, 0.2), "min");
    say(
        "proof of less than twice the errors when there are as many, at 10 %",
        others::proof(runs, 0.1),
        "min",
    );
    say("the same, at 50 %", others::proof(runs, 0.5), "min");
    say("split: a tenth of the candidate's records is lost", others::lost_records(600, 0.1), "min");
    say("split: none is lost", others::lost_records(600, 0.0), "min");
    say("accuracy 92 to 90 %, pairs in the shadow", others::paired(600), "labels");
}
