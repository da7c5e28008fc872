//! Two batches, once: a reference of 5,000 rows, another batch from the same pool.

use crate::flights::{Column, Flights, Random};
use crate::upper_limit;
use steersman_stats::calibration::{
    ColumnEvidence, ColumnTest, CompareOptions, Floors, Sizes, TestEvidence, decide_columns,
    jensen_shannon_beyond_sampling, jensen_shannon_limit, largest_cell_p_value, shares_p_value,
};
use steersman_stats::distance::{chi_square, jensen_shannon};

const REFERENCE: usize = 5_000;
/// The customary rule: Bonferroni at this level.
const CUSTOMARY: f64 = 0.001;

/// A column as codes of its distinct values.
struct Coded {
    numeric: bool,
    values: Vec<f64>,
    codes: Vec<Option<u32>>,
}

impl Coded {
    /// The codes of a column and of a changed copy of it share one table of values.
    fn of(columns: &[&Column]) -> Vec<Self> {
        let mut values: Vec<f64> =
            columns.iter().flat_map(|column| column.values.iter().flatten()).copied().collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let code = |value: &Option<f64>| value.map(|value| values.partition_point(|own| *own < value) as u32);
        columns
            .iter()
            .map(|column| Self {
                numeric: column.numeric,
                values: values.clone(),
                codes: column.values.iter().map(code).collect(),
            })
            .collect()
    }

    fn counts(&self, rows: &[usize]) -> Counts {
        let mut counts = Counts { cells: vec![0; self.values.len()], missing: 0, rows: rows.len() as u64 };
        for &row in rows {
            match self.codes[row] {
                Some(code) => counts.cells[code as usize] += 1,
                None => counts.missing += 1,
            }
        }
        counts
    }

    /// The tests of this column in two batches, the customary p-value first.
    fn tests(&self, before: &Counts, now: &Counts) -> (f64, ColumnEvidence) {
        let floors = Floors::default();
        let missing = TestEvidence {
            test: ColumnTest::Missing,
            p_value: shares_p_value((before.missing, before.rows), (now.missing, now.rows)).unwrap(),
            matters: floors.missing_matters(
                before.missing as f64 / before.rows as f64,
                now.missing as f64 / now.rows as f64,
            ),
        };
        let mut evidence = ColumnEvidence::default();
        let mut customary = 1.0;
        if now.values() > 0 && before.values() > 0 {
            customary = match self.numeric {
                true => self.numeric_tests(before, now, &floors, &mut evidence),
                false => self.categorical_tests(before, now, &floors, &mut evidence),
            };
        }
        if before.missing + now.missing > 0 {
            evidence.tests.push(missing);
        }
        (customary, evidence)
    }

    fn numeric_tests(
        &self,
        before: &Counts,
        now: &Counts,
        floors: &Floors,
        evidence: &mut ColumnEvidence,
    ) -> f64 {
        let sizes = Sizes { reference: before.values(), current: now.values() };
        let (n, m) = (sizes.reference as f64, sizes.current as f64);
        let (mut low, mut high, mut largest, mut area) = (0, 0, 0.0f64, 0.0);
        let (mut sum, mut squares) = (0.0, 0.0);
        for (at, value) in self.values.iter().enumerate() {
            low += before.cells[at];
            high += now.cells[at];
            let apart = (low as f64 / n - high as f64 / m).abs();
            largest = largest.max(apart);
            area += apart * (self.values.get(at + 1).unwrap_or(value) - value);
            sum += before.cells[at] as f64 * value;
            squares += before.cells[at] as f64 * value * value;
        }
        let deviation = (squares / n - (sum / n).powi(2)).max(0.0).sqrt();
        let customary = kolmogorov(largest, n, m);
        let (a, b) = quantile_cells(before, now);
        let distance = jensen_shannon(&a, &b).unwrap();
        let beyond = jensen_shannon_beyond_sampling(distance, sizes, a.len()).unwrap_or(0.0);
        // A Wasserstein distance of samples is about sqrt(h) / 2 standard deviations without any change.
        let matters = area >= floors.deviations * deviation || beyond >= floors.jensen_shannon;
        evidence.tests.push(TestEvidence { test: ColumnTest::Distribution, p_value: customary, matters });
        let p_value = chi_square(&a, &b).map_or(1.0, |test| test.p_value);
        evidence.tests.push(TestEvidence { test: ColumnTest::Cells, p_value, matters });
        let zero = self.values.partition_point(|value| *value < 0.0);
        if self.values.get(zero) == Some(&0.0) && before.cells[zero] + now.cells[zero] > 0 {
            let (hits, own) = (before.cells[zero], now.cells[zero]);
            evidence.tests.push(TestEvidence {
                test: ColumnTest::Zeros,
                p_value: shares_p_value((hits, sizes.reference), (own, sizes.current)).unwrap(),
                matters: floors.missing_matters(hits as f64 / n, own as f64 / m),
            });
        }
        evidence.distance = distance;
        evidence.ordinary_high = jensen_shannon_limit(sizes, a.len().max(2), 0.05).ok();
        customary
    }

    fn categorical_tests(
        &self,
        before: &Counts,
        now: &Counts,
        floors: &Floors,
        evidence: &mut ColumnEvidence,
    ) -> f64 {
        let sizes = Sizes { reference: before.values(), current: now.values() };
        let raw = chi_square(&before.cells, &now.cells).unwrap().p_value;
        let (a, b) = pooled(&before.cells, &now.cells);
        let distance = jensen_shannon(&before.cells, &now.cells).unwrap();
        let filled = before.cells.iter().zip(&now.cells).filter(|(a, b)| **a + **b > 0).count();
        let beyond = jensen_shannon_beyond_sampling(distance, sizes, filled.max(2)).unwrap();
        let matters = floors.shares_matter(&before.cells, &now.cells, beyond);
        let p_value = if a.len() > 1 { chi_square(&a, &b).unwrap().p_value } else { 1.0 };
        evidence.tests.push(TestEvidence { test: ColumnTest::Distribution, p_value, matters });
        let p_value = largest_cell_p_value(&before.cells, &now.cells).unwrap();
        evidence.tests.push(TestEvidence { test: ColumnTest::Cells, p_value, matters });
        evidence.distance = distance;
        evidence.ordinary_high = jensen_shannon_limit(sizes, filled.max(2), 0.05).ok();
        raw
    }
}

struct Counts {
    cells: Vec<u64>,
    missing: u64,
    rows: u64,
}

impl Counts {
    fn values(&self) -> u64 {
        self.rows - self.missing
    }
}

/// `P(K > x)` for Stephens' corrected statistic (*Numerical Recipes*, 3rd ed., section 14.3.3).
fn kolmogorov(statistic: f64, n: f64, m: f64) -> f64 {
    let root = (n * m / (n + m)).sqrt();
    let x = (root + 0.12 + 0.11 / root) * statistic;
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| (if k % 2 == 1 { 2.0 } else { -2.0 }) * (-2.0 * f64::from(k * k) * x * x).exp();
    (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0)
}

/// Up to 20 cells of about equal counts of both batches together, with about 10 current rows each.
fn quantile_cells(before: &Counts, now: &Counts) -> (Vec<u64>, Vec<u64>) {
    let most = (now.values() / 10).clamp(2, 20);
    let target = (before.values() + now.values()).div_ceil(most);
    let (mut a, mut b, mut own) = (Vec::new(), Vec::new(), (0, 0));
    for (x, y) in before.cells.iter().zip(&now.cells) {
        own = (own.0 + x, own.1 + y);
        if own.0 + own.1 >= target {
            a.push(own.0);
            b.push(own.1);
            own = (0, 0);
        }
    }
    match (a.last_mut(), b.last_mut()) {
        // What is left over is less than a cell.
        (Some(last), Some(last_now)) if 2 * (own.0 + own.1) < target => {
            *last += own.0;
            *last_now += own.1;
        }
        _ => {
            a.push(own.0);
            b.push(own.1);
        }
    }
    (a, b)
}

/// Categories of which fewer than 5 current rows are expected become one cell, and join the smallest other if that is
/// still too few.
fn pooled(before: &[u64], now: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let (n, m) = (before.iter().sum::<u64>(), now.iter().sum::<u64>());
    let expected = |cell: &(u64, u64)| (cell.0 + cell.1) as f64 * m as f64 / (n + m) as f64;
    let (mut large, rare): (Vec<_>, Vec<_>) =
        before.iter().copied().zip(now.iter().copied()).partition(|cell| expected(cell) >= 5.0);
    let mut rest = rare.into_iter().fold((0, 0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
    large.sort_by_key(|cell| std::cmp::Reverse(cell.0 + cell.1));
    if rest != (0, 0) && expected(&rest) < 5.0 {
        let smallest = large.pop().unwrap_or((0, 0));
        rest = (rest.0 + smallest.0, rest.1 + smallest.1);
    }
    large.push(rest);
    large.into_iter().filter(|cell| cell.0 + cell.1 > 0).unzip()
}

/// Whether Kolmogorov-Smirnov or chi-square finds any column at Bonferroni 0.001.
pub(crate) fn customary_alarm(flights: &Flights, reference: &[usize], rows: &[usize]) -> bool {
    flights.columns.iter().any(|column| {
        let coded = Coded::of(&[column]).remove(0);
        let (p_value, _) = coded.tests(&coded.counts(reference), &coded.counts(rows));
        p_value <= CUSTOMARY / flights.columns.len() as f64
    })
}

/// The customary rule for one changed column of windows.
pub(crate) struct Customary {
    column: Coded,
    moved: Coded,
    reference: Counts,
    level: f64,
}

impl Customary {
    /// Compares `moved`, a changed copy of the column `at`, with these rows of the column.
    pub(crate) fn of(flights: &Flights, at: usize, moved: &Column, reference: &[usize]) -> Self {
        let mut both = Coded::of(&[&flights.columns[at], moved]);
        let (moved, column) = (both.remove(1), both.remove(0));
        let reference = column.counts(reference);
        Self { column, moved, reference, level: CUSTOMARY / flights.columns.len() as f64 }
    }

    /// Whether the column or its missing values are significant in these rows.
    pub(crate) fn finds(&self, rows: &[usize]) -> bool {
        let now = self.moved.counts(rows);
        let (p_value, evidence) = self.column.tests(&self.reference, &now);
        let missing = evidence.tests.iter().filter(|test| test.test == ColumnTest::Missing);
        missing.map(|test| test.p_value).fold(p_value, f64::min) <= self.level
    }
}

/// The first rows of a random order of all rows.
pub(crate) fn shuffle(order: &mut [usize], first: usize, random: &mut Random) {
    for at in 0..first {
        order.swap(at, at + random.below(order.len() - at));
    }
}

/// Batches from the same pool: every finding is false.
pub(crate) fn false_alarms(flights: &Flights) {
    println!("### Comparison of two batches of one pool (reference 5,000 rows, 12 columns)\n");
    println!(
        "| current rows | checks | KS / chi-square, Bonferroni 0.001: false | significant | false alarms | rate | upper limit (95 %) | family level |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let coded: Vec<Coded> = flights.columns.iter().map(|column| Coded::of(&[column]).remove(0)).collect();
    let options = CompareOptions::default();
    for size in [50, 200, 800, 2_000, 5_000] {
        let checks = 40_000;
        let (mut customary, mut significant, mut alarms) = (0, 0, 0);
        let mut order: Vec<usize> = (0..flights.rows()).collect();
        let mut random = Random(size as u64);
        for _ in 0..checks {
            shuffle(&mut order, REFERENCE + size, &mut random);
            let (reference, current) = order[..REFERENCE + size].split_at(REFERENCE);
            let (p_values, evidence): (Vec<f64>, Vec<ColumnEvidence>) = coded
                .iter()
                .map(|column| column.tests(&column.counts(reference), &column.counts(current)))
                .unzip();
            let decided = decide_columns(&evidence, &options).unwrap();
            customary += usize::from(p_values.iter().any(|p| *p <= CUSTOMARY / coded.len() as f64));
            significant += usize::from(decided.iter().any(|column| column.p_value <= options.family_level));
            alarms += usize::from(decided.iter().any(|column| column.drifted));
        }
        println!(
            "| {size} | {checks} | {customary} | {significant} | {alarms} | {:.4} | {:.4} | {} |",
            alarms as f64 / checks as f64,
            upper_limit(alarms, checks),
            options.family_level
        );
    }
    println!();
}

type Change = Box<dyn Fn(usize, Option<f64>) -> Option<f64>>;

/// Whether a row is among the changed ones.
fn chosen(row: usize, share: f64) -> bool {
    Random(row as u64 ^ 0x5eed).uniform() < share
}

/// The graded changes of a column: mean +0.1 sd, spread +25 %, 1 to 10 % zeros or 2 to 10 % of rows to one category.
fn changes(column: &Column) -> Vec<(String, Change)> {
    let known: Vec<f64> = column.values.iter().flatten().copied().collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let deviation = (known.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / known.len() as f64).sqrt();
    if column.numeric {
        let mut list: Vec<(String, Change)> = vec![
            ("mean + 0.1 sd".to_owned(), Box::new(move |_, value| value.map(|x| x + 0.1 * deviation))),
            ("spread + 25 %".to_owned(), Box::new(move |_, value| value.map(|x| mean + 1.25 * (x - mean)))),
        ];
        for percent in [1, 2, 5, 10] {
            let share = f64::from(percent) / 100.0;
            let change: Change =
                Box::new(move |row, value| if chosen(row, share) { Some(0.0) } else { value });
            list.push((format!("{percent} % zeros"), change));
        }
        return list;
    }
    let mut counts = vec![0u64; known.iter().fold(0.0f64, |a, b| a.max(*b)) as usize + 1];
    known.iter().for_each(|code| counts[*code as usize] += 1);
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&code| counts[code]);
    let mut list: Vec<(String, Change)> = Vec::new();
    for (which, code) in [("most frequent", order[order.len() - 1]), ("a middling", order[order.len() / 2])] {
        for percent in [2, 5, 10] {
            let share = f64::from(percent) / 100.0;
            let change: Change =
                Box::new(move |row, value| if chosen(row, share) { Some(code as f64) } else { value });
            list.push((format!("{percent} % of rows to {which} category"), change));
        }
    }
    list
}

/// How often the changed column is found in 800 rows.
pub(crate) fn power(flights: &Flights) {
    println!("### Power: graded changes of one column in 800 rows against 5,000, share found\n");
    println!(
        "| change | columns | runs | KS / chi-square, Bonferroni 0.001 | found | least lead over it in any column |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let runs = 400;
    let mut table: Vec<(String, Vec<(usize, usize)>)> = Vec::new();
    let plain: Vec<Coded> = flights.columns.iter().map(|column| Coded::of(&[column]).remove(0)).collect();
    for (at, column) in flights.columns.iter().enumerate() {
        for (name, change) in changes(column) {
            let changed = column.changed(change);
            let both = Coded::of(&[column, &changed]);
            let mut random = Random(77);
            let mut order: Vec<usize> = (0..flights.rows()).collect();
            let mut found = (0, 0);
            for _ in 0..runs {
                shuffle(&mut order, REFERENCE + 800, &mut random);
                let (reference, current) = order[..REFERENCE + 800].split_at(REFERENCE);
                let (p_value, evidence) = both[0].tests(&both[0].counts(reference), &both[1].counts(current));
                // The other columns are as they were: only that they are there matters to Holm.
                let mut columns = vec![
                    ColumnEvidence {
                        tests: vec![TestEvidence { test: ColumnTest::Cells, p_value: 1.0, matters: false }],
                        ..ColumnEvidence::default()
                    };
                    plain.len()
                ];
                columns[at] = evidence;
                found.0 += usize::from(p_value <= CUSTOMARY / plain.len() as f64);
                found.1 +=
                    usize::from(decide_columns(&columns, &CompareOptions::default()).unwrap()[at].drifted);
            }
            match table.iter_mut().find(|(own, _)| *own == name) {
                Some((_, list)) => list.push(found),
                None => table.push((name, vec![found])),
            }
        }
    }
    for (name, list) in table {
        let share = |pick: fn(&(usize, usize)) -> usize| {
            list.iter().map(pick).sum::<usize>() as f64 / (runs * list.len()) as f64
        };
        let lead = list.iter().map(|found| found.1 as i64 - found.0 as i64).min().unwrap_or(0);
        println!(
            "| {name} | {} | {} | {:.3} | {:.3} | {:+.3} |",
            list.len(),
            runs * list.len(),
            share(|found| found.0),
            share(|found| found.1),
            lead as f64 / runs as f64
        );
    }
    println!();
}
