//! What was learnt from a sample of the reference, and what it says about the rows of a window.

use super::rows::{Features, columns};
use steersman_stats::StatsError;
use steersman_stats::multivariate::{
    Column, CorrelationReference, DomainDrift, DomainReference, Frequencies, KEPT_VARIANCE, PairValues,
    Reconstruction, ReconstructionDrift, compare_errors,
};

/// Which rows teach, and in which order a classifier meets them: the same rows always say the same.
const SEED: u64 = 7;

/// A classifier's reference, and the plane in which the reference lies.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fitted {
    domain: DomainReference,
    plane: Reconstruction,
    /// Errors of reference rows to which the plane was not fitted, and their mean squares by column.
    errors: Vec<f64>,
    by_column: Vec<f64>,
}

/// What a window looks like to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    pub(super) domain: DomainDrift,
    pub(super) plane: ReconstructionDrift,
    /// Reference rows whose errors were compared with the window's.
    pub(super) errors: usize,
    /// By how much the mean squared error of each column changed.
    pub(super) changed: Vec<f64>,
    /// How far pairs go together as they did.
    pub(super) affinities: PairValues,
}

impl Fitted {
    /// Learns from these rows of a reference.
    pub(super) fn of(features: &Features, rows: &[usize]) -> Result<Self, StatsError> {
        let domain = DomainReference::learn(&columns(&features.part(rows)), SEED)?;
        let every_other =
            |first: usize| -> Vec<usize> { rows.iter().skip(first).step_by(2).copied().collect() };
        let (fit, kept) = (features.part(&every_other(0)), features.part(&every_other(1)));
        let plane = Reconstruction::fit(&columns(&fit), KEPT_VARIANCE)?;
        let (errors, by_column) = (plane.errors(&columns(&kept))?, plane.by_column(&columns(&kept))?);
        Ok(Self { domain, plane, errors, by_column })
    }

    /// Looks at these rows of a table.
    pub(super) fn look(&self, features: &Features, rows: &[usize]) -> Result<Look, StatsError> {
        let part = features.part(rows);
        let part = columns(&part);
        let now = self.plane.by_column(&part)?;
        Ok(Look {
            domain: self.domain.compare(&part, SEED)?,
            affinities: self.domain.company(&part)?,
            plane: compare_errors(&self.errors, &self.plane.errors(&part)?)?,
            errors: self.errors.len(),
            changed: now.iter().zip(&self.by_column).map(|(now, before)| now - before).collect(),
        })
    }
}

/// How rows become scores whose correlations are compared: by rank among the reference's values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scores {
    frequencies: Frequencies,
    ranks: CorrelationReference,
}

impl Scores {
    /// Learns from these rows of a reference.
    pub(super) fn of(features: &Features, rows: &[usize]) -> Result<Self, StatsError> {
        let part = features.part(rows);
        let part = columns(&part);
        let frequencies = Frequencies::learn(&part)?;
        let ranks = with_numbers(&frequencies, &part, CorrelationReference::learn)?;
        Ok(Self { frequencies, ranks })
    }

    /// The correlations of these rows.
    pub(super) fn company(&self, features: &Features, rows: &[usize]) -> Result<PairValues, StatsError> {
        let moments = with_numbers(&self.frequencies, &columns(&features.part(rows)), |numbers| {
            self.ranks.moments(numbers)
        });
        self.ranks.company(&moments?)
    }
}

fn with_numbers<T>(
    frequencies: &Frequencies,
    part: &[Column<'_>],
    then: impl FnOnce(&[&[f64]]) -> Result<T, StatsError>,
) -> Result<T, StatsError> {
    let encoded = frequencies.encode(part)?;
    then(&encoded.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}
