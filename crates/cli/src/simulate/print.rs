//! The table of `simulate rollout`.

use crate::output::{note, table, warn};
use steersman_domain::simulation::{RolloutSimulation, SimulatedOutcome, SimulatedStrategy};
use steersman_prove::delivery::period;
use steersman_prove::simulation::{change, percent, times};

pub(super) fn print(found: &RolloutSimulation, seconds: f64) {
    let traffic = &found.traffic;
    let source = if traffic.source.is_empty() { "as given" } else { &traffic.source };
    let season = match traffic.rates.len() {
        1 => "no season known".to_owned(),
        hours => format!("season of {hours} hours"),
    };
    note(&format!("traffic    {source}: {:.0} requests a day, {season}", traffic.per_day));
    note(&format!(
        "           {} failed calls, {} wrong predictions; two good versions differ on {}",
        percent(traffic.errors),
        percent(traffic.wrong),
        percent(traffic.differ)
    ));
    let delay = traffic.label_delays.get(traffic.label_delays.len() / 2).copied().unwrap_or(0.0);
    note(&format!(
        "labels     {} of the requests get one, half of those within {}",
        percent(traffic.labelled),
        period(delay as i64)
    ));
    let kinds: usize = found.strategies.iter().map(|strategy| strategy.outcomes.len()).sum();
    note(&format!(
        "rollouts   {} of each of {kinds} kinds, seed {}; {seconds:.1} s in all\n",
        found.rollouts, found.seed
    ));
    let rows: Vec<Vec<String>> = found.strategies.iter().flat_map(rows).collect();
    table(
        &[
            "STRATEGY",
            "CANDIDATE",
            "FOUND",
            "AFTER",
            "1 IN 10",
            "SERVES",
            "AFTER",
            "1 IN 10",
            "NEITHER",
            "EXPOSED",
        ],
        &rows,
    );
    note(
        "\nFOUND: harm was found, and after what time (median; one in ten takes longer). SERVES: became champion for good.",
    );
    note(
        "NEITHER: a person is asked, or it is withdrawn without proof. EXPOSED: requests that it answered until then, mean.\n",
    );
    note(&found.summary);
    found.notes.iter().for_each(|text| warn(text));
}

fn rows(strategy: &SimulatedStrategy) -> impl Iterator<Item = Vec<String>> {
    let stages = strategy.stages.join(", ");
    let mut names = [strategy.name.clone(), format!("  {stages}")].into_iter();
    strategy.outcomes.iter().map(move |outcome| row(names.next().unwrap_or_default(), outcome))
}

fn row(name: String, outcome: &SimulatedOutcome) -> Vec<String> {
    let [found, found_slow] = times(outcome.found_after);
    let [serves, serves_slow] = times(outcome.promoted_after);
    vec![
        name,
        change(outcome),
        percent(outcome.found()),
        found,
        found_slow,
        percent(outcome.promoted),
        serves,
        serves_slow,
        percent(outcome.withdrawn + outcome.asked),
        format!("{:.0}", outcome.exposed_mean),
    ]
}
