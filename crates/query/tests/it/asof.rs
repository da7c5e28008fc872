//! Point-in-time joins: every trap, and all of them together against the definition.

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use std::sync::Arc;
use steersman_query::asof::{History, Keys, Known, NONE};

type Row<'a> = (Option<&'a str>, Option<i64>, Option<i64>);

fn texts<'a>(keys: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(keys.collect::<StringArray>())
}

fn join(
    left: &[(Option<&str>, Option<i64>)],
    right: &[Row],
    ttl: Option<i64>,
    known: Known,
) -> Vec<Option<u32>> {
    let keys =
        Keys::new(&[texts(left.iter().map(|row| row.0))], &[texts(right.iter().map(|row| row.0))]).unwrap();
    let times: TimestampMicrosecondArray = right.iter().map(|row| row.1).collect();
    let created: TimestampMicrosecondArray = right.iter().map(|row| row.2).collect();
    let at: TimestampMicrosecondArray = left.iter().map(|row| row.1).collect();
    let rows = History::new(&keys, &times, Some(&created), known).join(&keys, &at, ttl);
    rows.into_iter().map(|row| (row != NONE).then_some(row)).collect()
}

fn one(at: i64, right: &[(i64, i64)], ttl: Option<i64>, known: Known) -> Option<u32> {
    let right: Vec<Row> =
        right.iter().map(|(time, created)| (Some("a"), Some(*time), Some(*created))).collect();
    join(&[(Some("a"), Some(at))], &right, ttl, known)[0]
}

use Known::{AsKnown, EventTime};

#[test]
fn every_row_has_one_answer_also_when_rows_are_alike() {
    let same = (Some("a"), Some(10));
    let right = [(Some("a"), Some(5), Some(5)), (Some("a"), Some(7), Some(7))];
    assert_eq!(join(&[same, same, same], &right, None, EventTime), [Some(1), Some(1), Some(1)]);
}

#[test]
fn the_same_microsecond_counts_and_the_next_one_does_not() {
    assert_eq!(one(10, &[(9, 9), (10, 10), (11, 11)], None, EventTime), Some(1));
    assert_eq!(one(9, &[(10, 10)], None, EventTime), None);
}

#[test]
fn the_ttl_is_included_and_one_microsecond_more_is_not() {
    assert_eq!(one(100, &[(90, 90)], Some(10), EventTime), Some(0));
    assert_eq!(one(101, &[(90, 90)], Some(10), EventTime), None);
    assert_eq!(one(101, &[(90, 90)], None, EventTime), Some(0));
    // The latest counts for the ttl, not the latest that was written.
    assert_eq!(one(101, &[(95, 20), (90, 99)], Some(10), EventTime), Some(0));
    assert_eq!(one(i64::MIN + 1, &[(i64::MIN, 0)], Some(10), EventTime), Some(0));
}

#[test]
fn only_future_only_expired_or_no_rows_are_no_answer() {
    assert_eq!(one(10, &[(11, 11), (12, 12)], None, EventTime), None);
    assert_eq!(one(100, &[(1, 1), (2, 2)], Some(5), EventTime), None);
    assert_eq!(join(&[(Some("z"), Some(10))], &[(Some("a"), Some(5), Some(5))], None, EventTime), [None]);
    assert_eq!(join(&[(Some("z"), Some(10))], &[], None, EventTime), [None]);
}

#[test]
fn a_missing_key_or_time_matches_nothing_and_the_row_stays() {
    let left = [(None, Some(10)), (Some("a"), None), (Some("a"), Some(10))];
    let right = [(None, Some(5), Some(5)), (Some("a"), None, Some(5)), (Some("a"), Some(5), Some(5))];
    assert_eq!(join(&left, &right, None, EventTime), [None, None, Some(2)]);
}

#[test]
fn a_late_row_leaks_unless_as_known() {
    // Of time 8, but written down at 20.
    let right = [(5, 5), (8, 20)];
    assert_eq!(one(10, &right, None, EventTime), Some(1));
    assert_eq!(one(10, &right, None, AsKnown), Some(0));
    assert_eq!(one(20, &right, None, AsKnown), Some(1));
    assert_eq!(one(19, &right, None, AsKnown), Some(0));
    // A row of an earlier time that comes late never takes the place of a later one.
    assert_eq!(one(30, &[(8, 8), (5, 20)], None, AsKnown), Some(0));
    // Without a time of creation it is not known when it was known.
    let unknown: [Row; 2] = [(Some("a"), Some(5), Some(5)), (Some("a"), Some(8), None)];
    assert_eq!(join(&[(Some("a"), Some(10))], &unknown, None, AsKnown), [Some(0)]);
    assert_eq!(join(&[(Some("a"), Some(10))], &unknown, None, EventTime), [Some(1)]);
}

#[test]
fn a_correction_takes_the_place_of_what_it_corrects() {
    let right = [(5, 9), (5, 5), (5, 7)];
    assert_eq!(one(10, &right, None, EventTime), Some(0));
    assert_eq!(one(8, &right, None, AsKnown), Some(2));
    assert_eq!(one(6, &right, None, AsKnown), Some(1));
}

#[test]
fn keys_of_several_columns_and_kinds() {
    let number = |values: &[Option<f64>]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    let left = [
        texts([Some("a"), Some("a"), Some("b"), None].into_iter()),
        number(&[Some(1.0), Some(-0.0), Some(1.0), Some(1.0)]),
    ];
    let right = [
        texts([Some("b"), Some("a"), Some("a"), Some("a")].into_iter()),
        number(&[Some(1.0), Some(0.0), None, Some(2.0)]),
    ];
    let keys = Keys::new(&left, &right).unwrap();
    assert_eq!(keys.left, [NONE, keys.right[1], keys.right[0], NONE]);
    assert_eq!((keys.right[2], keys.count), (NONE, 3));
    assert!(Keys::new(&left[..1], &right[1..]).unwrap_err().to_string().contains("cannot be joined"));
}

#[test]
fn neighbours_are_the_answers_before_and_after() {
    let keys =
        Keys::new(&[texts([Some("a")].into_iter())], &[texts(std::iter::repeat_n(Some("a"), 3))]).unwrap();
    let times = TimestampMicrosecondArray::from(vec![5, 10, 15]);
    let history = History::new(&keys, &times, None, EventTime);
    assert_eq!(history.neighbours(0, 12), (0, 2));
    assert_eq!(history.neighbours(0, 4), (NONE, 0));
    assert_eq!(history.neighbours(NONE, 4), (NONE, NONE));
}

#[test]
fn random_tables_are_joined_as_the_definition_says() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let names = ["a", "b", "c", "d"];
    for round in 0..400 {
        let mut time = |missing: u64| (random(missing) != 0).then(|| random(30) as i64);
        let right: Vec<(Option<i64>, Option<i64>)> = (0..30).map(|_| (time(20), time(10))).collect();
        let left: Vec<Option<i64>> = (0..20).map(|_| time(20)).collect();
        let mut key = |missing: u64| (random(missing) != 0).then(|| names[random(4) as usize]);
        let right: Vec<Row> = right.into_iter().map(|(time, created)| (key(15), time, created)).collect();
        let left: Vec<(Option<&str>, Option<i64>)> = left.into_iter().map(|time| (key(15), time)).collect();
        let ttl = [None, Some(0), Some(5)][round % 3];
        for known in [EventTime, AsKnown] {
            let expected: Vec<Option<u32>> = left
                .iter()
                .map(|(key, at)| {
                    let at = (*at)?;
                    let fits = |row: &(usize, &Row)| {
                        let (own, time, created) = row.1;
                        key.is_some()
                            && own == key
                            && time.is_some_and(|time| time <= at && ttl.is_none_or(|ttl| time >= at - ttl))
                            && (known == EventTime || created.is_some_and(|created| created <= at))
                    };
                    let found = right
                        .iter()
                        .enumerate()
                        .filter(fits)
                        .max_by_key(|(row, (_, time, created))| (*time, *created, *row));
                    Some(found?.0 as u32)
                })
                .collect();
            assert_eq!(join(&left, &right, ttl, known), expected, "round {round}, {known:?}");
        }
    }
}
