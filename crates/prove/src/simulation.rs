//! Simulated rollouts: the forecast on a model's page, and the report of `simulate rollout`, one HTML page that needs
//! nothing else.

use crate::chart::{escape, number};
use crate::comparison::sentence;
use crate::delivery::period;
use crate::plot::{Frame, Layout};
use askama::Template;
use std::fmt::Write as _;
use steersman_domain::simulation::{RolloutSimulation, SimulatedOutcome, SimulatedStrategy, Spread};
use steersman_domain::spec::Guardrail;

const LAYOUT: Layout =
    Layout { class: "chart", width: 860.0, left: 64.0, right: 120.0, top: 14.0, bottom: 40.0 };
/// Round times that stand below an axis, in seconds.
const TIMES: [(f64, &str); 12] = [
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3_600.0, "1 h"),
    (21_600.0, "6 h"),
    (86_400.0, "1 d"),
    (259_200.0, "3 d"),
    (864_000.0, "10 d"),
    (2_592_000.0, "30 d"),
    (7_776_000.0, "90 d"),
    (31_536_000.0, "1 y"),
];

/// What a candidate is like, in words.
pub fn change(outcome: &SimulatedOutcome) -> String {
    let what = match outcome.guardrail {
        None => return "as good as the champion".to_owned(),
        Some(Guardrail::Errors) => "failed calls",
        Some(Guardrail::Timeouts) => "calls without an answer",
        Some(Guardrail::LatencyP99) => "slow calls",
        Some(Guardrail::Performance) => "wrong predictions",
        Some(Guardrail::Mean) => "the mean",
    };
    format!("{} \u{d7} {what}", number(outcome.ratio))
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    match 100.0 * share {
        tiny if tiny > 0.0 && tiny < 0.1 => "< 0.1 %".to_owned(),
        small if small < 10.0 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
    }
}

/// When: for half of them, and what one in ten exceeds.
pub fn times(spread: Option<Spread>) -> [String; 2] {
    let text = |seconds: f64| period(seconds as i64);
    spread.map_or(["-".to_owned(), "-".to_owned()], |spread| [text(spread.median), text(spread.high)])
}

fn when(spread: Option<Spread>) -> String {
    let [median, high] = times(spread);
    if spread.is_none() { "\u{2013}".to_owned() } else { format!("{median} (1 in 10: over {high})") }
}

/// What comes of a candidate that ought to be promoted, in a sentence.
fn good(strategy: &SimulatedStrategy) -> Option<String> {
    let outcome = strategy.good()?;
    let which = match strategy.strategy.must_win() {
        true => format!("a better candidate ({})", change(outcome)),
        false => "a candidate as good as the champion".to_owned(),
    };
    let waits = outcome.asked + outcome.withdrawn;
    Some(match outcome.promoted_after.filter(|_| outcome.promoted >= 0.05) {
        Some(after) => format!(
            "{which} serves everybody after {} (one in ten needs more than {}); falsely withdrawn for harm: {}{}",
            period(after.median as i64),
            period(after.high as i64),
            percent(outcome.found()),
            if waits >= 0.005 { format!("; not decided in time: {}", percent(waits)) } else { String::new() }
        ),
        None => format!(
            "{which} is not proven {} in time: {} wait for a person, {} are withdrawn without proof",
            if strategy.strategy.must_win() { "better" } else { "safe" },
            percent(outcome.asked),
            percent(outcome.withdrawn)
        ),
    })
}

/// A strategy in a sentence: what comes of a good candidate, and of the smallest harm that was tried.
pub fn summary(strategy: &SimulatedStrategy) -> String {
    let harm = strategy.outcomes.iter().find(|outcome| outcome.ratio > 1.0).map(|worst| {
        let [after, _] = times(worst.found_after);
        let found = match worst.found_after {
            Some(_) => format!("found in {} of the rollouts, after {after}", percent(worst.found())),
            None => "not found".to_owned(),
        };
        format!("; {} are {found}, with {:.0} requests exposed", change(worst), worst.exposed_mean)
    });
    let good = good(strategy).unwrap_or_default();
    format!("{}: {good}{}.", strategy.name, harm.unwrap_or_default())
}

/// How rollouts of a model would go, in sentences.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ForecastText {
    pub(crate) stages: String,
    pub(crate) good: String,
    pub(crate) rows: Vec<[String; 4]>,
}

pub(crate) fn forecast(strategy: &SimulatedStrategy) -> Option<ForecastText> {
    let row = |outcome: &SimulatedOutcome| {
        [
            change(outcome),
            percent(outcome.found()),
            when(outcome.found_after),
            format!("{:.0}", outcome.exposed_mean),
        ]
    };
    let rows = strategy.outcomes.iter().filter(|outcome| outcome.ratio > 1.0).map(row).collect();
    let good = sentence(&good(strategy)?);
    Some(ForecastText { stages: strategy.stages.join(", "), good, rows })
}

#[derive(Template)]
#[template(path = "simulation.html")]
struct Page<'a> {
    style: &'static str,
    program: &'a str,
    found: &'a RolloutSimulation,
    traffic: Vec<(String, &'static str)>,
    trade: String,
    traded: String,
    curves: Vec<(String, String)>,
    colours: Vec<(String, String)>,
    strategies: Vec<Section>,
}

struct Section {
    name: String,
    stages: String,
    rows: Vec<Row>,
}

struct Row {
    change: String,
    found: String,
    found_after: String,
    promoted: String,
    promoted_after: String,
    undecided: String,
    exposed: String,
}

/// The page.
pub fn html(found: &RolloutSimulation, program: &str) -> Result<String, askama::Error> {
    let row = |outcome: &SimulatedOutcome| Row {
        change: change(outcome),
        found: percent(outcome.found()),
        found_after: when(outcome.found_after),
        promoted: percent(outcome.promoted),
        promoted_after: when(outcome.promoted_after),
        undecided: percent(outcome.withdrawn + outcome.asked),
        exposed: format!("{:.0} (1 in 10: over {:.0})", outcome.exposed_mean, outcome.exposed.high),
    };
    let section = |strategy: &SimulatedStrategy| Section {
        name: strategy.name.clone(),
        stages: strategy.stages.join(", "),
        rows: strategy.outcomes.iter().map(row).collect(),
    };
    let traffic = &found.traffic;
    let figures = vec![
        (number(traffic.per_day.round()), "requests a day"),
        (percent(traffic.errors), "failed calls"),
        (percent(traffic.wrong), "wrong predictions"),
        (percent(traffic.labelled), "labels that come"),
        (
            traffic
                .label_delays
                .get(traffic.label_delays.len() / 2)
                .map_or("\u{2013}".to_owned(), |delay| period(*delay as i64)),
            "until a label comes, median",
        ),
    ];
    let worst = told_apart(found);
    let page = Page {
        style: crate::STYLE,
        program,
        found,
        traffic: figures,
        trade: worst.map_or(String::new(), |worst| trade(found, worst)),
        traded: worst.map_or(String::new(), change),
        curves: curves(found),
        colours: found
            .strategies
            .iter()
            .enumerate()
            .map(|(place, one)| (colour(place), one.name.clone()))
            .collect(),
        strategies: found.strategies.iter().map(section).collect(),
    };
    page.render()
}

/// The regression that strategies are told apart by: the smallest one of the first guardrail.
fn told_apart(found: &RolloutSimulation) -> Option<&SimulatedOutcome> {
    found.strategies.first()?.outcomes.iter().find(|outcome| outcome.ratio > 1.0)
}

/// A colour for a strategy, readable on light and dark.
fn colour(place: usize) -> String {
    let hues = [211, 28, 145, 330, 265, 52, 180, 0];
    format!("hsl({} 65% 48%)", hues[place % hues.len()])
}

fn like<'a>(strategy: &'a SimulatedStrategy, wanted: &SimulatedOutcome) -> Option<&'a SimulatedOutcome> {
    strategy
        .outcomes
        .iter()
        .find(|outcome| (outcome.guardrail, outcome.ratio) == (wanted.guardrail, wanted.ratio))
}

fn time_axis(plot: &Frame, svg: &mut String) {
    for (at, label) in TIMES {
        let place = f64::log10(at);
        if (plot.x.0..=plot.x.1).contains(&place) {
            plot.below(svg, plot.x(place), label);
        }
    }
}

/// The range of logarithms, with some room.
fn logs(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .map(f64::log10)
        .filter(|value| value.is_finite())
        .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { (0.0, 1.0) } else { (low - 0.15, high + 0.15) }
}

/// Time until a good candidate serves everybody, against requests exposed to a bad one.
fn trade(found: &RolloutSimulation, worst: &SimulatedOutcome) -> String {
    let points: Vec<(usize, &str, f64, f64)> = found
        .strategies
        .iter()
        .enumerate()
        .filter_map(|(place, strategy)| {
            let time = strategy.good()?.promoted_after?.median;
            let exposed = like(strategy, worst)?.exposed_mean;
            Some((place, strategy.name.as_str(), time.max(1.0), exposed.max(0.5)))
        })
        .collect();
    if points.is_empty() {
        return String::new();
    }
    let plot = Frame {
        layout: LAYOUT,
        height: 320.0,
        x: logs(points.iter().map(|point| point.2)),
        y: logs(points.iter().map(|point| point.3)),
    };
    let mut svg =
        plot.open("Time until a good candidate serves everybody, against requests exposed to a bad one");
    for power in -1..=9 {
        let at = f64::from(power);
        if (plot.y.0..=plot.y.1).contains(&at) {
            let (y, label) = (plot.y(at), number(10f64.powf(at)));
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{:.1}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                LAYOUT.left,
                LAYOUT.width - LAYOUT.right,
                LAYOUT.left - 6.0,
                y + 4.0
            );
        }
    }
    time_axis(&plot, &mut svg);
    let mut taken: Vec<f64> = Vec::new();
    for (place, name, time, exposed) in points {
        let (x, y) = (plot.x(time.log10()), plot.y(exposed.log10()));
        let mut label = y + 4.0;
        while taken.iter().any(|other| (other - label).abs() < 13.0) {
            label += 13.0;
        }
        taken.push(label);
        let _ = write!(
            svg,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="6" style="fill:{}"><title>{}: {} exposed, everybody after {}</title></circle><text x="{:.1}" y="{label:.1}">{}</text>"#,
            colour(place),
            escape(name),
            number(exposed.round()),
            period(time as i64),
            x + 11.0,
            escape(name)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// For each kind of candidate, which share of rollouts is decided by when.
fn curves(found: &RolloutSimulation) -> Vec<(String, String)> {
    let Some(first) = found.strategies.first() else { return Vec::new() };
    first
        .outcomes
        .iter()
        .map(|wanted| {
            let lines: Vec<(usize, &SimulatedOutcome)> = found
                .strategies
                .iter()
                .enumerate()
                .filter_map(|(place, strategy)| Some((place, like(strategy, wanted)?)))
                .collect();
            (change(wanted), curve(&change(wanted), &lines))
        })
        .filter(|(_, svg)| !svg.is_empty())
        .collect()
}

fn curve(title: &str, lines: &[(usize, &SimulatedOutcome)]) -> String {
    let all = || lines.iter().flat_map(|(_, outcome)| &outcome.decided).map(|(time, _)| time.max(1.0));
    if all().next().is_none() {
        return String::new();
    }
    let plot = Frame { layout: LAYOUT, height: 230.0, x: logs(all()), y: (0.0, 1.0) };
    let mut svg = plot.open(&format!("Share of rollouts decided by a time: {title}"));
    plot.grid(&mut svg, true);
    time_axis(&plot, &mut svg);
    for (place, outcome) in lines {
        let Some((first, _)) = outcome.decided.first() else { continue };
        let mut corners = vec![format!("{:.1},{:.1}", plot.x(first.max(1.0).log10()), plot.y(0.0))];
        corners.extend(
            outcome
                .decided
                .iter()
                .map(|(time, share)| format!("{:.1},{:.1}", plot.x(time.max(1.0).log10()), plot.y(*share))),
        );
        let _ = write!(
            svg,
            r#"<polyline fill="none" style="stroke:{};stroke-width:2" points="{}"/>"#,
            colour(*place),
            corners.join(" ")
        );
    }
    svg.push_str("</svg>");
    svg
}
