//! The health report: one HTML file that needs nothing else.

use crate::chart::{Cell, Mark, Point, Step, Timeline, map, steps};
use crate::delivery::{Figure, figures, period};
use crate::quality::{self, QualityRow};
use crate::rollouts::{Course, course};
use crate::segments::{Segments, segments};
use crate::simulation::{ForecastText, forecast};
use crate::story::{Event, Tone};
use askama::Template;
use jiff::Timestamp;
use std::collections::BTreeMap;
use steersman_domain::fact::{RolloutOutcome, Verdict};
use steersman_domain::simulation::SimulatedStrategy;
use steersman_domain::time::{from_micros, micros};
use steersman_domain::{Measurement, ModelName, MonitorKind, Problem, Window};
use steersman_ledger::State;
use steersman_ledger::state::{ModelState, RolloutState};

/// What was measured and taken in of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelTelemetry {
    /// Measurements, in any order.
    pub measurements: Vec<Measurement>,
    /// Measurements of segments, in any order.
    pub segments: Vec<Measurement>,
    /// Records taken in.
    pub records: u64,
    /// Of them with a label.
    pub labels: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// How rollouts would go if one started now.
    pub forecast: Option<SimulatedStrategy>,
    /// What the judge says at the moment.
    pub verdict: Option<Verdict>,
}

/// What a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// What is so.
    pub state: &'a State,
    /// What was measured, by model.
    pub telemetry: &'a BTreeMap<ModelName, ModelTelemetry>,
    /// When.
    pub now: Timestamp,
    /// The signed root.
    pub checkpoint: &'a str,
    /// Version of the program.
    pub program: &'a str,
}

#[derive(Template)]
#[template(path = "report.html")]
struct ReportPage<'a> {
    style: &'static str,
    date: String,
    headline: String,
    models: Vec<String>,
    size: u64,
    checkpoint: &'a str,
    program: &'a str,
}

/// The report as HTML.
pub fn health_report(input: &ReportInput<'_>) -> Result<String, Problem> {
    let nothing = ModelTelemetry::default();
    let models = input.state.models.iter().map(|(name, model)| {
        let telemetry = input.telemetry.get(name).unwrap_or(&nothing);
        model_section(name, model, telemetry, input.now, false)
    });
    let page = ReportPage {
        style: crate::STYLE,
        date: input.now.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        headline: headline(input.state),
        models: models.collect::<Result<_, _>>()?,
        size: input.state.size,
        checkpoint: input.checkpoint,
        program: input.program,
    };
    render(&page)
}

fn render(template: &impl Template) -> Result<String, Problem> {
    template.render().map_err(|error| Problem::internal(format!("a page cannot be made: {error}")))
}

/// Is everything on course? In one sentence.
pub fn headline(state: &State) -> String {
    let off: Vec<&str> = state
        .models
        .iter()
        .filter(|(_, model)| model.open_incident().is_some())
        .map(|(name, _)| name.as_str())
        .collect();
    let waiting = state.models.values().map(|model| model.open_approvals().count()).sum::<usize>();
    let course = match (state.models.len(), off.len()) {
        (0, _) => return "No model is declared yet".to_owned(),
        (_, 0) => "Everything is on course".to_owned(),
        _ => format!("Off course: {}", off.join(", ")),
    };
    match waiting {
        0 => course,
        1 => format!("{course}; one decision waits for a person"),
        _ => format!("{course}; {waiting} decisions wait for a person"),
    }
}

struct Need {
    question: String,
    rollout: String,
    candidate: String,
    detail: String,
    form: bool,
}

struct RolloutRow {
    candidate: String,
    began: String,
    outcome: &'static str,
    tone: &'static str,
    exposed: String,
    why: String,
}

struct VersionRow {
    version: String,
    serves: bool,
    withdrawn: String,
    registered: String,
    note: String,
    artifact: String,
    snapshot: String,
    evaluation: String,
}

struct IncidentRow {
    opened: String,
    title: String,
    lasted: String,
    tone: &'static str,
}

#[derive(Template)]
#[template(path = "model.html")]
struct ModelSection<'a> {
    name: &'a str,
    tone: &'static str,
    course: &'static str,
    sentence: String,
    needs: Vec<Need>,
    metric: &'static str,
    window: String,
    performance: String,
    drift: String,
    quality: Vec<QualityRow>,
    segments: Segments,
    under_way: Option<Course>,
    forecast: Option<ForecastText>,
    weights: String,
    rollouts: Vec<RolloutRow>,
    events: Vec<&'a Event>,
    versions: Vec<VersionRow>,
    incidents: Vec<IncidentRow>,
    operation: Vec<(&'static str, String)>,
    traffic: String,
    figures: Vec<Figure>,
}

/// What is to be said of one model, as HTML. `forms` adds fields to answer open questions, which need a server.
pub fn model_section(
    name: &ModelName,
    model: &ModelState,
    telemetry: &ModelTelemetry,
    now: Timestamp,
    forms: bool,
) -> Result<String, Problem> {
    let latest = latest(&telemetry.measurements);
    let incident = model.open_incident();
    render(&ModelSection {
        name: name.as_str(),
        tone: if incident.is_some() { "bad" } else { "good" },
        course: if incident.is_some() { "off course" } else { "on course" },
        sentence: sentence(model),
        needs: needs(model, forms),
        metric: model.spec.metric().as_str(),
        window: model.spec.watch.window.to_string(),
        performance: performance(model, &latest),
        drift: drift(&latest),
        quality: quality::rows(&latest),
        segments: segments(model, &telemetry.segments, &latest),
        under_way: course(model, telemetry.verdict.as_ref(), now, forms),
        forecast: telemetry.forecast.as_ref().filter(|_| !begun(model)).and_then(forecast),
        weights: weights(model, now),
        rollouts: model.rollouts.iter().rev().map(rollout_row).collect(),
        events: telemetry.events.iter().rev().collect(),
        versions: model.versions.values().rev().map(|version| version_row(model, version)).collect(),
        incidents: model.incidents.iter().rev().map(|incident| incident_row(incident, now)).collect(),
        operation: operation(&latest),
        traffic: traffic(&latest, telemetry),
        figures: figures(model, now),
    })
}

/// The latest revision of each measurement, in order of time.
fn latest(measurements: &[Measurement]) -> Vec<&Measurement> {
    let mut found: BTreeMap<(MonitorKind, &str, Window), &Measurement> = BTreeMap::new();
    for measurement in measurements {
        let slot = found
            .entry((measurement.monitor, &measurement.column, measurement.window))
            .or_insert(measurement);
        if slot.revision < measurement.revision {
            *slot = measurement;
        }
    }
    found.into_values().collect()
}

fn sentence(model: &ModelState) -> String {
    let serves =
        model.champion().map_or("no version serves yet".to_owned(), |version| format!("{version} serves"));
    let rollout = model.active_rollout().map_or(String::new(), |rollout| {
        let share = rollout.current_stage().map_or(0.0, |stage| 100.0 * stage.weight);
        format!(", {} is being rolled out ({share:.0} %)", rollout.candidate)
    });
    let about = model
        .open_incident()
        .map_or(String::new(), |incident| format!("; open incident: {}", incident.title));
    format!("{serves}{rollout}{about}")
}

fn needs(model: &ModelState, form: bool) -> Vec<Need> {
    model
        .open_approvals()
        .map(|(rollout, approval)| Need {
            question: approval.question.clone(),
            rollout: rollout.rollout.to_string(),
            candidate: rollout.candidate.to_string(),
            detail: rollout
                .verdicts
                .last()
                .map_or(String::new(), |verdict| verdict.verdict.explanation.clone()),
            form,
        })
        .collect()
}

fn middle(window: Window) -> Timestamp {
    from_micros(micros(window.start) / 2 + micros(window.end) / 2)
}

/// Points of measurements; a window without one is a gap.
fn points(measurements: &[&Measurement]) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    let mut expected: Option<Window> = None;
    for measurement in measurements {
        let window = measurement.window;
        if let Some(gap) = expected.filter(|expected| expected.start < window.start) {
            points.push(Point { at: middle(gap), value: None, range: None, alarming: false });
        }
        let range = match &measurement.reading {
            steersman_domain::measurement::Reading::Value { low: Some(low), high: Some(high), .. } => {
                Some((*low, *high))
            }
            _ => None,
        };
        let value = measurement.reading.value();
        points.push(Point { at: middle(window), value, range, alarming: measurement.alarming });
        expected = Some(window.next());
    }
    points
}

fn of_kind<'a>(latest: &[&'a Measurement], kind: MonitorKind) -> Vec<&'a Measurement> {
    latest.iter().copied().filter(|measurement| measurement.monitor == kind).collect()
}

fn performance(model: &ModelState, latest: &[&Measurement]) -> String {
    let measured = of_kind(latest, MonitorKind::Performance);
    let mut marks: Vec<Mark> = model
        .champions
        .iter()
        .skip(1)
        .map(|reign| Mark { at: reign.since, label: format!("{} serves", reign.version), class: "good" })
        .collect();
    marks.extend(model.rollouts.iter().filter_map(|rollout| {
        let end = rollout.finished.as_ref().filter(|end| end.outcome != RolloutOutcome::Promoted)?;
        Some(Mark {
            at: end.at,
            label: format!("{} {}", rollout.candidate, end.outcome.as_str()),
            class: "bad",
        })
    }));
    marks.sort_by_key(|mark| mark.at);
    let floor = model.spec.watch.performance.floor.map(|floor| (floor, "floor".to_owned()));
    let limit = measured.last().and_then(|measurement| {
        let limit = measurement.details.get("loss_limit").copied()?;
        // The limit is one of the loss; it is on this scale only where the metric is that loss.
        let same = measurement.details.get("loss").copied() == measurement.reading.value();
        same.then(|| (limit, "acceptable".to_owned()))
    });
    let title = format!(
        "{} of each window with its interval, and as it was estimated before the labels (dashed)",
        model.spec.metric().as_str()
    );
    let levels = floor.or(limit).into_iter().collect();
    let expected = points(&of_kind(latest, MonitorKind::Estimate));
    Timeline { title, points: points(&measured), expected, levels, marks, height: 230.0, smooth: 7 }.svg()
}

/// Traffic, latency, failed calls and cost: each with the band in which it ordinarily lies and what was expected.
fn operation(latest: &[&Measurement]) -> Vec<(&'static str, String)> {
    let series = [
        (MonitorKind::Volume, "Records in each window"),
        (MonitorKind::Latency, "99th percentile of latency in each window, milliseconds"),
        (MonitorKind::Errors, "Share of failed calls in each window"),
        (MonitorKind::Cost, "Mean cost of a record in each window"),
    ];
    let charts = series.into_iter().map(|(kind, title)| {
        let measured = of_kind(latest, kind);
        let ordinary: BTreeMap<Timestamp, (f64, f64)> = measured
            .iter()
            .filter_map(|measurement| Some((middle(measurement.window), measurement.ordinary?)))
            .collect();
        let expected = measured.iter().filter_map(|measurement| {
            let value = measurement.details.get("expected").copied()?;
            Some(Point { at: middle(measurement.window), value: Some(value), range: None, alarming: false })
        });
        let levels =
            ordinary.values().next_back().map(|(_, high)| *high).filter(|_| kind == MonitorKind::Errors);
        let mut shown = points(&measured);
        shown.iter_mut().for_each(|point| point.range = ordinary.get(&point.at).copied());
        let chart = Timeline {
            title: title.to_owned(),
            points: shown,
            expected: expected.collect(),
            // Without it there is no scale where nothing fails.
            levels: levels.map(|high| (high, "ordinary".to_owned())).into_iter().collect(),
            marks: Vec::new(),
            height: 80.0,
            smooth: 1,
        };
        (title, chart.svg())
    });
    charts.filter(|(_, chart)| !chart.is_empty()).collect()
}

fn drift(latest: &[&Measurement]) -> String {
    let mut rows: BTreeMap<&str, Vec<Cell>> = BTreeMap::new();
    for measurement in of_kind(latest, MonitorKind::Drift) {
        let step = measurement.reading.value().map(|distance| heat(distance, measurement.ordinary));
        rows.entry(&measurement.column).or_default().push(Cell {
            from: measurement.window.start,
            to: measurement.window.end,
            step,
            alarming: measurement.alarming,
        });
    }
    let mut rows: Vec<(String, Vec<Cell>)> =
        rows.into_iter().map(|(name, cells)| (name.to_owned(), cells)).collect();
    // What moved most stands on top.
    let moved = |cells: &[Cell]| cells.iter().map(|cell| u64::from(cell.step.unwrap_or(0))).sum::<u64>();
    rows.sort_by_key(|(_, cells)| std::cmp::Reverse(moved(cells)));
    map("Distance of each column from the reference, window by window", &rows)
}

/// How unusual a distance is, from 0 to 4.
fn heat(distance: f64, ordinary: Option<(f64, f64)>) -> u8 {
    let Some((low, high)) = ordinary else {
        return [0.1, 0.2, 0.3, 0.5].iter().filter(|limit| distance > **limit).count() as u8;
    };
    let width = (high - low).max(1e-9);
    let steps = [low + 0.75 * width, high, high + 0.25 * width, high + 0.75 * width];
    steps.iter().filter(|limit| distance > **limit).count() as u8
}

/// Whether a rollout has entered its first stage: until then its forecast is of use.
fn begun(model: &ModelState) -> bool {
    model.active_rollout().is_some_and(|rollout| rollout.current_stage().is_some())
}

fn tone_of(rollout: &RolloutState) -> &'static str {
    let reverted = rollout.guard.as_ref().and_then(|guard| guard.ended.as_ref()).is_some_and(|end| !end.kept);
    match rollout.finished.as_ref().map(|end| end.outcome) {
        _ if reverted => Tone::Bad.as_str(),
        Some(RolloutOutcome::Promoted) => Tone::Good.as_str(),
        Some(_) => Tone::Bad.as_str(),
        None => Tone::Neutral.as_str(),
    }
}

fn weights(model: &ModelState, now: Timestamp) -> String {
    let mut found = Vec::new();
    for rollout in &model.rollouts {
        let end = rollout.finished.as_ref().map_or(now, |end| end.at);
        for (index, stage) in rollout.stages.iter().enumerate() {
            let to = rollout.stages.get(index + 1).map_or(end, |next| next.entered_at);
            let share =
                if stage.mirror { "copies".to_owned() } else { format!("{:.0} %", 100.0 * stage.weight) };
            let label = format!(
                "{}: {share} from {}",
                rollout.candidate,
                stage.entered_at.strftime("%Y-%m-%d %H:%M")
            );
            found.push(Step {
                from: stage.entered_at,
                to,
                weight: stage.weight,
                class: tone_of(rollout),
                label,
            });
        }
    }
    let from = model.champions.first().map_or(model.declared_at, |reign| reign.since);
    steps("Share of the requests that candidates answered", &found, from, now)
}

fn rollout_row(rollout: &RolloutState) -> RolloutRow {
    let end = rollout.finished.as_ref();
    RolloutRow {
        candidate: rollout.candidate.to_string(),
        began: rollout.started_at.strftime("%Y-%m-%d").to_string(),
        outcome: match rollout.guard.as_ref().and_then(|guard| guard.ended.as_ref()) {
            Some(ended) if !ended.kept => "reverted",
            _ => end.map_or("under way", |end| end.outcome.as_str()),
        },
        tone: tone_of(rollout),
        exposed: end.map_or(String::new(), |end| end.exposed.to_string()),
        why: match (end, rollout.verdicts.last()) {
            (_, Some(verdict)) => verdict.verdict.explanation.clone(),
            (Some(end), None) => end.reason.clone(),
            (None, None) => String::new(),
        },
    }
}

fn version_row(model: &ModelState, version: &steersman_ledger::state::VersionState) -> VersionRow {
    let evaluation = version.evaluation.as_ref().map_or("not evaluated".to_owned(), |evaluation| {
        let own = evaluation.candidate;
        let champion =
            evaluation.champion.map_or(String::new(), |champion| format!("; champion {:.4}", champion.value));
        format!(
            "{} {:.4} [{:.4}, {:.4}] on {} records{champion}",
            evaluation.metric, own.value, own.low, own.high, evaluation.rows
        )
    });
    VersionRow {
        version: version.version.to_string(),
        serves: model.champion() == Some(version.version),
        withdrawn: version.fence.clone(),
        registered: version.registered_at.strftime("%Y-%m-%d %H:%M").to_string(),
        note: version.note.clone(),
        artifact: version.artifact.short().to_owned(),
        snapshot: version.snapshot.as_ref().map_or(String::new(), |digest| digest.short().to_owned()),
        evaluation,
    }
}

fn incident_row(incident: &steersman_ledger::state::IncidentState, now: Timestamp) -> IncidentRow {
    let end = incident.resolved.as_ref().map(|(at, _)| *at);
    let lasted = period(end.unwrap_or(now).as_second() - incident.opened_at.as_second());
    IncidentRow {
        opened: incident.opened_at.strftime("%Y-%m-%d %H:%M").to_string(),
        title: incident.title.clone(),
        lasted: if end.is_some() { lasted } else { format!("open for {lasted}") },
        tone: if end.is_some() { "" } else { "bad" },
    }
}

fn traffic(latest: &[&Measurement], telemetry: &ModelTelemetry) -> String {
    let calls: u64 = of_kind(latest, MonitorKind::Errors).iter().map(|measurement| measurement.rows).sum();
    let failed: f64 = of_kind(latest, MonitorKind::Errors)
        .iter()
        .filter_map(|measurement| Some(measurement.reading.value()? * measurement.rows as f64))
        .sum();
    format!(
        "{} records, {} of them labelled; {:.0} of {calls} calls failed.",
        telemetry.records, telemetry.labels, failed
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_domain::measurement::Reading;
    use steersman_domain::{Actor, Entry, Fact, ModelSpec, Period, Version};

    fn state() -> (ModelName, State) {
        let spec = ModelSpec::parse(
            "[model]\nname='delay'\ntask='binary'\nprediction='p'\nlabel={column='y'}\n[data]\nreference='r'\ntime='t'\n",
        )
        .unwrap();
        let model = spec.model.name.clone();
        let facts = [
            Fact::ModelDeclared { model: model.clone(), spec: Box::new(spec), folder: "/".to_owned() },
            Fact::VersionRegistered {
                model: model.clone(),
                version: Version(1),
                artifact: steersman_domain::Digest::of(b"v1"),
                run: None,
                snapshot: None,
                trained_until: None,
                note: "<script>alert(1)</script>".to_owned(),
            },
        ];
        let mut state = State::default();
        for (seq, fact) in facts.into_iter().enumerate() {
            let actor = Actor::Person("ada".to_owned());
            let entry =
                Entry { seq: seq as u64, time: Timestamp::UNIX_EPOCH, actor, because: Vec::new(), fact };
            state.apply(&entry).unwrap();
        }
        (model, state)
    }

    fn measurement(day: i64, revision: u32, value: f64) -> Measurement {
        Measurement {
            monitor: MonitorKind::Performance,
            column: String::new(),
            segment: None,
            metric: "brier".to_owned(),
            window: Window::holding(from_micros(day * 86_400_000_000), Period::from_days(1)),
            revision,
            reading: Reading::between(value, Some(value - 0.01), Some(value + 0.01)),
            ordinary: None,
            rows: 100,
            maturity: Some(1.0),
            details: BTreeMap::new(),
            alarming: false,
            explanation: String::new(),
        }
    }

    #[test]
    fn the_report_stands_alone_escapes_and_takes_the_last_revision() {
        let (model, state) = state();
        let measurements = vec![
            measurement(0, 1, 0.9),
            measurement(0, 0, 0.1),
            measurement(1, 0, 0.2),
            measurement(5, 0, 0.3),
        ];
        let telemetry =
            BTreeMap::from([(model, ModelTelemetry { measurements, ..ModelTelemetry::default() })]);
        let input = ReportInput {
            state: &state,
            telemetry: &telemetry,
            now: Timestamp::UNIX_EPOCH,
            checkpoint: "root",
            program: "0",
        };
        let html = health_report(&input).unwrap();
        assert!(
            html.contains("Everything is on course")
                && html.contains("&#60;script&#62;")
                && !html.contains("<script>")
        );
        assert!(!html.contains("http://") && !html.contains("src="));
        assert!(html.contains("1970-01-01: 0.9") && !html.contains("1970-01-01: 0.1<"));
        // Days 2 to 4 are a gap: the line of two points ends there.
        assert_eq!(html.matches("<polyline").count(), 1);
    }
}
