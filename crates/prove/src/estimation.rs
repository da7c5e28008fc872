//! The report of an estimation: one HTML page that needs nothing else.

use crate::comparison::{sentence, thousands};
use crate::distribution::{performance, reliability};
use askama::Template;
use steersman_domain::comparison::brief;
use steersman_domain::estimation::{
    Band, Basis, Better, Chunk, Estimation, EstimationTask, LabelledSide, Method, MetricEstimate,
};

#[derive(Template)]
#[template(path = "estimation.html")]
struct Page<'a> {
    style: &'static str,
    program: &'a str,
    found: &'a Estimation,
    headline: String,
    maturity: String,
    blind: String,
    sides: [SideRow; 2],
    method: &'static str,
    with: Shown,
    metrics: Vec<MetricRow>,
    plots: Vec<(String, String, bool)>,
    reliability: String,
    of_class: bool,
    chunks: Vec<ChunkRow>,
    chunk_names: Vec<String>,
}

/// Which columns have numbers.
struct Shown {
    estimated: bool,
    adapted: bool,
    corrected: bool,
    realised: bool,
}

struct SideRow {
    name: &'static str,
    source: String,
    rows: String,
    labelled: String,
    span: String,
}

/// A number with its interval; whether it is the one that is believed.
struct Number {
    value: String,
    range: String,
    believed: bool,
}

struct MetricRow {
    name: String,
    estimated: Number,
    adapted: Number,
    corrected: Number,
    realised: Number,
    reference: String,
    change: String,
    alarm: bool,
    why: String,
}

struct ChunkRow {
    side: &'static str,
    when: String,
    rows: String,
    labelled: String,
    values: Vec<(Number, bool)>,
    alarm: bool,
}

/// The page.
pub fn html(found: &Estimation, program: &str) -> Result<String, askama::Error> {
    let headline = sentence(&found.summary);
    let any = |has: fn(&MetricEstimate) -> bool| found.metrics.iter().any(has);
    let with = Shown {
        estimated: any(|metric| metric.estimated.is_some()),
        adapted: any(|metric| metric.adapted.is_some()),
        corrected: any(|metric| metric.corrected.is_some()),
        realised: any(|metric| metric.realised.is_some()),
    };
    let judged: Vec<&MetricEstimate> =
        found.metrics.iter().filter(|metric| metric.better != Better::Neither).collect();
    let plots = judged
        .iter()
        .map(|metric| {
            let svg = performance(&metric.name.replace('_', " "), &metric.name, &found.chunks, metric);
            let alarm = found
                .chunks
                .iter()
                .any(|chunk| chunk.metrics.iter().any(|own| own.name == metric.name && own.alarm));
            (metric.name.replace('_', " "), svg, alarm || metric.alarm)
        })
        .filter(|(_, svg, _)| !svg.is_empty())
        .collect();
    let shown: Vec<&str> = judged.iter().take(4).map(|metric| metric.name.as_str()).collect();
    Page {
        style: crate::STYLE,
        program,
        found,
        headline,
        maturity: found.maturity.as_ref().map_or(String::new(), |own| sentence(&own.why)),
        blind: sentence(&found.blind),
        sides: [side("Reference", &found.reference), side("Current", &found.current)],
        method: match found.method {
            Method::Cbpe => "confidence-based estimation from calibrated probabilities (CBPE)",
            Method::Dle => "direct loss estimation: a second model knows which rows are hard (DLE)",
        },
        with,
        metrics: found.metrics.iter().map(metric).collect(),
        plots,
        reliability: found.calibration.as_ref().map_or(String::new(), |own| reliability(&own.curve)),
        of_class: found.task == EstimationTask::Multiclass,
        chunks: found.chunks.iter().map(|own| chunk(own, &shown)).collect(),
        chunk_names: shown.iter().map(|name| name.replace('_', " ")).collect(),
    }
    .render()
}

fn side(name: &'static str, side: &LabelledSide) -> SideRow {
    let span = match (side.from, side.to) {
        (Some(from), Some(to)) => {
            format!("{} to {}", from.strftime("%Y-%m-%d %H:%M"), to.strftime("%Y-%m-%d %H:%M"))
        }
        _ => String::new(),
    };
    SideRow {
        name,
        source: side.source.clone(),
        rows: thousands(side.rows as u64),
        labelled: thousands(side.labelled as u64),
        span,
    }
}

fn shown(band: Option<Band>, believed: bool) -> Number {
    match band {
        Some(Band { value, low, high }) => {
            Number { value: brief(value), range: format!("{} to {}", brief(low), brief(high)), believed }
        }
        None => Number { value: "\u{2013}".to_owned(), range: String::new(), believed: false },
    }
}

fn metric(metric: &MetricEstimate) -> MetricRow {
    let is = |basis: Basis| metric.basis == Some(basis);
    let labels = |found: steersman_domain::estimation::FromLabels| Band {
        value: found.value,
        low: found.low,
        high: found.high,
    };
    MetricRow {
        name: metric.name.replace('_', " "),
        estimated: shown(metric.estimated, is(Basis::Estimated)),
        adapted: shown(
            metric.adapted.map(|found| Band { value: found.value, low: found.low, high: found.high }),
            is(Basis::Adapted),
        ),
        corrected: shown(metric.corrected.map(labels), is(Basis::Corrected)),
        realised: shown(metric.realised.map(labels), is(Basis::Realised)),
        reference: metric.reference.map_or("\u{2013}".to_owned(), |band| brief(band.value)),
        change: metric.change.map_or(String::new(), |change| {
            format!("{}{}", if change >= 0.0 { "+" } else { "\u{2212}" }, brief(change.abs()))
        }),
        alarm: metric.alarm,
        why: metric.why.clone().unwrap_or_default(),
    }
}

fn chunk(chunk: &Chunk, names: &[&str]) -> ChunkRow {
    let when = match (chunk.from, chunk.to) {
        (Some(from), Some(to)) => {
            format!("{} to {}", from.strftime("%Y-%m-%d %H:%M"), to.strftime("%Y-%m-%d %H:%M"))
        }
        _ => format!("stretch {}", chunk.index + 1),
    };
    let value = |name: &&str| {
        let metric = chunk.metrics.iter().find(|metric| metric.name == **name);
        (shown(metric.and_then(MetricEstimate::best), false), metric.is_some_and(|metric| metric.alarm))
    };
    ChunkRow {
        side: if chunk.reference { "reference" } else { "current" },
        when,
        rows: thousands(chunk.rows as u64),
        labelled: thousands(chunk.labelled as u64),
        values: names.iter().map(value).collect(),
        alarm: chunk.alarm,
    }
}
