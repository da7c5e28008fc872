//! Tests of the table of two rows of counts, reference and current. Both rows are samples: the reference's own uncertainty
//! counts.

use super::Test;
use super::shares::{chi_square_tail, totals};
use crate::error::StatsError;
use crate::random::Random;
use statrs::distribution::{ContinuousCDF as _, Normal};

/// Cells are pooled, and shares tested exactly, where fewer than this many are expected.
const LEAST_EXPECTED: f64 = 5.0;
/// Pooling may take this share of all rows.
const MOST_POOLED: f64 = 0.2;
/// Tables dealt for a Monte Carlo p-value.
const DEALS: u32 = 999;
/// Tables whose likelihood or statistic differs by less than this, relatively, are equally far out.
const EQUAL: f64 = 1e-7;

/// The cells that are not empty on both sides, as numbers, with the totals of the rows.
struct Table {
    cells: Vec<(f64, f64)>,
    rows: (f64, f64),
}

impl Table {
    fn new(reference: &[u64], current: &[u64]) -> Result<Self, StatsError> {
        let rows = totals(reference, current)?;
        let filled = reference.iter().zip(current).filter(|(a, b)| **a > 0 || **b > 0);
        Ok(Self { cells: filled.map(|(&a, &b)| (a as f64, b as f64)).collect(), rows })
    }

    fn total(&self) -> f64 {
        self.rows.0 + self.rows.1
    }

    /// What is expected in the smaller row of a cell.
    fn least_expected(&self, cell: &(f64, f64)) -> f64 {
        (cell.0 + cell.1) * self.rows.0.min(self.rows.1) / self.total()
    }

    /// The sum of `term(observed, expected)`, and the probability of one at least as large.
    fn test(&self, term: impl Fn(f64, f64) -> f64) -> Result<Test, StatsError> {
        let (n, m) = self.rows;
        let of = |(a, b): &(f64, f64)| {
            let share = (a + b) / (n + m);
            term(*a, share * n) + term(*b, share * m)
        };
        let statistic = match self.cells.len() {
            0 | 1 => 0.0,
            _ => self.cells.iter().map(of).sum::<f64>().max(0.0),
        };
        Ok(Test { statistic, p_value: chi_square_tail(statistic, self.cells.len() - 1)? })
    }

    /// A count moved by up to one half towards what is expected, in a table of two cells (F. Yates, Supplement to the
    /// Journal of the Royal Statistical Society 1, 1934).
    fn corrected(&self, observed: f64, expected: f64) -> f64 {
        match self.cells.len() {
            2 => observed + (expected - observed).clamp(-0.5, 0.5),
            _ => observed,
        }
    }
}

fn pearson(observed: f64, expected: f64) -> f64 {
    (observed - expected).powi(2) / expected
}

fn likelihood_ratio(observed: f64, expected: f64) -> f64 {
    if observed > 0.0 { 2.0 * observed * (observed / expected).ln() } else { 0.0 }
}

/// Pearson's chi-square test of homogeneity of two rows of counts, without continuity correction; cells that are empty
/// on both sides are left out. The same as `scipy.stats.chi2_contingency(correction=False)`. The p-value holds where at
/// least 5 are expected in each cell; otherwise take [`chi_square_pooled`].
///
/// ```
/// let test = steersman_stats::distance::chi_square(&[10, 20], &[20, 10]).unwrap();
/// assert!((test.statistic - 6.666_667).abs() < 1e-6 && (test.p_value - 0.009_823_3).abs() < 1e-6);
/// ```
pub fn chi_square(reference: &[u64], current: &[u64]) -> Result<Test, StatsError> {
    Table::new(reference, current)?.test(pearson)
}

/// [`chi_square`] with Yates' correction where there are two cells: the default of `scipy.stats.chi2_contingency`, and
/// NannyML's.
///
/// ```
/// let test = steersman_stats::distance::chi_square_corrected(&[10, 20], &[20, 10]).unwrap();
/// assert!((test.statistic - 5.4).abs() < 1e-9 && (test.p_value - 0.020_137).abs() < 1e-6);
/// ```
pub fn chi_square_corrected(reference: &[u64], current: &[u64]) -> Result<Test, StatsError> {
    let table = Table::new(reference, current)?;
    table.test(|observed, expected| pearson(table.corrected(observed, expected), expected))
}

/// G-test of homogeneity, the log likelihood ratio `2 sum O ln(O / E)` of the table (S. S. Wilks, Annals of Mathematical
/// Statistics 9, 1938). The same as `scipy.stats.chi2_contingency(lambda_="log-likelihood", correction=False)`.
///
/// ```
/// let test = steersman_stats::distance::g_test(&[10, 20], &[20, 10]).unwrap();
/// assert!((test.statistic - 6.795_961_5).abs() < 1e-6 && (test.p_value - 0.009_136_9).abs() < 1e-6);
/// ```
pub fn g_test(reference: &[u64], current: &[u64]) -> Result<Test, StatsError> {
    Table::new(reference, current)?.test(likelihood_ratio)
}

/// [`g_test`] with Yates' correction where there are two cells, SciPy's default.
///
/// ```
/// let test = steersman_stats::distance::g_test_corrected(&[10, 20], &[20, 10]).unwrap();
/// assert!((test.statistic - 5.484_065).abs() < 1e-6);
/// ```
pub fn g_test_corrected(reference: &[u64], current: &[u64]) -> Result<Test, StatsError> {
    let table = Table::new(reference, current)?;
    table.test(|observed, expected| likelihood_ratio(table.corrected(observed, expected), expected))
}

/// How a p-value of a table was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By the chi-square law, all cells as they are.
    ChiSquare,
    /// By the chi-square law, after cells with little expected became one.
    Pooled,
    /// By Fisher's exact test of two cells.
    Exact,
    /// By dealing the rows again at random.
    MonteCarlo,
}

/// The result of [`chi_square_pooled`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChiSquare {
    /// Pearson's statistic of the cells that were tested.
    pub statistic: f64,
    /// The p-value.
    pub p_value: f64,
    /// How many cells were tested.
    pub cells: usize,
    /// How the p-value was found.
    pub method: Method,
}

/// [`chi_square`] that also holds for rare categories. An *expected* count is that of the smaller row.
///
/// - At least 5 expected in every cell: the chi-square law.
/// - Otherwise, two cells in all: Fisher's exact test.
/// - The cells below 5 hold at most 20 % of all rows: they become one cell, which joins the smaller of the others if it is
///   still below 5 (W. G. Cochran, Biometrics 10, 1954, on why 5). If that leaves two cells of which
///   one is below 5, Fisher again.
/// - They hold more: the p-value is `(1 + #{as large}) / 1000` among 999 tables that deal the rows again at random with
///   both margins kept (A. C. A. Hope, JRSS B 30, 1968), reproducible by `seed`. So it is valid at any size, and at least
///   0.001.
///
/// ```
/// use steersman_stats::distance::{Method, chi_square_pooled};
/// let pooled = chi_square_pooled(&[900, 800, 6, 4], &[110, 90, 0, 1], 1).unwrap();
/// assert_eq!((pooled.method, pooled.cells), (Method::Pooled, 2)); // the two rare ones joined the second
/// let rare = chi_square_pooled(&[3; 40], &[1; 40], 1).unwrap();
/// assert_eq!((rare.method, rare.p_value), (Method::MonteCarlo, 1.0));
/// ```
pub fn chi_square_pooled(reference: &[u64], current: &[u64], seed: u64) -> Result<ChiSquare, StatsError> {
    let mut table = Table::new(reference, current)?;
    let small = |table: &Table, cell: &(f64, f64)| table.least_expected(cell) < LEAST_EXPECTED;
    let few = table.cells.iter().filter(|cell| small(&table, cell)).fold((0.0, 0.0), add);
    if few == (0.0, 0.0) || table.cells.len() < 2 {
        return chi_square_of(&table, Method::ChiSquare);
    }
    if table.cells.len() > 2 {
        if few.0 + few.1 > MOST_POOLED * table.total() {
            return monte_carlo(&table, seed);
        }
        let mut large: Vec<(f64, f64)> =
            table.cells.iter().copied().filter(|cell| !small(&table, cell)).collect();
        large.sort_by(|a, b| (b.0 + b.1).total_cmp(&(a.0 + a.1)));
        let joined = small(&table, &few).then(|| if large.len() >= 2 { large.pop() } else { None }).flatten();
        large.push(add(few, &joined.unwrap_or_default()));
        table.cells = large;
    }
    if table.cells.len() == 2 && table.cells.iter().any(|cell| small(&table, cell)) {
        let statistic = table.test(pearson)?.statistic;
        let of = |row: f64, cell: f64| (cell as u64, row as u64);
        let cell = table.cells[0];
        let p_value = fisher(of(table.rows.0, cell.0), of(table.rows.1, cell.1))?;
        return Ok(ChiSquare { statistic, p_value, cells: 2, method: Method::Exact });
    }
    chi_square_of(&table, Method::Pooled)
}

fn add(a: (f64, f64), b: &(f64, f64)) -> (f64, f64) {
    (a.0 + b.0, a.1 + b.1)
}

fn chi_square_of(table: &Table, method: Method) -> Result<ChiSquare, StatsError> {
    let Test { statistic, p_value } = table.test(pearson)?;
    Ok(ChiSquare { statistic, p_value, cells: table.cells.len(), method })
}

/// Deals the smaller row out of all rows, without replacement, and counts how often the statistic is as large. With the
/// margins given it rises with `sum x^2 / expected`, which grows by `(2 x + 1) / expected` with each row dealt.
fn monte_carlo(table: &Table, seed: u64) -> Result<ChiSquare, StatsError> {
    let statistic = table.test(pearson)?.statistic;
    let smaller_first = table.rows.0 <= table.rows.1;
    let dealt = table.rows.0.min(table.rows.1) as usize;
    let expected: Vec<f64> = table.cells.iter().map(|cell| table.least_expected(cell)).collect();
    let own = |cell: &(f64, f64)| if smaller_first { cell.0 } else { cell.1 };
    let observed: f64 =
        table.cells.iter().zip(&expected).map(|(cell, expected)| own(cell).powi(2) / expected).sum();
    let ends: Vec<usize> = table
        .cells
        .iter()
        .scan(0, |end, cell| {
            *end += (cell.0 + cell.1) as usize;
            Some(*end)
        })
        .collect();
    let all = table.total() as usize;
    let mut random = Random::new(seed);
    let mut counts = vec![0usize; ends.len()];
    let mut as_large = 0;
    for _ in 0..DEALS {
        counts.fill(0);
        let (mut left, mut sum) = (dealt, 0.0);
        while left > 0 {
            let row = random.below(all);
            let cell = ends.partition_point(|end| *end <= row);
            // The rows of a cell are alike, so let those dealt already be its last: they cannot come again.
            if ends[cell] - row <= counts[cell] {
                continue;
            }
            sum += (2 * counts[cell] + 1) as f64 / expected[cell];
            counts[cell] += 1;
            left -= 1;
        }
        as_large += u32::from(sum >= observed * (1.0 - EQUAL));
    }
    let p_value = f64::from(1 + as_large) / f64::from(1 + DEALS);
    Ok(ChiSquare { statistic, p_value, cells: table.cells.len(), method: Method::MonteCarlo })
}

/// Cramér's V of the two-row table with Bergsma's bias correction (Journal of the Korean Statistical Society 42, 2013),
/// in `[0, 1]`: an effect size that does not grow with the number of rows.
///
/// ```
/// let v = steersman_stats::distance::cramers_v(&[100, 200], &[200, 100]).unwrap();
/// assert!((v - 0.331_1).abs() < 1e-4);
/// ```
pub fn cramers_v(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let table = Table::new(reference, current)?;
    let (total, columns) = (table.total(), table.cells.len() as f64);
    if columns < 2.0 || total < 3.0 {
        return Ok(0.0);
    }
    let phi = (table.test(pearson)?.statistic / total - (columns - 1.0) / (total - 1.0)).max(0.0);
    let columns = columns - (columns - 1.0).powi(2) / (total - 1.0);
    let rows = 2.0 - 1.0 / (total - 1.0);
    let room = columns.min(rows) - 1.0;
    Ok(if room > 0.0 { (phi / room).sqrt().min(1.0) } else { 0.0 })
}

/// Cramér's V without correction, `sqrt(chi^2 / N)` for two rows (`scipy.stats.contingency.association`). It is above
/// zero when nothing differs, by about `sqrt((K - 1) / N)`: prefer [`cramers_v`].
///
/// ```
/// let v = steersman_stats::distance::cramers_v_uncorrected(&[100, 200], &[200, 100]).unwrap();
/// assert!((v - 1.0 / 3.0).abs() < 1e-12);
/// ```
pub fn cramers_v_uncorrected(reference: &[u64], current: &[u64]) -> Result<f64, StatsError> {
    let table = Table::new(reference, current)?;
    Ok((table.test(pearson)?.statistic / table.total()).sqrt().min(1.0))
}

/// Checks that shares are shares.
fn hits_of_trials(sides: [(u64, u64); 2]) -> Result<(), StatsError> {
    for (hits, count) in sides {
        if count == 0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        if hits > count {
            return Err(StatsError::Domain("more hits than trials"));
        }
    }
    Ok(())
}

/// Two-sided test that two shares (`hits` of `count`) are the same: Fisher's exact test where a cell of the table holds
/// fewer than five, the pooled z-test otherwise. The statistic is the z-value in both cases.
///
/// ```
/// let test = steersman_stats::distance::two_proportions((10, 100), (20, 100)).unwrap();
/// assert!((test.p_value - 0.047_67).abs() < 1e-4);
/// let small = steersman_stats::distance::two_proportions((6, 6_175), (2, 96)).unwrap();
/// assert!((small.p_value - 0.006_115_68).abs() < 1e-7); // the z-test would say 6e-8
/// ```
pub fn two_proportions(reference: (u64, u64), current: (u64, u64)) -> Result<Test, StatsError> {
    hits_of_trials([reference, current])?;
    let (n, m) = (reference.1 as f64, current.1 as f64);
    let pooled = (reference.0 as f64 + current.0 as f64) / (n + m);
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    if error == 0.0 {
        return Ok(Test { statistic: 0.0, p_value: 1.0 });
    }
    let statistic = (current.0 as f64 / m - reference.0 as f64 / n) / error;
    let cells = [reference.0, reference.1 - reference.0, current.0, current.1 - current.0];
    let p_value = match cells.iter().any(|&cell| (cell as f64) < LEAST_EXPECTED) {
        true => fisher(reference, current)?,
        false => (2.0 * Normal::standard().sf(statistic.abs())).min(1.0),
    };
    Ok(Test { statistic, p_value })
}

/// Fisher's exact two-sided p-value that two shares (`hits` of `count`) are the same: the probability, with both margins
/// given, of all tables that are no more likely than this one (R. A. Fisher, *Statistical Methods for Research Workers*,
/// 1934; as `scipy.stats.fisher_exact`). Takes time in proportion to the standard deviation of a cell, not to the counts.
///
/// ```
/// let p = steersman_stats::distance::fisher((8, 10), (1, 6)).unwrap();
/// assert!((p - 0.034_965_034_965).abs() < 1e-9); // Fisher's lady would be 2 of these
/// ```
pub fn fisher(reference: (u64, u64), current: (u64, u64)) -> Result<f64, StatsError> {
    hits_of_trials([reference, current])?;
    let (n, m) = (reference.1 as f64, current.1 as f64);
    let hits = reference.0 as f64 + current.0 as f64;
    let (least, most) = ((hits - n).max(0.0), hits.min(m));
    // How much likelier `own + 1` hits in the current row are than `own`.
    let ratio = |own: f64| (m - own) * (hits - own) / ((own + 1.0) * (n - hits + own + 1.0));
    let mode = ((m + 1.0) * (hits + 1.0) / (n + m + 2.0)).floor().clamp(least, most);
    // Tables with their likelihoods relative to the likeliest one, as far as these are not zero.
    let tables = || {
        let upwards = std::iter::successors(Some((mode, 1.0)), |(own, weight)| {
            Some((own + 1.0, weight * ratio(*own))).filter(|next| next.0 <= most && next.1 > 0.0)
        });
        let downwards = std::iter::successors(Some((mode, 1.0)), |(own, weight)| {
            Some((own - 1.0, weight / ratio(own - 1.0))).filter(|next| next.0 >= least && next.1 > 0.0)
        });
        downwards.skip(1).chain(upwards)
    };
    let own = current.0 as f64;
    let observed = tables().find(|table| table.0 == own).map_or(0.0, |table| table.1) * (1.0 + EQUAL);
    let (mut unlikely, mut all) = (0.0, 0.0);
    for (_, weight) in tables() {
        all += weight;
        unlikely += if weight <= observed { weight } else { 0.0 };
    }
    Ok((unlikely / all).min(1.0))
}
