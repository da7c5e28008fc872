//! The report of a comparison: one HTML page that needs nothing else.

use crate::distribution::{categories, course, histogram, quantiles};
use askama::Template;
use steersman_domain::comparison::{ColumnComparison, ColumnSummary, Comparison, Shape, Side, brief};
use steersman_domain::schema::DataKind;

/// Columns whose plots are drawn; drifted ones first.
const DRAWN: usize = 60;

#[derive(Template)]
#[template(path = "comparison.html")]
struct Page<'a> {
    style: &'static str,
    program: &'a str,
    found: &'a Comparison,
    headline: String,
    sides: [SideRow; 2],
    columns: Vec<ColumnCard>,
    undrawn: usize,
    joint_columns: String,
}

struct SideRow {
    name: &'static str,
    source: String,
    rows: String,
    span: String,
}

struct ColumnCard {
    name: String,
    kind: String,
    drifted: bool,
    moved: String,
    why: String,
    distance: String,
    ordinary: String,
    effect: String,
    harm: String,
    missing: String,
    plots: Vec<(String, String)>,
    figures: Vec<(String, String, String)>,
    distances: Vec<(String, String, String)>,
}

/// The page.
pub fn html(found: &Comparison, program: &str) -> Result<String, askama::Error> {
    let mut order: Vec<&ColumnComparison> = found.columns.iter().collect();
    order.sort_by(|a, b| b.drifted.cmp(&a.drifted).then(a.p_value.total_cmp(&b.p_value)));
    let undrawn = order.len().saturating_sub(DRAWN);
    let columns = order.into_iter().take(DRAWN).map(|column| card(column, found)).collect();
    let joint_columns = found.joint.as_ref().map_or(String::new(), |joint| {
        let parts: Vec<String> =
            joint.columns.iter().map(|(name, share)| format!("{name} {:.0} %", 100.0 * share)).collect();
        parts.join(", ")
    });
    let headline = sentence(&found.summary);
    let sides = [side("Reference", &found.reference), side("Current", &found.current)];
    Page { style: crate::STYLE, program, found, headline, sides, columns, undrawn, joint_columns }.render()
}

fn side(name: &'static str, side: &Side) -> SideRow {
    let span = match (side.from, side.to) {
        (Some(from), Some(to)) => {
            format!("{} to {}", from.strftime("%Y-%m-%d %H:%M"), to.strftime("%Y-%m-%d %H:%M"))
        }
        _ => String::new(),
    };
    SideRow { name, source: side.source.clone(), rows: thousands(side.rows as u64), span }
}

/// Words with a capital letter.
pub(crate) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// A number with commas.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn card(column: &ColumnComparison, found: &Comparison) -> ColumnCard {
    let distance = column.distances.get("jensen_shannon");
    let kind = match column.current_kind {
        Some(now) => format!("{}, now {}", column.kind.as_str(), now.as_str()),
        None => column.kind.as_str().to_owned(),
    };
    let effect = match (column.effect, column.kind) {
        (None, _) => "\u{2013}".to_owned(),
        (Some(effect), DataKind::Numeric | DataKind::Text) => format!("{effect:.2} sd"),
        (Some(effect), _) => format!("{:.1} points", 100.0 * effect),
    };
    ColumnCard {
        name: column.name.clone(),
        kind,
        drifted: column.drifted,
        moved: column.moved.clone(),
        why: column.why.clone(),
        distance: distance.map_or("\u{2013}".to_owned(), |distance| format!("{distance:.3}")),
        ordinary: column
            .ordinary
            .map_or("\u{2013}".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}")),
        effect,
        harm: match (column.harm, &found.harm) {
            (Some(change), Some(harm)) if harm.reference > 0.0 => {
                format!("{:+.1} %", 100.0 * change / harm.reference)
            }
            _ => String::new(),
        },
        missing: missing(column),
        plots: plots(column, found),
        figures: figures(&column.summary.reference, &column.summary.current),
        distances: column
            .distances
            .iter()
            .map(|(name, value)| {
                let p = column.p_values.get(name).map_or(String::new(), |p| format!("{p:.2e}"));
                (name.replace('_', " "), brief(*value), p)
            })
            .collect(),
    }
}

fn missing(column: &ColumnComparison) -> String {
    let (before, now) = (column.missing.reference, column.missing.current);
    match before + now > 0.0 {
        true => format!("{:.1} % \u{2192} {:.1} %", 100.0 * before, 100.0 * now),
        false => "\u{2013}".to_owned(),
    }
}

fn plots(column: &ColumnComparison, found: &Comparison) -> Vec<(String, String)> {
    let name = &column.name;
    let mut plots = Vec::new();
    match &column.shape {
        Shape::Numeric { edges, shares, quantiles: pairs } => {
            plots.push((
                "Distribution".to_owned(),
                histogram(&format!("Distribution of {name}"), edges, shares),
            ));
            let svg = quantiles(&format!("Quantiles of {name}"), pairs);
            plots.push(("Quantiles: reference across, current up".to_owned(), svg));
        }
        Shape::Categories { names, shares, others } => {
            plots.push((
                "Shares".to_owned(),
                categories(&format!("Shares of {name}"), names, shares, *others),
            ));
        }
        Shape::Empty => {}
    }
    if let Some(time) = &found.time {
        let named = match &column.shape {
            Shape::Categories { names, .. } => names.first(),
            _ => None,
        };
        let title = match named {
            Some(category) => format!("Share of `{category}` by {time}"),
            None => format!("Mean by {time}"),
        };
        let svg = course(&format!("{title}, {name}"), &column.timeline, named.is_some());
        plots.push((title, svg));
    }
    plots.retain(|(_, svg)| !svg.is_empty());
    plots
}

fn figures(before: &ColumnSummary, now: &ColumnSummary) -> Vec<(String, String, String)> {
    let mut rows = vec![
        ("values".to_owned(), thousands(before.count), thousands(now.count)),
        ("missing".to_owned(), thousands(before.missing), thousands(now.missing)),
        ("distinct".to_owned(), thousands(before.distinct), thousands(now.distinct)),
    ];
    if before.infinite + now.infinite > 0 {
        rows.push(("infinite".to_owned(), thousands(before.infinite), thousands(now.infinite)));
    }
    let shown = |value: Option<f64>| value.map_or("\u{2013}".to_owned(), brief);
    if before.mean.is_some() || now.mean.is_some() {
        rows.push(("mean".to_owned(), shown(before.mean), shown(now.mean)));
        rows.push(("deviation".to_owned(), shown(before.deviation), shown(now.deviation)));
        for (place, name) in
            ["minimum", "5 %", "25 %", "median", "75 %", "95 %", "maximum"].iter().enumerate()
        {
            let of = |summary: &ColumnSummary| shown(summary.quantiles.map(|quantiles| quantiles[place]));
            rows.push(((*name).to_owned(), of(before), of(now)));
        }
    }
    rows
}
