//! Columns that belong together.

use crate::error::StatsError;
use crate::metric::midranks;

/// Columns whose ranks are correlated more than this, up or down, are moved together.
pub const CORRELATED: f64 = 0.8;

/// Groups of columns that hang together by Spearman rank correlations above `threshold` in absolute value:
/// the connected components, so a group may hold two columns that are linked only through a third. Each group
/// lists its columns rising; groups come in the order of their first column. A constant column is a group of
/// its own.
///
/// NaN stands for a missing value and ranks below all others, so columns that are missing together hang
/// together. `O(columns * rows log rows + columns^2 * rows)`: a sample of a few thousand rows is enough.
/// Fails on columns of different length, below three rows, and on a threshold outside `[0, 1]`.
///
/// ```
/// use steersman_stats::harm::{CORRELATED, column_groups};
/// let (a, b, c) = ([1.0, 2.0, 3.0, 4.0], [5.0, 1.0, 7.0, 2.0], [-1.0, -4.0, -9.0, -16.0]);
/// assert_eq!(column_groups(&[&a, &b, &c], CORRELATED).unwrap(), [vec![0, 2], vec![1]]);
/// ```
pub fn column_groups(columns: &[&[f64]], threshold: f64) -> Result<Vec<Vec<usize>>, StatsError> {
    if !(0.0..=1.0).contains(&threshold) {
        return Err(StatsError::Domain("a limit of correlations is between 0 and 1"));
    }
    let rows = columns.first().map_or(0, |column| column.len());
    for column in columns {
        crate::error::paired(rows, column.len(), 3)?;
    }
    let ranks: Vec<Option<Vec<f64>>> = columns.iter().map(|column| unit_ranks(column)).collect();
    // The group of a column is the smallest column that it hangs together with.
    let mut group: Vec<usize> = (0..columns.len()).collect();
    for right in 0..columns.len() {
        for left in 0..right {
            if group[left] == group[right] {
                continue;
            }
            let (Some(a), Some(b)) = (&ranks[left], &ranks[right]) else { continue };
            let correlation: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            if correlation.abs() > threshold {
                let (kept, merged) = (group[left].min(group[right]), group[left].max(group[right]));
                group.iter_mut().filter(|own| **own == merged).for_each(|own| *own = kept);
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for first in 0..columns.len() {
        let members: Vec<usize> = (0..columns.len()).filter(|&column| group[column] == first).collect();
        groups.extend((!members.is_empty()).then_some(members));
    }
    Ok(groups)
}

/// Ranks, centred and of length 1, so that products are correlations; none for a constant column.
fn unit_ranks(column: &[f64]) -> Option<Vec<f64>> {
    let known: Vec<f64> =
        column.iter().map(|&value| if value.is_nan() { f64::NEG_INFINITY } else { value }).collect();
    let mut ranks = midranks(&known);
    let mean = (ranks.len() as f64 + 1.0) / 2.0;
    ranks.iter_mut().for_each(|rank| *rank -= mean);
    let length = ranks.iter().map(|rank| rank * rank).sum::<f64>().sqrt();
    (length > 0.0).then(|| ranks.iter().map(|rank| rank / length).collect())
}
