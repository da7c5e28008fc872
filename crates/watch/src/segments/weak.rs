//! Where a model is worst: segments that nobody declared, found among the labelled records of the champion.
//!
//! The search is [`weak_segments`]: found on one half of the rows, confirmed on the other, with Holm's correction. A model
//! is always worse somewhere, so this raises no alarm; it tells a person where to look, and a signal about performance where
//! it hurts.

use crate::measure::{Finding, finding, loss, own};
use crate::reference::Cells;
use steersman_domain::spec::Metric;
use steersman_domain::time::micros;
use steersman_domain::{Measurement, ModelSpec, MonitorKind, Reading, Schema, Window};
use steersman_records::Table;
use steersman_stats::profile::Bins;
use steersman_stats::segment::{
    Column, ColumnData, Condition, Search, SearchOptions, Values, WeakSegment, weak_segments,
};

/// Numbers are looked at in so many cells.
const CELLS: usize = 5;
/// Fewer labels than this in a segment are no support.
const LEAST_LABELS: u64 = 100;
/// How much worse than the mean loss a segment must be, as a share of it.
const LEAST_EXCESS: f64 = 0.1;
/// The chance that any of the named segments is named in vain.
const ALPHA: f64 = 0.01;
/// So many are told.
const MOST_TOLD: usize = 5;

/// What the search found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weak {
    /// One for the search, and one for each segment, the worst first.
    pub(crate) measurements: Vec<Measurement>,
    /// The worst one, in words; none if nothing stands out.
    pub(crate) words: Option<String>,
}

/// Looks for segments of the champion's labelled records in which its loss is worse than elsewhere. Outputs are not looked
/// at: that unsure answers are wrong more often is no news.
pub(crate) fn weakest(spec: &ModelSpec, schema: &Schema, window: Window, table: &Table) -> Weak {
    let (outputs, labels) = (table.numbers(&spec.model.prediction), table.numbers("label"));
    let rows = own(spec, table);
    let losses: Vec<Option<f64>> =
        rows.iter().map(|&row| Some(loss(spec.model.task, outputs[row]?, labels[row]?))).collect();
    let known: Vec<f64> = losses.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let search = search(schema, table, &rows, &losses, LEAST_EXCESS * mean, window);
    let labelled = known.len() as u64;
    let summary = |reading| finding(MonitorKind::Weak, "", "weak_segments", window, labelled, reading);
    let found = match search {
        Ok(found) => found,
        Err(error) => {
            let reading = Reading::NotComputable { reason: error.to_string() };
            return Weak { measurements: vec![summary(reading).measurement], words: None };
        }
    };
    let mut all = summary(Reading::of(found.segments.len() as f64));
    all.measurement.details.insert("examined".to_owned(), found.examined as f64);
    all.measurement.details.insert("loss".to_owned(), mean);
    let name = match spec.metric() {
        metric @ (Metric::Brier | Metric::Mae) => metric.as_str(),
        _ => "mean loss",
    };
    let told = |weak: &WeakSegment| {
        let name = format!("{name} {:.4} against {:.4} elsewhere", weak.loss, weak.rest);
        format!("worst where {}: {name}", words(&weak.conditions))
    };
    let worst = found.segments.first().map(told);
    all.measurement.explanation = worst.clone().unwrap_or_else(|| {
        format!("no part of {labelled} labelled predictions is clearly worse than the rest")
    });
    let each = found.segments.iter().take(MOST_TOLD).map(|weak| of(weak, window).measurement);
    Weak { measurements: std::iter::once(all.measurement).chain(each).collect(), words: worst }
}

fn search(
    schema: &Schema,
    table: &Table,
    rows: &[usize],
    losses: &[Option<f64>],
    excess: f64,
    window: Window,
) -> Result<Search, steersman_stats::StatsError> {
    enum Taken {
        Numbers(Vec<Option<f64>>, Bins),
        Texts(Vec<Option<String>>),
    }
    let mut taken: Vec<(&str, Taken)> = Vec::new();
    for column in &schema.features {
        let values = match Cells::of(column, table) {
            Cells::Numbers(values) => {
                let values: Vec<Option<f64>> = rows.iter().map(|&row| values[row]).collect();
                let known: Vec<f64> =
                    values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
                // A column without numbers has nothing to be looked at.
                let Ok(bins) = Bins::quantiles(&known, CELLS) else { continue };
                Taken::Numbers(values, bins)
            }
            Cells::Texts(mut values) => Taken::Texts(rows.iter().map(|&row| values[row].take()).collect()),
        };
        taken.push((&column.name, values));
    }
    let texts: Vec<Vec<Option<&str>>> = taken
        .iter()
        .map(|(_, values)| match values {
            Taken::Texts(values) => values.iter().map(Option::as_deref).collect(),
            Taken::Numbers(..) => Vec::new(),
        })
        .collect();
    let columns: Vec<Column<'_>> = taken
        .iter()
        .zip(&texts)
        .map(|((name, values), texts)| {
            let data = match values {
                Taken::Numbers(values, bins) => ColumnData::Numbers(values, bins),
                Taken::Texts(_) => ColumnData::Categories(texts),
            };
            Column { name, data }
        })
        .collect();
    // The same records are split in the same way.
    let seed = micros(window.start).cast_unsigned();
    let options =
        SearchOptions { labels: LEAST_LABELS, excess, alpha: ALPHA, seed, ..SearchOptions::default() };
    weak_segments(&columns, losses, &options)
}

fn of(weak: &WeakSegment, window: Window) -> Finding {
    let reading = Reading::of(weak.loss);
    let mut found = finding(MonitorKind::Weak, "", "loss", window, weak.labels, reading);
    let measurement = &mut found.measurement;
    measurement.segment = Some(words(&weak.conditions));
    let details = [
        ("loss_elsewhere", weak.rest),
        ("excess", weak.excess.value),
        ("excess_low", weak.excess.low),
        ("excess_high", weak.excess.high),
        ("share", weak.share),
        ("p_value", weak.adjusted_p_value),
    ];
    measurement.details.extend(details.map(|(name, value)| (name.to_owned(), value)));
    measurement.explanation = format!(
        "mean loss {:.4} on {} labels against {:.4} elsewhere; {:.4} more [{:.4}, {:.4}]",
        weak.loss, weak.labels, weak.rest, weak.excess.value, weak.excess.low, weak.excess.high
    );
    found
}

/// The conditions as a person reads them: `origin = JFK and hour > 19`.
fn words(conditions: &[Condition]) -> String {
    let one = |condition: &Condition| {
        let name = &condition.column;
        match &condition.values {
            Values::Category(value) => steersman_domain::measurement::segment_name(name, value),
            Values::OtherCategories => format!("{name} is a rarer value"),
            Values::Missing => format!("{name} is missing"),
            Values::Between { from: None, to: None } => format!("{name} is known"),
            Values::Between { from: Some(from), to: None } => format!("{name} > {}", number(*from)),
            Values::Between { from: None, to: Some(to) } => format!("{name} <= {}", number(*to)),
            Values::Between { from: Some(from), to: Some(to) } => {
                format!("{} < {name} <= {}", number(*from), number(*to))
            }
        }
    };
    conditions.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// A number with four digits that count.
fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value}");
    }
    let digits = (3.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    format!("{value:.digits$}")
}
