//! Plots of two distributions: the reference as a grey area or bar, the current data as a coloured line or bar.

use crate::chart::{dates, escape, number};
use crate::plot::{Frame, Layout};
use std::fmt::Write as _;
use steersman_domain::comparison::{Both, TimelinePoint};
use steersman_domain::estimation::{Band, Basis, CalibrationBin, Chunk, FromLabels, MetricEstimate};
use steersman_domain::time::micros;

const WIDTH: f64 = 430.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

const SMALL: Layout =
    Layout { class: "chart small", width: WIDTH, left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM };

/// Two distributions over each other.
pub(crate) fn histogram(title: &str, edges: &[f64], shares: &Both<Vec<f64>>) -> String {
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return String::new() };
    let top = shares.reference.iter().chain(&shares.current).copied().fold(0.0, f64::max);
    let frame = Frame { layout: SMALL, height: 170.0, x: (*first, *last), y: (0.0, (1.05 * top).max(1e-9)) };
    let mut svg = frame.open(title);
    frame.grid(&mut svg, true);
    frame.values_below(&mut svg);
    let corners = |shares: &[f64]| {
        let mut corners = vec![format!("{:.1},{:.1}", frame.x(*first), frame.y(0.0))];
        for (pair, share) in edges.windows(2).zip(shares) {
            let y = frame.y(*share);
            corners.push(format!("{:.1},{y:.1} {:.1},{y:.1}", frame.x(pair[0]), frame.x(pair[1])));
        }
        corners.push(format!("{:.1},{:.1}", frame.x(*last), frame.y(0.0)));
        corners.join(" ")
    };
    let _ = write!(svg, r#"<polygon class="was" points="{}"/>"#, corners(&shares.reference));
    let _ = write!(svg, r#"<polyline class="is" points="{}"/>"#, corners(&shares.current));
    svg.push_str("</svg>");
    svg
}

/// How far each quantile moved: quantiles of the reference across, of the current data upwards, and the diagonal on
/// which nothing moves.
pub(crate) fn quantiles(title: &str, pairs: &[(f64, f64)]) -> String {
    let finite: Vec<(f64, f64)> =
        pairs.iter().copied().filter(|(a, b)| a.is_finite() && b.is_finite()).collect();
    let all = || finite.iter().flat_map(|(a, b)| [*a, *b]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    if finite.len() < 2 || low >= high {
        return String::new();
    }
    let frame = Frame { layout: SMALL, height: 170.0, x: (low, high), y: (low, high) };
    let mut svg = frame.open(title);
    frame.grid(&mut svg, false);
    frame.values_below(&mut svg);
    let _ = write!(
        svg,
        r#"<line class="same" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
        frame.x(low),
        frame.y(low),
        frame.x(high),
        frame.y(high)
    );
    let corners: Vec<String> =
        finite.iter().map(|(a, b)| format!("{:.1},{:.1}", frame.x(*a), frame.y(*b))).collect();
    let _ = write!(svg, r#"<polyline class="is" points="{}"/>"#, corners.join(" "));
    svg.push_str("</svg>");
    svg
}

/// Shares of categories in pairs of bars, one below the other.
pub(crate) fn categories(title: &str, names: &[String], shares: &Both<Vec<f64>>, others: u64) -> String {
    const ROW: f64 = 25.0;
    const NAMES: f64 = 120.0;
    let mut labels: Vec<String> = names.to_vec();
    if others > 0 {
        labels.push(format!("{others} others"));
    }
    let height = ROW * labels.len() as f64 + 6.0;
    let top = shares.reference.iter().chain(&shares.current).copied().fold(0.0, f64::max).max(1e-9);
    let title = escape(title);
    let mut svg = format!(
        r#"<svg class="chart small" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}"><title>{title}</title>"#
    );
    let pairs = shares.reference.iter().zip(&shares.current);
    for (row, (label, (before, now))) in labels.iter().zip(pairs).enumerate() {
        let y = 4.0 + ROW * row as f64;
        let shown: String = match label.chars().count() > 17 {
            true => label.chars().take(16).chain(['\u{2026}']).collect(),
            false => label.clone(),
        };
        let width = |share: f64| share / top * (WIDTH - NAMES - 96.0);
        let _ = write!(
            svg,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{}<title>{}</title></text><rect class="was" x="{NAMES}" y="{y:.1}" width="{:.1}" height="9"/><rect class="is" x="{NAMES}" y="{:.1}" width="{:.1}" height="9"/><text class="axis" x="{:.1}" y="{:.1}">{:.1} &#8594; {:.1} %</text>"#,
            NAMES - 6.0,
            y + 13.0,
            escape(&shown),
            escape(label),
            width(*before),
            y + 10.0,
            width(*now),
            NAMES + width(before.max(*now)) + 6.0,
            y + 13.0,
            100.0 * before,
            100.0 * now
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The course of a column: grey in the reference, coloured in the current data, with intervals.
pub(crate) fn course(title: &str, points: &[TimelinePoint], percent: bool) -> String {
    let known: Vec<&TimelinePoint> = points.iter().filter(|point| point.value.is_some()).collect();
    let (Some(first), Some(last)) =
        (known.iter().map(|point| point.at).min(), known.iter().map(|point| point.at).max())
    else {
        return String::new();
    };
    if known.len() < 3 || first == last {
        return String::new();
    }
    let values = || known.iter().filter_map(|point| point.value);
    let (mut low, mut high) =
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let pad = ((high - low) * 0.12).max(high.abs() * 0.01).max(1e-9);
    (low, high) = (if low >= 0.0 { (low - pad).max(0.0) } else { low - pad }, high + pad);
    let frame = Frame {
        layout: SMALL,
        height: 170.0,
        x: (micros(first) as f64, micros(last) as f64),
        y: (low, high),
    };
    let mut svg = frame.open(title);
    frame.grid(&mut svg, percent);
    for (at, label) in dates(micros(first), micros(last)).into_iter().step_by(2) {
        let _ = write!(
            svg,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            frame.x(micros(at) as f64),
            frame.height - 6.0
        );
    }
    for (reference, class) in [(true, "was"), (false, "is")] {
        let side: Vec<&&TimelinePoint> = known.iter().filter(|point| point.reference == reference).collect();
        let ranged: Vec<_> = side.iter().filter_map(|point| Some((point.at, point.range?))).collect();
        let upper = ranged.iter().map(|(at, range)| (*at, range.1));
        let lower = ranged.iter().rev().map(|(at, range)| (*at, range.0));
        let place = |(at, value): (jiff::Timestamp, f64)| {
            format!("{:.1},{:.1}", frame.x(micros(at) as f64), frame.y(value))
        };
        let band: Vec<String> = upper.chain(lower).map(place).collect();
        let _ = write!(svg, r#"<polygon class="band {class}" points="{}"/>"#, band.join(" "));
        let line: Vec<String> =
            side.iter().filter_map(|point| Some(place((point.at, point.value?)))).collect();
        let _ = write!(svg, r#"<polyline class="line {class}" points="{}"/>"#, line.join(" "));
    }
    svg.push_str("</svg>");
    svg
}

/// A metric over time: what is estimated without labels, in the reference of rows held out (grey) and in the current data
/// (coloured), each with its interval; what labels say as hollow dots, or where some are missing what they correct the
/// estimate to as full ones with whiskers; the reference's value, and the floor, as lines. Alarms are red. Without times
/// the stretches follow each other.
pub(crate) fn performance(title: &str, name: &str, chunks: &[Chunk], whole: &MetricEstimate) -> String {
    let found: Vec<(&Chunk, f64, &MetricEstimate)> = chunks
        .iter()
        .enumerate()
        .filter_map(|(place, chunk)| {
            let at = match (chunk.from, chunk.to) {
                (Some(from), Some(to)) => f64::midpoint(micros(from) as f64, micros(to) as f64),
                _ => place as f64,
            };
            Some((chunk, at, chunk.metrics.iter().find(|metric| metric.name == name)?))
        })
        .collect();
    let drawn = |metric: &MetricEstimate| match metric.basis {
        Some(Basis::Adapted) => metric.best(),
        _ => metric.estimated,
    };
    let bands: Vec<(bool, f64, Band, bool)> = found
        .iter()
        .filter_map(|(chunk, at, metric)| {
            Some((chunk.reference, *at, drawn(metric)?, metric.alarm && metric.realised.is_none()))
        })
        .collect();
    if bands.len() < 2 {
        return String::new();
    }
    // Labels in part are corrected; they are not drawn as if they were the truth.
    let labels: Vec<(f64, FromLabels, &str)> = found
        .iter()
        .filter_map(|(_, at, metric)| {
            let (own, class) = match (metric.corrected, metric.realised, metric.alarm) {
                (Some(corrected), _, false) => (corrected, "corrected"),
                (Some(corrected), _, true) => (corrected, "corrected bad"),
                (None, Some(realised), false) => (realised, "truth"),
                (None, Some(realised), true) => (realised, "truth bad"),
                (None, None, _) => return None,
            };
            Some((*at, own, class))
        })
        .collect();
    let levels: Vec<(f64, &str)> =
        [(whole.reference.map(|band| band.value), "usual"), (whole.floor, "usual floor")]
            .into_iter()
            .filter_map(|(level, class)| Some((level?, class)))
            .collect();
    let values = || {
        bands
            .iter()
            .flat_map(|(_, _, band, _)| [band.low, band.high])
            .chain(labels.iter().flat_map(|(_, found, _)| [found.value, found.low, found.high]))
            .chain(levels.iter().map(|(level, _)| *level))
    };
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let pad = ((high - low) * 0.08).max(high.abs() * 0.005).max(1e-9);
    let places = || bands.iter().map(|(_, at, ..)| *at);
    let frame = Frame {
        layout: SMALL,
        height: 200.0,
        x: (places().fold(f64::INFINITY, f64::min), places().fold(f64::NEG_INFINITY, f64::max)),
        y: (if low >= 0.0 { (low - pad).max(0.0) } else { low - pad }, high + pad),
    };
    let mut svg = frame.open(title);
    frame.grid(&mut svg, false);
    if found.iter().all(|(chunk, ..)| chunk.from.is_some()) {
        let found = dates(frame.x.0 as i64, frame.x.1 as i64);
        let step = found.len().div_ceil(6).max(1);
        for (at, label) in found.into_iter().step_by(step) {
            let x = frame.x(micros(at) as f64);
            let anchor = if x > WIDTH - 30.0 { "end" } else { "middle" };
            let _ = write!(
                svg,
                r#"<text class="axis" x="{x:.1}" y="{:.1}" text-anchor="{anchor}">{label}</text>"#,
                frame.height - 6.0
            );
        }
    }
    for (level, class) in levels {
        let y = frame.y(level);
        let _ = write!(
            svg,
            r#"<line class="{class}" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"><title>{}</title></line>"#,
            WIDTH - RIGHT,
            number(level)
        );
    }
    for (reference, class) in [(true, "was"), (false, "is")] {
        let side: Vec<_> = bands.iter().filter(|band| band.0 == reference).collect();
        let place = |at: f64, value: f64| format!("{:.1},{:.1}", frame.x(at), frame.y(value));
        let upper = side.iter().map(|(_, at, band, _)| place(*at, band.high));
        let lower = side.iter().rev().map(|(_, at, band, _)| place(*at, band.low));
        let corners: Vec<String> = upper.chain(lower).collect();
        let _ = write!(svg, r#"<polygon class="band {class}" points="{}"/>"#, corners.join(" "));
        let line: Vec<String> = side.iter().map(|(_, at, band, _)| place(*at, band.value)).collect();
        let _ = write!(svg, r#"<polyline class="line {class}" points="{}"/>"#, line.join(" "));
        for (_, at, band, _) in side.iter().filter(|(_, _, _, alarm)| *alarm) {
            let _ = write!(
                svg,
                r#"<circle class="dot bad" cx="{:.1}" cy="{:.1}" r="3.4"><title>{}</title></circle>"#,
                frame.x(*at),
                frame.y(band.value),
                number(band.value)
            );
        }
    }
    for (at, own, class) in labels {
        let (x, value) = (frame.x(at), number(own.value));
        let _ = write!(
            svg,
            r#"<line class="whisker labels" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"/><circle class="{class}" cx="{x:.1}" cy="{:.1}" r="2.8"><title>{value} by {} labels</title></circle>"#,
            frame.y(own.low),
            frame.y(own.high),
            frame.y(own.value),
            own.labels
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Scores (grey) and calibrated probabilities (coloured) against shares of positives with their intervals, and the
/// diagonal on which a score is a probability.
pub(crate) fn reliability(curve: &[CalibrationBin]) -> String {
    if curve.len() < 2 {
        return String::new();
    }
    let frame = Frame { layout: SMALL, height: 230.0, x: (0.0, 1.0), y: (0.0, 1.0) };
    let mut svg = frame.open("Scores against shares of positives");
    frame.grid(&mut svg, false);
    frame.values_below(&mut svg);
    let _ = write!(
        svg,
        r#"<line class="same" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
        frame.x(0.0),
        frame.y(0.0),
        frame.x(1.0),
        frame.y(1.0)
    );
    let across = |bin: &CalibrationBin, class: &str| if class == "is" { bin.calibrated } else { bin.score };
    for class in ["was", "is"] {
        let of = |bin: &CalibrationBin| across(bin, class);
        let mut bins: Vec<&CalibrationBin> = curve.iter().collect();
        bins.sort_by(|a, b| of(a).total_cmp(&of(b)));
        let corners: Vec<String> = bins
            .iter()
            .map(|bin| format!("{:.1},{:.1}", frame.x(of(bin)), frame.y(bin.positive.value)))
            .collect();
        let _ = write!(svg, r#"<polyline class="{class}" points="{}"/>"#, corners.join(" "));
        for bin in bins {
            let x = frame.x(of(bin));
            let _ = write!(
                svg,
                r#"<line class="whisker {class}" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"/><circle class="dot {class}" cx="{x:.1}" cy="{:.1}" r="2.6"><title>{}: {} of {} rows</title></circle>"#,
                frame.y(bin.positive.low),
                frame.y(bin.positive.high),
                frame.y(bin.positive.value),
                number(of(bin)),
                number(bin.positive.value),
                bin.rows
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_have_their_marks_and_escape_names() {
        let shares = Both { reference: vec![0.5, 0.5], current: vec![0.2, 0.8] };
        let svg = histogram("x", &[0.0, 1.0, 2.0], &shares);
        assert_eq!((svg.matches("class=\"was\"").count(), svg.matches("class=\"is\"").count()), (1, 1));
        let svg = categories("town", &["<b>".to_owned(), "Bonn".to_owned()], &shares, 0);
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>") && svg.contains("50.0 &#8594; 80.0 %"));
        assert!(quantiles("x", &[(1.0, 1.0), (1.0, 1.0)]).is_empty());
        assert!(quantiles("x", &[(1.0, 2.0), (2.0, 3.0)]).contains("class=\"same\""));
    }
}
