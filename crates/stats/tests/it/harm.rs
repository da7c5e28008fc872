//! Which columns' change explains a change of loss. `tests/fixtures/make_harm.py` makes the fixture.

use crate::random::Random;
use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::StatsError;
use steersman_stats::harm::{
    CellLoss, Method, ShapleyOptions, column_groups, marginal_shift, mix_and_rate, shapley,
};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/harm.json")).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn cell(losses: &[f64]) -> CellLoss {
    losses.iter().copied().collect()
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

/// Interactions within and between columns.
fn crooked(columns: &[&[f64]]) -> Vec<f64> {
    let row = |row: usize| {
        let x = |column: usize| columns[column][row];
        x(0) * x(1) + x(2).sin() * x(3).powi(2) + (x(4) - x(0)).abs()
    };
    (0..columns[0].len()).map(row).collect()
}

#[test]
fn shapley_values_by_definition() {
    let case = &fixture()["shapley"];
    let current: Vec<Vec<f64>> = read(&case["current"]);
    let baseline: Vec<f64> = read(&case["baseline"]);
    let reference: Vec<Vec<f64>> = baseline.iter().map(|&value| vec![value; 40]).collect();
    let groups: Vec<Vec<usize>> = read(&case["groups"]);
    let values: Vec<f64> = read(&case["values"]);
    let options = ShapleyOptions::default();
    let exact = shapley(&slices(&reference), &slices(&current), &groups, &crooked, &options).unwrap();
    assert_eq!((exact.method, exact.evaluations, exact.rows), (Method::Exact, 16, 12));
    for (ours, theirs) in exact.groups.iter().zip(&values) {
        assert!((ours.change.value - theirs).abs() < 1e-9);
        assert_eq!(ours.monte_carlo_error, 0.0);
    }
    assert!((exact.total.value - case["total"].as_f64().unwrap()).abs() < 1e-9);

    // A budget of 15 is below the 16 coalitions: four permutations fit.
    let few = ShapleyOptions { evaluations: 15, ..options };
    let sampled = shapley(&slices(&reference), &slices(&current), &groups, &crooked, &few).unwrap();
    assert_eq!((sampled.method, sampled.evaluations), (Method::Sampled { permutations: 4 }, 14));
    assert!((sampled.total.value - exact.total.value).abs() < 1e-12);
}

#[test]
fn the_monte_carlo_error_is_the_spread_over_permutations() {
    // Twelve columns that all interact, too many coalitions to go through. All rows are the same, so nothing but the
    // permutations varies.
    let of = |side: fn(f64) -> f64| (0..12).map(|index| vec![side(f64::from(index)); 3]).collect::<Vec<_>>();
    let (reference, current) = (of(|_| 0.0), of(|index| (1.0 + index) / 12.0));
    let loss = |columns: &[&[f64]]| vec![columns.iter().map(|column| column[0]).sum::<f64>().powi(4); 3];
    let groups: Vec<Vec<usize>> = (0..12).map(|index| vec![index]).collect();
    let runs: Vec<_> = (0..200)
        .map(|seed| {
            let options = ShapleyOptions { evaluations: 300, seed, ..ShapleyOptions::default() };
            shapley(&slices(&reference), &slices(&current), &groups, &loss, &options).unwrap()
        })
        .collect();
    assert_eq!(runs[0].method, Method::Sampled { permutations: 26 });
    for group in [0, 6, 11] {
        let values = cell(&runs.iter().map(|run| run.groups[group].change.value).collect::<Vec<_>>());
        let stated =
            cell(&runs.iter().map(|run| run.groups[group].monte_carlo_error.powi(2)).collect::<Vec<_>>());
        let ratio = stated.mean().unwrap() / values.variance().unwrap();
        assert!((0.7..1.4).contains(&ratio), "group {group}: {ratio}");
        assert!(runs.iter().all(|run| run.groups[group].sampling_error < 1e-9));
    }
}

#[test]
fn groups_and_budgets_are_checked() {
    let column = [1.0, 2.0];
    let loss = |columns: &[&[f64]]| columns[0].to_vec();
    let run = |groups: &[Vec<usize>], options: &ShapleyOptions| {
        shapley(&[&column, &column], &[&column, &column], groups, &loss, options)
    };
    let options = ShapleyOptions::default();
    for groups in [vec![vec![0]], vec![vec![0], vec![0, 1]], vec![vec![0], vec![1, 2]], vec![]] {
        assert!(matches!(run(&groups, &options), Err(StatsError::Domain(_))), "{groups:?}");
    }
    let groups = [vec![0], vec![1]];
    assert!(run(&groups, &ShapleyOptions { evaluations: 3, ..options }).is_err());
    assert_eq!(
        run(&groups, &ShapleyOptions { rows: 1, ..options }),
        Err(StatsError::TooFew { needed: 2, got: 1 })
    );
    let broken = |_: &[&[f64]]| vec![0.0, f64::NAN];
    assert_eq!(
        shapley(&[&column], &[&column], &[vec![0]], &broken, &options),
        Err(StatsError::NotFinite { row: 1 })
    );
}

#[test]
fn groups_follow_spearman() {
    let case = &fixture()["correlation"];
    let (a, b): (Vec<f64>, Vec<f64>) = (read(&case["a"]), read(&case["b"]));
    let rho = case["rho"].as_f64().unwrap();
    assert_eq!(column_groups(&[&a, &b], rho - 1e-9).unwrap(), [vec![0, 1]]);
    assert_eq!(column_groups(&[&a, &b], rho + 1e-9).unwrap(), [vec![0], vec![1]]);
    // Missing in the same rows, constant, and linked through a third.
    let (gaps, same) = ([f64::NAN, 1.0, f64::NAN, 1.0, 1.0], [7.0; 5]);
    let (gaps_too, constant) = ([f64::NAN, 2.0, f64::NAN, 2.0, 2.0], [f64::NAN; 5]);
    assert_eq!(column_groups(&[&gaps, &same, &gaps_too, &constant], 0.8).unwrap().len(), 3);
}

#[test]
fn the_error_of_a_shift_by_definition() {
    let case = &fixture()["shift"];
    let cells: Vec<Vec<f64>> = read(&case["cells"]);
    let losses: Vec<CellLoss> = cells.iter().map(|losses| cell(losses)).collect();
    let (reference, current): (Vec<u64>, Vec<u64>) = (read(&case["reference"]), read(&case["current"]));
    let shift = marginal_shift(&losses, &reference, &current).unwrap();
    assert!((shift.change.value - case["change"].as_f64().unwrap()).abs() < 1e-9);
    assert!((shift.standard_error - case["error"].as_f64().unwrap()).abs() < 1e-9);
    assert_eq!(shift.uncovered, 0.0);
}

#[test]
fn a_cell_without_losses_counts_with_the_mean_and_is_named() {
    let losses = [cell(&[0.2, 0.4]), cell(&[0.6]), CellLoss::default()];
    let shift = marginal_shift(&losses, &[20, 10, 0], &[20, 10, 10]).unwrap();
    assert_eq!(shift.uncovered, 0.25);
    assert!(shift.change.value.abs() < 1e-12 && shift.cells[2] == 0.0, "{shift:?}");
    assert!(marginal_shift(&losses, &[1, 1], &[1, 1, 1]).is_err());
    assert!(marginal_shift(&[CellLoss::default()], &[1], &[1]).is_err());
}

#[test]
fn the_interval_of_a_shift_holds_the_truth_as_often_as_it_says() {
    // Three cells with mean losses 0.1, 0.3 and 0.8; shares move by a tenth, so the truth is 0.1 * 0.8 - 0.1 * 0.1.
    let (p, q, rates) = ([0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.1, 0.3, 0.8]);
    let mut covered = 0;
    for seed in 0..1_000 {
        let mut random = Random(seed * 7_919 + 1);
        let mut draw = |shares: [f64; 3]| {
            let at = random.uniform();
            let cell = if at < shares[0] {
                0
            } else if at < shares[0] + shares[1] {
                1
            } else {
                2
            };
            (cell, f64::from(u8::from(random.chance(rates[cell]))))
        };
        let (mut losses, mut before, mut now) = ([CellLoss::default(); 3], [0; 3], [0; 3]);
        for _ in 0..400 {
            let (cell, loss) = draw(p);
            losses[cell].update(loss);
            before[cell] += 1;
        }
        (0..300).for_each(|_| now[draw(q).0] += 1);
        let change = marginal_shift(&losses, &before, &now).unwrap().change;
        covered += u32::from(change.low <= 0.07 && 0.07 <= change.high);
    }
    assert!((935..=970).contains(&covered), "{covered} of 1000");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn shares_of_harm_sum_to_the_change(
        seed: u64, groups in 1..5usize, rows in 2..30usize, evaluations in 14..40usize
    ) {
        let mut random = Random(seed);
        let mut columns = || -> Vec<Vec<f64>> {
            (0..5).map(|_| (0..rows).map(|_| random.uniform() * 4.0 - 2.0).collect()).collect()
        };
        let (reference, current) = (columns(), columns());
        let mut partition = vec![Vec::new(); groups];
        (0..5).for_each(|column| partition[column % groups].push(column));
        let options = ShapleyOptions { evaluations, seed, ..ShapleyOptions::default() };
        let found = shapley(&slices(&reference), &slices(&current), &partition, &crooked, &options).unwrap();
        prop_assert!(found.evaluations <= evaluations.max(1 << groups));
        let mean = |columns: &[Vec<f64>]| crooked(&slices(columns)).iter().sum::<f64>() / rows as f64;
        let sum: f64 = found.groups.iter().map(|group| group.change.value).sum();
        prop_assert!((sum - (mean(&current) - mean(&reference))).abs() < 1e-9);
        prop_assert!((sum - found.total.value).abs() < 1e-9);
    }

    #[test]
    fn linear_losses_give_coefficient_times_mean_shift(seed: u64, betas in prop::collection::vec(-3.0..3.0f64, 2..14)) {
        // Up to 13 columns: exact for few, sampled for many, and the same answer.
        let mut random = Random(seed);
        let mut columns = |shift: f64| -> Vec<Vec<f64>> {
            betas.iter().map(|beta| (0..25).map(|_| random.uniform() + shift * beta).collect()).collect()
        };
        let (reference, current) = (columns(0.0), columns(1.0));
        let loss = |columns: &[&[f64]]| -> Vec<f64> {
            (0..25).map(|row| betas.iter().zip(columns).map(|(beta, column)| beta * column[row]).sum()).collect()
        };
        let groups: Vec<Vec<usize>> = (0..betas.len()).map(|column| vec![column]).collect();
        let options = ShapleyOptions { seed, ..ShapleyOptions::default() };
        let found = shapley(&slices(&reference), &slices(&current), &groups, &loss, &options).unwrap();
        let mean = |column: &[f64]| column.iter().sum::<f64>() / 25.0;
        for (index, group) in found.groups.iter().enumerate() {
            let shift = mean(&current[index]) - mean(&reference[index]);
            prop_assert!((group.change.value - betas[index] * shift).abs() < 1e-9);
            prop_assert!(group.monte_carlo_error < 1e-9);
        }
    }

    #[test]
    fn mix_and_rate_sum_to_the_change_of_the_mean(
        before in prop::collection::vec(prop::collection::vec(0.0..10.0f64, 0..6), 3),
        now in prop::collection::vec(prop::collection::vec(0.0..10.0f64, 0..6), 3)
    ) {
        let (rows_before, rows_now) = (before.concat(), now.concat());
        prop_assume!(!rows_before.is_empty() && !rows_now.is_empty());
        let cells = |rows: &[Vec<f64>]| rows.iter().map(|losses| cell(losses)).collect::<Vec<CellLoss>>();
        let parts = mix_and_rate(&cells(&before), &cells(&now)).unwrap();
        let change = cell(&rows_now).mean().unwrap() - cell(&rows_before).mean().unwrap();
        prop_assert!((parts.mix.value + parts.rate.value - change).abs() < 1e-9);
        for part in [parts.mix, parts.rate] {
            prop_assert!(part.low <= part.value && part.value <= part.high);
        }
    }

    #[test]
    fn losses_merge_in_any_order(losses in prop::collection::vec(-10.0..10.0f64, 0..80), cut in 0.0..1.0f64) {
        let middle = (losses.len() as f64 * cut) as usize;
        let (whole, left, right) = (cell(&losses), cell(&losses[..middle]), cell(&losses[middle..]));
        let (mut there, mut back) = (left, right);
        there.merge(&right);
        back.merge(&left);
        prop_assert_eq!(there, back);
        prop_assert!(there.count == whole.count && (there.sum - whole.sum).abs() < 1e-9);
        prop_assert!((there.variance().unwrap_or(0.0) - whole.variance().unwrap_or(0.0)).abs() < 1e-9);
        let rest = whole.without(&left);
        prop_assert!(rest.count == right.count && (rest.sum - right.sum).abs() < 1e-9);
    }
}
