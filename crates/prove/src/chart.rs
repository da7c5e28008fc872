//! Plots as SVG: they scale with the page, follow its light or dark colours, and can be read without colour.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use steersman_domain::time::{from_micros, micros};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 10.0;
const MARK_ROW: f64 = 14.0;
const AXIS: f64 = 24.0;

/// A value at a time, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When; the middle of a window.
    pub at: Timestamp,
    /// The value; none where there is none: the line has a gap there.
    pub value: Option<f64>,
    /// Its interval.
    pub range: Option<(f64, f64)>,
    /// Drawn as a warning.
    pub alarming: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What, in a word or two.
    pub label: String,
    /// `good`, `bad` or `neutral`.
    pub class: &'static str,
}

/// Values over time with intervals, levels and marks.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// What is shown, for people who cannot see it.
    pub title: String,
    /// The values.
    pub points: Vec<Point>,
    /// What was expected, drawn as a dashed line; empty for nothing.
    pub expected: Vec<Point>,
    /// Horizontal lines.
    pub levels: Vec<(f64, String)>,
    /// What happened.
    pub marks: Vec<Mark>,
    /// Height of the plot in pixels.
    pub height: f64,
    /// Draw the mean of this many values as a line; 1 draws the values themselves.
    pub smooth: usize,
}

/// Places times and values on the plot.
struct Scale {
    from: i64,
    to: i64,
    low: f64,
    high: f64,
    top: f64,
    bottom: f64,
}

impl Scale {
    fn x(&self, at: Timestamp) -> f64 {
        let share = (micros(at) - self.from) as f64 / (self.to - self.from).max(1) as f64;
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.bottom - share.clamp(-0.02, 1.02) * (self.bottom - self.top)
    }
}

/// Escapes text for SVG.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// About five round numbers in a range.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let raw = (high - low) / 6.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= raw)
        .unwrap_or(raw);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

pub(crate) fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 || value == 0.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        3
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Dates along the time axis: days, months or years, whatever gives at most nine.
pub(crate) fn dates(from: i64, to: i64) -> Vec<(Timestamp, String)> {
    let days = (to - from) / 86_400_000_000;
    let (start, end) = (from_micros(from).to_zoned(TimeZone::UTC), from_micros(to));
    let mut date = start.date();
    let (format, step) = match days {
        0..=2 => ("%H:%M", jiff::Span::new().hours(6)),
        3..=10 => ("%-d %b", jiff::Span::new().days(1)),
        11..=60 => ("%-d %b", jiff::Span::new().days(7)),
        61..=430 => ("%b", jiff::Span::new().months(1)),
        431..=1_500 => ("%b %Y", jiff::Span::new().months(6)),
        days => ("%Y", jiff::Span::new().years(days / (365 * 9) + 1)),
    };
    if days > 60 {
        date = date.first_of_month();
    }
    let mut found = Vec::new();
    let mut at = date.at(0, 0, 0, 0);
    while found.len() < 16 {
        let Ok(zoned) = at.to_zoned(TimeZone::UTC) else { break };
        if zoned.timestamp() > end {
            break;
        }
        if micros(zoned.timestamp()) >= from {
            found.push((zoned.timestamp(), at.strftime(format).to_string()));
        }
        let Ok(next) = at.checked_add(step) else { break };
        at = next;
    }
    found
}

fn open(svg: &mut String, title: &str, height: f64) {
    let title = escape(title);
    let _ = write!(
        svg,
        r#"<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}"><title>{title}</title>"#
    );
}

fn time_axis(svg: &mut String, scale: &Scale) {
    for (at, label) in dates(scale.from, scale.to) {
        let (x, bottom) = (scale.x(at), scale.bottom);
        let _ = write!(
            svg,
            r#"<line class="tick" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"/><text class="axis" x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            scale.top,
            bottom,
            bottom + 16.0
        );
    }
}

/// Labels of marks in rows, so that none covers another.
fn place_marks(svg: &mut String, marks: &[Mark], scale: &Scale, rows: usize) {
    let mut free = vec![f64::MIN; rows.max(1)];
    for mark in marks {
        let x = scale.x(mark.at);
        let width = 6.2 * mark.label.chars().count() as f64 + 8.0;
        let start = x.min(WIDTH - width);
        let row = free.iter().position(|end| *end < start);
        let _ = write!(
            svg,
            r#"<line class="mark {}" x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{:.1}"><title>{}</title></line>"#,
            mark.class,
            scale.top - 2.0,
            scale.bottom,
            escape(&mark.label)
        );
        if let Some(row) = row {
            free[row] = start + width;
            let y = 11.0 + MARK_ROW * row as f64;
            let label = escape(&mark.label);
            let _ = write!(
                svg,
                r#"<text class="mark {}" x="{:.1}" y="{y:.1}">{label}</text>"#,
                mark.class,
                start + 2.0
            );
        }
    }
}

impl Timeline {
    /// The plot; empty where no point has a value.
    pub fn svg(&self) -> String {
        let all = || self.points.iter().chain(&self.expected);
        let known: Vec<f64> = all().filter_map(|point| point.value).collect();
        let (Some(first), Some(last)) =
            (all().min_by_key(|point| point.at), all().max_by_key(|point| point.at))
        else {
            return String::new();
        };
        if known.is_empty() {
            return String::new();
        }
        let values = known.iter().copied().chain(self.levels.iter().map(|(level, _)| *level));
        let (mut low, mut high) =
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let pad = ((high - low) * 0.08).max(high.abs() * 0.01).max(1e-9);
        (low, high) = (if low >= 0.0 { (low - pad).max(0.0) } else { low - pad }, high + pad);
        let rows = if self.marks.is_empty() { 0 } else { 3 };
        let top = 6.0 + MARK_ROW * rows as f64;
        let height = self.height + top + AXIS;
        let scale =
            Scale { from: micros(first.at), to: micros(last.at), low, high, top, bottom: top + self.height };
        let mut svg = String::new();
        open(&mut svg, &self.title, height);
        for tick in ticks(low, high) {
            let y = scale.y(tick);
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                number(tick)
            );
        }
        time_axis(&mut svg, &scale);
        self.bands(&mut svg, &scale);
        for (level, label) in &self.levels {
            let y = scale.y(*level);
            let _ = write!(
                svg,
                r#"<line class="level" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="level" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - RIGHT,
                WIDTH - RIGHT - 2.0,
                y - 4.0,
                escape(label)
            );
        }
        place_marks(&mut svg, &self.marks, &scale, rows);
        self.lines(&mut svg, &scale, &self.expected, " expected");
        self.lines(&mut svg, &scale, &self.points, "");
        for point in self.points.iter().filter(|point| self.smooth > 1 || point.alarming) {
            let Some(value) = point.value else { continue };
            let class = if point.alarming { "dot bad" } else { "dot" };
            let when = point.at.strftime("%Y-%m-%d");
            let _ = write!(
                svg,
                r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="{}"><title>{when}: {}</title></circle>"#,
                scale.x(point.at),
                scale.y(value),
                if point.alarming { 2.6 } else { 1.5 },
                number(value)
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// Intervals as bands, one for each run of points that have one.
    fn bands(&self, svg: &mut String, scale: &Scale) {
        for run in self.points.split(|point| point.range.is_none()).filter(|run| run.len() > 1) {
            let upper = run.iter().map(|point| (point.at, point.range.map_or(0.0, |range| range.1)));
            let lower = run.iter().rev().map(|point| (point.at, point.range.map_or(0.0, |range| range.0)));
            let corners = upper.chain(lower);
            let place = |(at, value): (Timestamp, f64)| format!("{:.1},{:.1}", scale.x(at), scale.y(value));
            let corners: Vec<String> = corners.map(place).collect();
            let _ = write!(svg, r#"<polygon class="band" points="{}"/>"#, corners.join(" "));
        }
    }

    /// The line, with gaps where there are no values.
    fn lines(&self, svg: &mut String, scale: &Scale, points: &[Point], class: &str) {
        for run in points.split(|point| point.value.is_none()).filter(|run| run.len() > 1) {
            let values: Vec<f64> = run.iter().filter_map(|point| point.value).collect();
            let place = |(index, point): (usize, &Point)| {
                let window = &values[(index + 1).saturating_sub(self.smooth.max(1))..=index];
                let mean = window.iter().sum::<f64>() / window.len() as f64;
                format!("{:.1},{:.1}", scale.x(point.at), scale.y(mean))
            };
            let corners: Vec<String> = run.iter().enumerate().map(place).collect();
            let _ = write!(svg, r#"<polyline class="line{class}" points="{}"/>"#, corners.join(" "));
        }
    }
}

/// One cell of a map: a column in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Start of the window.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// 0 is as usual, 4 far from it; none where nothing is known.
    pub step: Option<u8>,
    /// Whether a signal was on.
    pub alarming: bool,
}

/// How far each column is from the reference, window by window.
pub fn map(title: &str, rows: &[(String, Vec<Cell>)]) -> String {
    let cells = || rows.iter().flat_map(|(_, cells)| cells);
    let (Some(from), Some(to)) = (cells().map(|cell| cell.from).min(), cells().map(|cell| cell.to).max())
    else {
        return String::new();
    };
    let row_height = 18.0;
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let left = (6.5 * longest as f64 + 8.0).clamp(96.0, 240.0);
    let bottom = 4.0 + row_height * rows.len() as f64;
    let scale = Scale { from: micros(from), to: micros(to), low: 0.0, high: 1.0, top: 4.0, bottom };
    let x = |at: Timestamp| left + (scale.x(at) - LEFT) / (WIDTH - LEFT - RIGHT) * (WIDTH - left - RIGHT);
    let mut svg = String::new();
    open(&mut svg, title, bottom + AXIS);
    for (row, (name, cells)) in rows.iter().enumerate() {
        let y = 4.0 + row_height * row as f64;
        let _ = write!(
            svg,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            left - 6.0,
            y + 12.5,
            escape(name)
        );
        // Neighbours that look the same are one rectangle.
        let runs = cells.chunk_by(|a, b| a.step == b.step && a.alarming == b.alarming && a.to == b.from);
        for run in runs {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let Some(step) = first.step else { continue };
            let (start, width) = (x(first.from), x(last.to) - x(first.from));
            let words = ["as usual", "a little unusual", "unusual", "very unusual", "far from the reference"];
            let signal = if first.alarming { ", signal on" } else { "" };
            let _ = write!(
                svg,
                r#"<rect class="heat{step}" x="{start:.1}" y="{:.1}" width="{width:.1}" height="{:.1}"><title>{} from {}: {}{signal}</title></rect>"#,
                y + 1.0,
                row_height - 4.0,
                escape(name),
                first.from.strftime("%Y-%m-%d"),
                words[usize::from(step.min(4))]
            );
            if first.alarming {
                let _ = write!(
                    svg,
                    r#"<rect class="signal" x="{start:.1}" y="{:.1}" width="{width:.1}" height="2"/>"#,
                    y + row_height - 3.0
                );
            }
        }
    }
    for (at, label) in dates(scale.from, scale.to) {
        let _ = write!(
            svg,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
            x(at),
            bottom + 16.0
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A stretch of time with a weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// From then,
    pub from: Timestamp,
    /// until then,
    pub to: Timestamp,
    /// this share in `[0, 1]`.
    pub weight: f64,
    /// `good`, `bad` or `neutral`.
    pub class: &'static str,
    /// In words.
    pub label: String,
}

/// Which share of the requests candidates got, and how it ended.
pub fn steps(title: &str, steps: &[Step], from: Timestamp, to: Timestamp) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let scale = Scale { from: micros(from), to: micros(to), low: 0.0, high: 1.0, top: 8.0, bottom: 88.0 };
    let mut svg = String::new();
    open(&mut svg, title, scale.bottom + AXIS);
    for (share, label) in [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")] {
        let y = scale.y(share);
        let _ = write!(
            svg,
            r#"<line class="grid" x1="{LEFT}" x2="{:.1}" y1="{y:.1}" y2="{y:.1}"/><text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
    time_axis(&mut svg, &scale);
    for step in steps {
        // Copies without answers still show as a thin line.
        let top = scale.y(step.weight).min(scale.bottom - 3.0);
        let width = (scale.x(step.to) - scale.x(step.from)).max(1.0);
        let _ = write!(
            svg,
            r#"<rect class="step {}" x="{:.1}" y="{top:.1}" width="{width:.1}" height="{:.1}"><title>{}</title></rect>"#,
            step.class,
            scale.x(step.from),
            scale.bottom - top,
            escape(&step.label)
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(day: i64, value: Option<f64>) -> Point {
        let at = from_micros(day * 86_400_000_000);
        Point { at, value, range: value.map(|value| (value - 0.1, value + 0.1)), alarming: false }
    }

    #[test]
    fn a_missing_value_is_a_gap_and_text_is_escaped() {
        let points = [Some(1.0), Some(2.0), None, Some(3.0), Some(4.0)];
        let points = points.into_iter().enumerate().map(|(day, value)| point(day as i64, value)).collect();
        let title = "a <b>".to_owned();
        let (expected, levels, marks) = Default::default();
        let svg = Timeline { title, points, expected, levels, marks, height: 100.0, smooth: 1 }.svg();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<polygon").count(), 2);
        assert!(svg.contains("a &lt;b&gt;") && !svg.contains("<b>"));
    }

    #[test]
    fn round_numbers_and_dates_along_the_axes() {
        assert_eq!(ticks(0.0, 0.4).len(), 5); // 0, 0.1, ... 0.4
        let year = dates(1_356_998_400_000_000, 1_356_998_400_000_000 + 364 * 86_400_000_000);
        assert_eq!(year.len(), 12);
        assert_eq!(year[1].1, "Feb");
        for days in [1, 9, 60, 430, 1_400, 5_000, 40_000] {
            let labels = dates(1_356_998_400_000_000, 1_356_998_400_000_000 + days * 86_400_000_000);
            assert!((2..=16).contains(&labels.len()), "{days} days: {labels:?}");
        }
    }
}
