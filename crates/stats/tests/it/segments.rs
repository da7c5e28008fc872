//! Weak segments: what is found, and how often something is found where there is nothing.
//! `tests/fixtures/make_segments.py` makes the fixture.

use crate::random::Random;
use proptest::prelude::*;
use serde_json::Value;
use steersman_stats::StatsError;
use steersman_stats::profile::Bins;
use steersman_stats::segment::{
    Column, ColumnData, Condition, Search, SearchOptions, Values, excess_loss, share, weak_segments,
};

/// Rows with four columns of numbers in `[0, 1)` and two of categories, some values missing.
struct Rows {
    numbers: Vec<Vec<Option<f64>>>,
    categories: Vec<Vec<Option<&'static str>>>,
    losses: Vec<Option<f64>>,
}

const NAMES: [&str; 6] = ["north", "south", "east", "west", "up", "down"];

fn rows(random: &mut Random, count: usize, mut loss: impl FnMut(&[f64], &str, &mut Random) -> f64) -> Rows {
    let (mut numbers, mut categories) = (vec![Vec::new(); 4], vec![Vec::new(); 2]);
    let mut losses = Vec::new();
    for _ in 0..count {
        let values: Vec<f64> = (0..4).map(|_| random.uniform()).collect();
        let place = NAMES[(random.uniform() * 6.0) as usize];
        losses.push(Some(loss(&values, place, random)));
        numbers.iter_mut().zip(&values).for_each(|(column, &value)| column.push(Some(value)));
        categories[0].push(Some(place));
        categories[1].push((!random.chance(0.2)).then_some("known"));
    }
    Rows { numbers, categories, losses }
}

fn search(rows: &Rows, options: &SearchOptions) -> Search {
    let bins =
        Bins::quantiles(&(1..=100).map(|value| f64::from(value) / 100.0).collect::<Vec<_>>(), 5).unwrap();
    let mut columns = Vec::new();
    for (name, values) in ["a", "b", "c", "d"].into_iter().zip(&rows.numbers) {
        columns.push(Column { name, data: ColumnData::Numbers(values, &bins) });
    }
    for (name, values) in ["place", "status"].into_iter().zip(&rows.categories) {
        columns.push(Column { name, data: ColumnData::Categories(values) });
    }
    weak_segments(&columns, &rows.losses, options).unwrap()
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[test]
fn nothing_is_reported_where_nothing_is_weak() {
    type Law = fn(&mut Random) -> f64;
    let laws: [(&str, Law); 4] = [
        ("one error in ten", |random| flag(random.chance(0.1))),
        ("nine errors in ten", |random| flag(random.chance(0.9))),
        ("heavy tail", |random| (1.0 - random.uniform()).powf(-0.4)),
        ("few distinct", |random| (random.uniform() * 3.0).floor()),
    ];
    for (name, law) in laws {
        let runs = 300;
        let reports = (0..runs)
            .filter(|seed| {
                let mut random = Random(seed * 15_485_863);
                let rows = rows(&mut random, 1_000, |_, _, random| law(random));
                let found = search(&rows, &SearchOptions { seed: *seed, ..SearchOptions::default() });
                assert!(found.examined > 200);
                !found.segments.is_empty()
            })
            .count();
        println!("{name}: {reports} of {runs} runs report a segment");
        assert!(reports as f64 <= 0.05 * runs as f64, "{name}: {reports} of {runs}");
    }
}

#[test]
fn a_weak_pair_is_found_and_named() {
    // 8 % errors, 35 % where `a` is above 0.8 in the east: 3.3 % of all rows.
    let wanted = [
        Condition { column: "a".to_owned(), values: Values::Between { from: Some(0.8), to: None } },
        Condition { column: "place".to_owned(), values: Values::Category("east".to_owned()) },
    ];
    let runs = 40;
    let mut found = 0;
    for seed in 0..runs {
        let mut random = Random(seed * 32_452_843);
        let rows = rows(&mut random, 6_000, |values, place, random| {
            flag(random.chance(if values[0] > 0.8 && place == "east" { 0.35 } else { 0.08 }))
        });
        let options = SearchOptions { share: 0.02, seed, ..SearchOptions::default() };
        let result = search(&rows, &options);
        let Some(first) = result.segments.first() else { continue };
        found += usize::from(first.conditions == wanted);
        assert!(first.excess.low <= first.excess.value && first.excess.value <= first.excess.high);
        assert!(first.p_value <= first.adjusted_p_value && first.adjusted_p_value <= 0.05);
        assert!((first.loss - first.rest - first.excess.value).abs() < 1e-12);
    }
    println!("found and named in {found} of {runs} runs");
    assert!(found as f64 >= 0.95 * runs as f64, "{found} of {runs}");
}

#[test]
fn one_condition_is_not_made_two() {
    let mut random = Random(77);
    let rows = rows(&mut random, 8_000, |values, _, random| {
        flag(random.chance(if values[2] <= 0.2 { 0.3 } else { 0.1 }))
    });
    let found = search(&rows, &SearchOptions::default());
    let conditions: Vec<_> = found.segments.iter().map(|segment| segment.conditions.clone()).collect();
    let wanted = Condition { column: "c".to_owned(), values: Values::Between { from: None, to: Some(0.2) } };
    assert_eq!(conditions, [[wanted]]);
    assert!((found.segments[0].share - 0.2).abs() < 0.02);
}

#[test]
fn missing_values_are_a_segment_and_an_excess_can_be_too_small_to_matter() {
    let mut random = Random(78);
    let mut rows = rows(&mut random, 8_000, |_, _, random| random.uniform());
    let missing: Vec<bool> = rows.categories[1].iter().map(Option::is_none).collect();
    rows.losses.iter_mut().flatten().zip(&missing).for_each(|(loss, missing)| *loss += 0.1 * flag(*missing));
    let found = search(&rows, &SearchOptions::default());
    assert_eq!(found.segments.len(), 1);
    assert_eq!(
        found.segments[0].conditions[0],
        Condition { column: "status".to_owned(), values: Values::Missing }
    );
    assert!(search(&rows, &SearchOptions { excess: 0.2, ..SearchOptions::default() }).segments.is_empty());
}

#[test]
fn rows_without_labels_count_for_the_support_alone() {
    let mut random = Random(79);
    let mut rows = rows(&mut random, 6_000, |values, _, random| {
        flag(random.chance(if values[1] > 0.8 { 0.5 } else { 0.1 }))
    });
    // Four in five labels have not arrived.
    rows.losses.iter_mut().enumerate().filter(|(row, _)| row % 5 > 0).for_each(|(_, loss)| *loss = None);
    let found = search(&rows, &SearchOptions::default());
    let segment = &found.segments[0];
    assert_eq!(segment.conditions[0].column, "b");
    assert!((segment.share - 0.2).abs() < 0.03 && (200..280).contains(&segment.labels), "{segment:?}");
    let many = SearchOptions { labels: 300, ..SearchOptions::default() };
    assert!(search(&rows, &many).segments.is_empty());
}

#[test]
fn the_budget_bounds_the_rows_and_the_seed_the_answer() {
    let mut random = Random(80);
    let rows = rows(&mut random, 5_000, |values, _, random| flag(random.chance(0.5 * values[3])));
    // Six columns and fifteen pairs.
    let options = SearchOptions { visits: 21 * 2_000, ..SearchOptions::default() };
    let found = search(&rows, &options);
    assert_eq!(found.rows, 2_000);
    assert_eq!(found, search(&rows, &options));
    assert_eq!(search(&rows, &SearchOptions::default()).rows, 5_000);
}

#[test]
fn what_cannot_be_searched_is_said() {
    let bins = Bins::quantiles(&[1.0, 2.0], 2).unwrap();
    let values = [Some(1.0); 60];
    let columns = [Column { name: "x", data: ColumnData::Numbers(&values, &bins) }];
    let mut losses = [Some(0.5); 60];
    let options = SearchOptions::default();
    assert_eq!(
        weak_segments(&columns, &losses[..59], &options),
        Err(StatsError::Length { left: 59, right: 60 })
    );
    // A constant loss: nothing to find, and nothing to divide by.
    assert!(weak_segments(&columns, &losses, &options).unwrap().segments.is_empty());
    assert!(weak_segments(&[], &losses, &options).unwrap().segments.is_empty());
    losses[7] = Some(f64::INFINITY);
    assert_eq!(weak_segments(&columns, &losses, &options), Err(StatsError::NotFinite { row: 7 }));
    assert!(matches!(
        weak_segments(&columns, &[None; 60], &options),
        Err(StatsError::TooFew { needed: 50, .. })
    ));
    losses[7] = Some(1e200);
    assert!(matches!(weak_segments(&columns, &losses, &options), Err(StatsError::Domain(_))));
    let fine = Bins::quantiles(&(0..500).map(f64::from).collect::<Vec<_>>(), 100).unwrap();
    let columns = [Column { name: "x", data: ColumnData::Numbers(&values, &fine) }];
    assert!(matches!(weak_segments(&columns, &[Some(0.0); 60], &options), Err(StatsError::Domain(_))));
}

#[test]
fn excess_as_welch() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/segments.json")).unwrap();
    for case in fixture["welch"].as_array().unwrap() {
        let of = |name: &str| -> Vec<f64> { serde_json::from_value(case[name].clone()).unwrap() };
        let (segment, rest) = (of("segment").into_iter().collect(), of("rest").into_iter().collect());
        let number = |name: &str| case[name].as_f64().unwrap();
        let ours = excess_loss(&segment, &rest, number("least")).unwrap();
        if case["plain"].as_bool().unwrap() {
            assert!((ours.p_value - number("p")).abs() < 1e-9, "{} {}", ours.p_value, number("p"));
            assert!((ours.difference.low - number("low")).abs() < 1e-9);
            assert!((ours.difference.high - number("high")).abs() < 1e-9);
        } else {
            assert!(
                ours.difference.low <= number("low") + 1e-9 && ours.difference.high >= number("high") - 1e-9
            );
        }
    }
    // Thirty equal losses of a segment, where elsewhere one in ten differs, prove little.
    let (segment, rest) = ([1.0; 30].into_iter().collect(), (0..500).map(|row| flag(row % 10 > 0)).collect());
    assert!(excess_loss(&segment, &rest, 0.0).unwrap().p_value > 0.02);
}

proptest! {
    #[test]
    fn shares_of_alpha_sum_to_it(alpha in 1e-6..1.0f64, values in prop::collection::vec(0..400usize, 0..8)) {
        let shares = share(alpha, &values).unwrap();
        let segments: f64 = values.iter().zip(&shares.segments).map(|(&count, share)| count as f64 * share).sum();
        prop_assert!((shares.whole + segments - alpha).abs() < 1e-12);
        prop_assert!(shares.whole >= 0.5 * alpha);
    }

    #[test]
    fn an_excess_is_a_probability_and_shrinks_with_the_difference(
        segment in prop::collection::vec(-5.0..5.0f64, 2..40),
        rest in prop::collection::vec(-5.0..5.0f64, 2..40),
        by in 0.0..3.0f64
    ) {
        let p = |by: f64| {
            let moved = segment.iter().map(|loss| loss + by).collect();
            excess_loss(&moved, &rest.iter().copied().collect(), by).unwrap().p_value
        };
        // Moving the segment and the least excess that matters alike changes the spread of all losses alone.
        prop_assert!((0.0..=1.0).contains(&p(0.0)) && (0.0..=1.0).contains(&p(by)));
        let rest = rest.iter().copied().collect();
        let segment = segment.iter().copied().collect();
        let least = |least: f64| excess_loss(&segment, &rest, least).unwrap().p_value;
        prop_assert!(least(0.0) <= least(by));
    }
}
