//! Does the truth still follow the predictions as it did? Needs both, on both sides.

use super::Options;
use super::joint::spaced;
use super::time::Blocks;
use steersman_domain::Problem;
use steersman_domain::comparison::{Both, ConceptComparison};
use steersman_domain::schema::DataKind;
use steersman_records::frame::Frame;
use steersman_stats::concept::{ConceptShift, Labelled, concept_shift};

/// Rows of a side that are used; evenly spaced where there are more.
const ROWS: usize = 100_000;
/// Probabilities are cut here before their log odds are taken.
const LEAST_CHANCE: f64 = 1e-6;

/// Predictions and truths of one side, where both are known.
struct Known {
    rows: Vec<usize>,
    outputs: Vec<f64>,
    truths: Vec<f64>,
}

impl Known {
    fn of(frame: &Frame, target: &str, prediction: &str) -> Option<Self> {
        let numbers = |name: &str| {
            let column = frame.column(name)?;
            matches!(column.kind, DataKind::Numeric | DataKind::Boolean).then(|| column.numbers())
        };
        let (truths, outputs) = (numbers(target)?, numbers(prediction)?);
        let known = |row: &usize| matches!((outputs[*row], truths[*row]), (Some(a), Some(b)) if a.is_finite() && b.is_finite());
        let rows: Vec<usize> = (0..frame.rows).filter(known).collect();
        let rows: Vec<usize> = spaced(rows.len(), ROWS).into_iter().map(|place| rows[place]).collect();
        let of = |values: &[Option<f64>]| rows.iter().filter_map(|&row| values[row]).collect::<Vec<f64>>();
        Some(Self { outputs: of(&outputs), truths: of(&truths), rows })
    }

    fn scores(&self, chances: bool) -> Vec<f64> {
        let log_odds = |chance: &f64| {
            let chance = chance.clamp(LEAST_CHANCE, 1.0 - LEAST_CHANCE);
            (chance / (1.0 - chance)).ln()
        };
        if chances { self.outputs.iter().map(log_odds).collect() } else { self.outputs.clone() }
    }

    /// Whether each truth is above its threshold: one half, or where the prediction is a number, that number and `usual`.
    fn labels(&self, binary: bool, usual: f64) -> Vec<bool> {
        let pairs = self.outputs.iter().zip(&self.truths);
        pairs.map(|(output, truth)| if binary { *truth > 0.5 } else { truth - output > usual }).collect()
    }
}

/// Compares the truths of both sides, given the predictions; none where one of them is not named, not there, or too rare.
pub(super) fn follows(
    reference: &Frame,
    current: &Frame,
    blocks: Option<&Blocks<'_>>,
    options: &Options,
) -> Result<Option<ConceptComparison>, Problem> {
    let (Some(target), Some(prediction)) = (&options.target, &options.prediction) else { return Ok(None) };
    let side = |frame| Known::of(frame, target, prediction);
    let (Some(own), Some(other)) = (side(reference), side(current)) else { return Ok(None) };
    let binary = own.truths.iter().chain(&other.truths).all(|truth| *truth == 0.0 || *truth == 1.0);
    let chances =
        binary && own.outputs.iter().chain(&other.outputs).all(|output| (0.0..=1.0).contains(output));
    let usual = if binary { 0.0 } else { median(&own) };
    let places = blocks.map(|blocks| blocks.of_rows(&own.rows));
    let (own_scores, other_scores) = (own.scores(chances), other.scores(chances));
    let (own_labels, other_labels) = (own.labels(binary, usual), other.labels(binary, usual));
    let found = concept_shift(
        Labelled { scores: &own_scores, labels: &own_labels },
        Labelled { scores: &other_scores, labels: &other_labels },
        places.as_deref(),
    );
    // Truths of one kind only, or a handful of rows: there is nothing to compare.
    let Ok(found) = found else { return Ok(None) };
    let certain = found.p_value <= options.level;
    let drifted = certain && found.effect >= options.floors.share;
    Ok(Some(ConceptComparison {
        expected: found.expected,
        observed: found.observed,
        effect: found.effect,
        p_value: found.p_value,
        drifted,
        rows: Both { reference: own.rows.len() as u64, current: other.rows.len() as u64 },
        why: words(&found, target, prediction, binary, (certain, drifted)),
    }))
}

/// How far truths usually are above their predictions.
fn median(known: &Known) -> f64 {
    let mut above: Vec<f64> =
        known.outputs.iter().zip(&known.truths).map(|(output, truth)| truth - output).collect();
    above.sort_by(f64::total_cmp);
    above.get(above.len() / 2).copied().unwrap_or(0.0)
}

fn words(
    found: &ConceptShift,
    target: &str,
    prediction: &str,
    binary: bool,
    (certain, drifted): (bool, bool),
) -> String {
    let what = match binary {
        true => format!("`{target}` is 1"),
        false => format!("`{target}` is above what is usual beside `{prediction}`"),
    };
    let shares = format!(
        "{what} in {:.1} % of the rows, {:.1} % was to be expected of their predictions",
        100.0 * found.observed,
        100.0 * found.expected
    );
    let moved = format!("the chance moved by {:.1} points in the mean", 100.0 * found.effect);
    match (drifted, certain) {
        (true, _) => format!("{shares}; {moved}: the same prediction means something else now"),
        (false, true) => format!("{shares}; {moved}: too little to matter"),
        (false, false) => format!("{shares}: no more than chance and the course of time make"),
    }
}
