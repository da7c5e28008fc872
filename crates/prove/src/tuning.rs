//! The report of a replay of policies: one HTML page that needs nothing else.

use crate::chart::{dates, escape};
use crate::plot::{Frame, Layout};
use askama::Template;
use std::fmt::Write as _;
use steersman_domain::time::micros;
use steersman_domain::tuning::{PolicyResult, Tuning};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
const WIDE: Layout =
    Layout { class: "chart", width: WIDTH, left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM };
/// Chunks whose mean the lines over time show, at most.
const SMOOTH: usize = 5;

#[derive(Template)]
#[template(path = "tuning.html")]
struct Page<'a> {
    style: &'static str,
    program: &'a str,
    found: &'a Tuning,
    headline: String,
    figures: Vec<(String, String)>,
    scatter: String,
    course: String,
    rows: Vec<Row<'a>>,
    best: Vec<(usize, String, String)>,
    others: Vec<(String, &'a str)>,
    replay: String,
}

struct Row<'a> {
    policy: &'a PolicyResult,
    recommended: bool,
    loss: String,
    change: String,
    interval: String,
    gain: String,
    worth: String,
    delay: String,
}

/// The page.
pub fn html(found: &Tuning, program: &str) -> Result<String, askama::Error> {
    let change = |loss: f64| format!("{:+.1} %", 100.0 * (loss / found.never_loss - 1.0));
    let chosen = found.policies.iter().find(|policy| policy.name == found.recommended);
    let least = found.best.iter().map(|schedule| schedule.loss).fold(found.never_loss, f64::min);
    let mut figures = vec![(brief(found.never_loss), "loss of never retraining".to_owned())];
    if let Some(chosen) = chosen.filter(|chosen| chosen.trainings > 0) {
        figures.push((change(chosen.loss), format!("recommended: {}", chosen.name)));
    }
    figures.push((change(least), "the best schedule in hindsight".to_owned()));
    figures.push((
        change(found.persistence_loss),
        "\u{201c}the same as the last known label\u{201d}".to_owned(),
    ));
    let rows = found
        .policies
        .iter()
        .map(|policy| Row {
            policy,
            recommended: policy.name == found.recommended,
            loss: brief(policy.loss),
            change: change(policy.loss),
            interval: format!("{} to {}", brief(policy.interval.0), brief(policy.interval.1)),
            gain: policy.gain.map_or("\u{2013}".to_owned(), |gain| format!("{gain:.2}")),
            worth: match (policy.better, policy.worse) {
                (Some(better), Some(worse)) => format!("{:.0} / {:.0} %", 100.0 * better, 100.0 * worse),
                _ => "\u{2013}".to_owned(),
            },
            delay: policy.detection_delay.map_or("\u{2013}".to_owned(), |delay| format!("{delay:.0}")),
        })
        .collect();
    let best = found
        .best
        .iter()
        .map(|schedule| (schedule.trainings, brief(schedule.loss), change(schedule.loss)))
        .collect();
    // Of the policies that a spec can ask for, those that no other one of these beats.
    let possible = || found.policies.iter().filter(|policy| policy.spec.is_some());
    let beaten = |policy: &PolicyResult| {
        possible().any(|other| {
            (other.trainings < policy.trainings && other.loss <= policy.loss)
                || (other.trainings == policy.trainings && other.loss < policy.loss)
        })
    };
    let others = possible()
        .filter(|policy| policy.name != found.recommended && !beaten(policy))
        .filter_map(|policy| {
            let words = format!("{}: {}, {} trainings", policy.name, change(policy.loss), policy.trainings);
            Some((words, policy.spec.as_deref()?))
        })
        .collect();
    let replay = &found.replay;
    let day = |at: jiff::Timestamp| at.strftime("%-d %B %Y").to_string();
    let replay = format!(
        "{} rows up to {} train the first model; then {} chunks of about {} rows follow, to {}",
        replay.history_rows,
        day(replay.start),
        replay.chunks,
        replay.chunk_rows,
        day(replay.to)
    );
    let headline = crate::comparison::sentence(&found.summary.replace('`', ""));
    let page = Page {
        style: crate::STYLE,
        program,
        found,
        headline,
        figures,
        scatter: scatter(found),
        course: course(found),
        rows,
        best,
        others,
        replay,
    };
    page.render()
}

fn brief(loss: f64) -> String {
    if loss.abs() >= 10.0 { format!("{loss:.1}") } else { format!("{loss:.4}") }
}

/// A range with some room around it.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let pad = ((high - low) * 0.06).max(high.abs() * 0.005).max(1e-9);
    (low - pad, high + pad)
}

/// Trainings against loss. The front is a line with names; hindsight is a dashed line below it.
fn scatter(found: &Tuning) -> String {
    let most = found.policies.iter().map(|policy| policy.trainings).max().unwrap_or(1).max(1);
    // Few trainings lie close together, so the axis is that of the root.
    let place = |trainings: usize| (trainings as f64).sqrt();
    let best = found.best.iter().filter(|schedule| schedule.trainings <= most);
    let losses =
        found.policies.iter().map(|policy| policy.loss).chain(best.clone().map(|schedule| schedule.loss));
    let plot = Frame { layout: WIDE, height: 440.0, x: (-0.3, place(most) * 1.03), y: range(losses) };
    let mut svg = plot.open("Trainings against mean loss, one dot a policy");
    plot.grid(&mut svg, false);
    for tick in [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512].into_iter().filter(|tick| *tick <= most) {
        plot.below(&mut svg, plot.x(place(tick)), &tick.to_string());
    }
    let _ = write!(
        svg,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">trainings</text>"#,
        WIDTH - RIGHT,
        plot.height - 6.0
    );
    let hindsight =
        std::iter::once((0, found.never_loss)).chain(best.map(|found| (found.trainings, found.loss)));
    let corners: Vec<String> = hindsight
        .map(|(trainings, loss)| format!("{:.1},{:.1}", plot.x(place(trainings)), plot.y(loss)))
        .collect();
    let _ = write!(svg, r#"<polyline class="same" fill="none" points="{}"/>"#, corners.join(" "));
    let mut front: Vec<&PolicyResult> = found.policies.iter().filter(|policy| policy.pareto).collect();
    front.sort_by_key(|policy| policy.trainings);
    let mut corners: Vec<String> = Vec::new();
    for pair in front.windows(2) {
        let [a, b] = pair else { continue };
        let (x, y) = (plot.x(place(a.trainings)), plot.y(a.loss));
        let next = plot.x(place(b.trainings));
        corners.push(format!("{x:.1},{y:.1} {next:.1},{y:.1}"));
    }
    corners.extend(
        front.last().map(|last| format!("{:.1},{:.1}", plot.x(place(last.trainings)), plot.y(last.loss))),
    );
    let _ = write!(svg, r#"<polyline class="line" points="{}"/>"#, corners.join(" "));
    for policy in &found.policies {
        let class = if policy.gate { "gated" } else { "ungated" };
        let _ = write!(
            svg,
            r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="4"><title>{}: loss {}, {} trainings, {} promotions</title></circle>"#,
            plot.x(place(policy.trainings)),
            plot.y(policy.loss),
            escape(&policy.name),
            brief(policy.loss),
            policy.trainings,
            policy.promotions
        );
    }
    let chosen = found.policies.iter().find(|policy| policy.name == found.recommended);
    if let Some(chosen) = chosen {
        let _ = write!(
            svg,
            r#"<circle class="chosen" cx="{:.1}" cy="{:.1}" r="8"/>"#,
            plot.x(place(chosen.trainings)),
            plot.y(chosen.loss)
        );
    }
    // Names: the recommended one first, then the front, each where it covers no other.
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    let dots: Vec<(f64, f64)> =
        found.policies.iter().map(|policy| (plot.x(place(policy.trainings)), plot.y(policy.loss))).collect();
    for policy in
        chosen.into_iter().chain(front.into_iter().filter(|policy| policy.name != found.recommended))
    {
        let (x, y) = (plot.x(place(policy.trainings)), plot.y(policy.loss));
        let width = 6.1 * policy.name.chars().count() as f64;
        let free = |(from, at): (f64, f64), taken: &[(f64, f64, f64)]| {
            from >= LEFT
                && from + width <= WIDTH
                && (TOP..plot.height - BOTTOM).contains(&at)
                && dots.iter().all(|&(dot, row)| {
                    (at - 4.0 - row).abs() >= 9.0 || dot < from - 4.0 || dot > from + width + 4.0
                })
                && taken.iter().all(|&(start, end, row)| {
                    (at - row).abs() >= 13.0 || from > end + 4.0 || from + width < start - 4.0
                })
        };
        let places = [
            (x + 10.0, y - 7.0),
            (x + 10.0, y + 16.0),
            (x - width - 10.0, y - 7.0),
            (x - width - 10.0, y + 16.0),
            (x + 10.0, y - 22.0),
            (x - width / 2.0, y - 24.0),
        ];
        let Some((from, at)) = places.into_iter().find(|place| free(*place, &taken)) else { continue };
        taken.push((from, from + width, at));
        let class = if policy.name == found.recommended { "chosen" } else { "front" };
        let _ =
            write!(svg, r#"<text class="{class}" x="{from:.1}" y="{at:.1}">{}</text>"#, escape(&policy.name));
    }
    svg.push_str("</svg>");
    svg
}

/// Loss over time of never, the recommended policy and the best schedule.
fn course(found: &Tuning) -> String {
    let (Some(first), Some(last)) = (found.timeline.first(), found.timeline.last()) else {
        return String::new();
    };
    let smooth = (found.timeline.len() / 10).clamp(1, SMOOTH);
    let mean = |of: &dyn Fn(usize) -> f64, place: usize| {
        let from = (place + 1).saturating_sub(smooth);
        let rows = |place: usize| found.timeline.get(place).map_or(0, |chunk| chunk.rows) as f64;
        let sum: f64 = (from..=place).map(|place| rows(place) * of(place)).sum();
        sum / (from..=place).map(rows).sum::<f64>().max(1.0)
    };
    let value = |pick: fn(&steersman_domain::tuning::TuningChunk) -> f64| -> Vec<f64> {
        let of = |place: usize| found.timeline.get(place).map_or(0.0, pick);
        (0..found.timeline.len()).map(|place| mean(&of, place)).collect()
    };
    let lines = [
        ("was", value(|chunk| chunk.never)),
        ("bound", value(|chunk| chunk.best)),
        ("is", value(|chunk| chunk.recommended)),
    ];
    let (from, to) = (micros(first.from), micros(last.to));
    let plot = Frame {
        layout: WIDE,
        height: 320.0,
        x: (from as f64, to as f64),
        y: range(lines.iter().flat_map(|(_, values)| values.iter().copied())),
    };
    let mut svg = plot.open(
        "Loss over time of never retraining, the recommended policy and the best schedule in hindsight",
    );
    plot.grid(&mut svg, false);
    for (at, label) in dates(from, to) {
        plot.below(&mut svg, plot.x(micros(at) as f64), &label);
    }
    for chunk in &found.timeline {
        let (start, end) = (plot.x(micros(chunk.from) as f64), plot.x(micros(chunk.to) as f64));
        let floor = plot.height - BOTTOM;
        if chunk.promoted {
            let _ = write!(
                svg,
                r#"<line class="promoted" x1="{start:.1}" x2="{start:.1}" y1="{:.1}" y2="{floor:.1}"><title>another version serves from {}</title></line>"#,
                floor - 9.0,
                chunk.from.strftime("%Y-%m-%d")
            );
        }
        if chunk.alarm {
            let _ = write!(
                svg,
                r#"<circle class="dot bad" cx="{end:.1}" cy="{:.1}" r="3"><title>alarm, {}</title></circle>"#,
                TOP - 4.0,
                chunk.to.strftime("%Y-%m-%d")
            );
        }
    }
    for (class, values) in &lines {
        let middle = |chunk: &steersman_domain::tuning::TuningChunk| {
            (micros(chunk.from) as f64 + micros(chunk.to) as f64) / 2.0
        };
        let corners: Vec<String> = found
            .timeline
            .iter()
            .zip(values)
            .map(|(chunk, value)| format!("{:.1},{:.1}", plot.x(middle(chunk)), plot.y(*value)))
            .collect();
        let _ = write!(svg, r#"<polyline class="{class}" fill="none" points="{}"/>"#, corners.join(" "));
    }
    svg.push_str("</svg>");
    svg
}
