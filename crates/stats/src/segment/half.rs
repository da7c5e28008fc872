//! One half of the rows: the cells of its columns and pairs of columns, counted and ranked.

use super::cells::Coded;
use super::excess::Difference;
use super::search::SearchOptions;
use crate::error::StatsError;
use crate::harm::CellLoss;
use crate::interval::normal_quantile;

/// Pairs are made of at most so many columns: those with the worst cells by themselves.
pub(super) const PAIRED_COLUMNS: usize = 40;
/// For each candidate that is tested, so many are considered before overlapping ones are left out.
const CONSIDERED: usize = 10;

/// Columns with the cells that make a segment.
pub(super) type Segment = Vec<(usize, u8)>;

/// Rows and the losses of those with labels.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) loss: CellLoss,
}

impl Tally {
    fn add(&mut self, loss: Option<f64>) {
        self.rows += 1;
        if let Some(loss) = loss {
            self.loss.update(loss);
        }
    }
}

/// A segment that looks weak.
pub(super) struct Candidate {
    pub(super) segment: Segment,
    pub(super) tally: Tally,
    /// Lower end of the 95 % interval of its excess.
    low: f64,
}

/// One half of the rows.
pub(super) struct Half<'a> {
    /// For each column its number of cells and the cell of each row.
    columns: Vec<(usize, &'a [u8])>,
    losses: &'a [Option<f64>],
    pub(super) total: Tally,
}

impl<'a> Half<'a> {
    pub(super) fn new(coded: &'a [Coded], losses: &'a [Option<f64>], rows: std::ops::Range<usize>) -> Self {
        let columns = coded.iter().map(|column| (column.cells.len(), &column.codes[rows.clone()])).collect();
        let losses = &losses[rows];
        let mut total = Tally::default();
        losses.iter().for_each(|loss| total.add(*loss));
        Self { columns, losses, total }
    }

    /// The best segments that do not overlap, best first, and how many cells were looked at.
    pub(super) fn candidates(&self, options: &SearchOptions) -> Result<(Vec<Candidate>, usize), StatsError> {
        let z = normal_quantile(0.975)?;
        let least_rows = (options.share * self.total.rows as f64).ceil() as u64;
        let least_labels = options.labels.div_ceil(2).max(2);
        let mut found: Vec<Candidate> = Vec::new();
        let mut examined = 0;
        // The excess of each cell of each column, and the best lower end of each column.
        let mut excess: Vec<Vec<f64>> = Vec::with_capacity(self.columns.len());
        let mut ranked: Vec<(f64, usize)> = Vec::with_capacity(self.columns.len());
        let supported = |tally: &Tally| tally.rows >= least_rows && tally.loss.count >= least_labels;
        let compared = |tally: &Tally| Difference::new(&tally.loss, &self.total.loss.without(&tally.loss));
        for (column, &(cells, codes)) in self.columns.iter().enumerate() {
            let mut tallies = vec![Tally::default(); cells];
            for (&code, loss) in codes.iter().zip(self.losses) {
                tallies[usize::from(code)].add(*loss);
            }
            let mut best = f64::NEG_INFINITY;
            let mut alone = vec![f64::NEG_INFINITY; cells];
            for (cell, tally) in tallies.into_iter().enumerate() {
                examined += usize::from(tally.rows > 0);
                let Some(difference) = compared(&tally) else { continue };
                alone[cell] = difference.value;
                if supported(&tally) {
                    let low = difference.value - z * difference.error();
                    best = best.max(low);
                    found.push(Candidate { segment: vec![(column, cell as u8)], tally, low });
                }
            }
            excess.push(alone);
            ranked.push((best, column));
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut paired: Vec<usize> =
            ranked.into_iter().take(PAIRED_COLUMNS).map(|(_, column)| column).collect();
        paired.sort_unstable();
        for (at, &left) in paired.iter().enumerate() {
            for &right in &paired[at + 1..] {
                let ((_, left_codes), (width, right_codes)) = (self.columns[left], self.columns[right]);
                let mut tallies = vec![Tally::default(); self.columns[left].0 * width];
                for ((&a, &b), loss) in left_codes.iter().zip(right_codes).zip(self.losses) {
                    tallies[usize::from(a) * width + usize::from(b)].add(*loss);
                }
                for (cell, tally) in tallies.into_iter().enumerate() {
                    examined += usize::from(tally.rows > 0);
                    let (a, b) = (cell / width, cell % width);
                    let Some(difference) = compared(&tally).filter(|_| supported(&tally)) else { continue };
                    let low = difference.value - z * difference.error();
                    if low > excess[left][a].max(excess[right][b]) {
                        let segment = vec![(left, a as u8), (right, b as u8)];
                        found.push(Candidate { segment, tally, low });
                    }
                }
            }
        }
        found.retain(|candidate| candidate.low > options.excess);
        found.sort_by(|a, b| b.low.total_cmp(&a.low).then_with(|| a.segment.cmp(&b.segment)));
        found.truncate(options.beam.saturating_mul(CONSIDERED));
        Ok((self.distinct(found, options.beam), examined))
    }

    /// Leaves out what shares more than half of its rows, or of the other's, with a better candidate.
    fn distinct(&self, candidates: Vec<Candidate>, most: usize) -> Vec<Candidate> {
        let mut kept: Vec<(Candidate, Vec<bool>)> = Vec::new();
        for candidate in candidates {
            if kept.len() >= most {
                break;
            }
            let members: Vec<bool> =
                (0..self.losses.len()).map(|row| self.holds(&candidate.segment, row)).collect();
            let overlaps = |(better, others): &(Candidate, Vec<bool>)| {
                let both = members.iter().zip(others).filter(|(own, other)| **own && **other).count() as u64;
                2 * both > candidate.tally.rows.min(better.tally.rows)
            };
            if !kept.iter().any(overlaps) {
                kept.push((candidate, members));
            }
        }
        kept.into_iter().map(|(candidate, _)| candidate).collect()
    }

    fn holds(&self, segment: &Segment, row: usize) -> bool {
        segment.iter().all(|&(column, cell)| self.columns[column].1[row] == cell)
    }

    pub(super) fn tally(&self, segment: &Segment) -> Tally {
        let mut tally = Tally::default();
        for (row, loss) in self.losses.iter().enumerate() {
            if self.holds(segment, row) {
                tally.add(*loss);
            }
        }
        tally
    }
}
