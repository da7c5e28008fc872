//! Point-in-time joins: for each row of one table, the row of another that was known at its time.
//!
//! Of the rows with the same key whose time lies in `[at - ttl, at]` (both ends included; no lower end without a ttl) the
//! one with the greatest `(time, created, position)` is taken. Every row on the left has exactly one answer, which may be
//! that there is none: a key or a time that is missing matches nothing. With [`Known::AsKnown`] only rows count that were
//! there at that time (`created <= at`), so that late and corrected values never leak into the past.
//!
//! Method: rows are grouped by key. A row counts from the moment at which it is seen (its time, or the later of time and
//! creation); within a group rows are sorted by that moment, and beside each stands the best of all up to it. One binary
//! search then answers for any time, however late rows arrived: `time <= at and created <= at` is the same as
//! `max(time, created) <= at`. Only the best can lie within the ttl, as all others are older.

use arrow::array::{Array, ArrayRef, AsArray as _, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use std::collections::HashMap;
use std::hash::Hash;
use steersman_domain::Problem;

/// How far is looked for a neighbour: late rows may repeat an answer often.
const NEAR: usize = 64;
/// No row, no key.
pub const NONE: u32 = u32::MAX;

/// Which rows count at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Known {
    /// Those whose own time has come.
    #[default]
    EventTime,
    /// Of these, those that had been written down by then.
    AsKnown,
}

/// The keys of two tables as small numbers: equal keys have equal numbers, [`NONE`] where a part is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Of the left table; [`NONE`] also where the right table has no such key.
    pub left: Vec<u32>,
    /// Of the right table, from 0 without gaps.
    pub right: Vec<u32>,
    /// How many different keys the right table has.
    pub count: usize,
}

impl Keys {
    /// The keys of columns that stand for each other in order; the types of a pair must be the same.
    pub fn new(left: &[ArrayRef], right: &[ArrayRef]) -> Result<Self, Problem> {
        let mut pairs = left.iter().zip(right);
        let Some((first_left, first_right)) = pairs.next() else {
            return Err(Problem::invalid("a point-in-time join needs a key"));
        };
        let mut keys = Self::of_column(first_left, first_right)?;
        for (left, right) in pairs {
            keys = keys.and(&Self::of_column(left, right)?);
        }
        Ok(keys)
    }

    fn of_column(left: &ArrayRef, right: &ArrayRef) -> Result<Self, Problem> {
        if left.data_type() != right.data_type() {
            let message =
                format!("a key of {} cannot be joined with one of {}", left.data_type(), right.data_type());
            return Err(Problem::invalid(message));
        }
        Ok(match left.data_type() {
            DataType::Utf8 => Self::of(left.as_string::<i32>().iter(), right.as_string::<i32>().iter()),
            DataType::Boolean => Self::of(left.as_boolean().iter(), right.as_boolean().iter()),
            DataType::Float64 => {
                // -0 and 0 are the same key; NaN is none.
                let bits = |value: Option<f64>| {
                    value.filter(|value| !value.is_nan()).map(|value| (value + 0.0).to_bits())
                };
                let [left, right] =
                    [left, right].map(|keys| keys.as_primitive::<Float64Type>().iter().map(bits));
                Self::of(left, right)
            }
            DataType::Timestamp(..) => {
                let [left, right] =
                    [left, right].map(|keys| keys.as_primitive::<TimestampMicrosecondType>().iter());
                Self::of(left, right)
            }
            other => return Err(Problem::invalid(format!("{other} cannot be a key"))),
        })
    }

    fn of<K: Hash + Eq>(
        left: impl Iterator<Item = Option<K>>,
        right: impl Iterator<Item = Option<K>>,
    ) -> Self {
        let mut numbers: HashMap<K, u32> = HashMap::new();
        let mut number = |key: Option<K>| {
            let Some(key) = key else { return NONE };
            let next = u32::try_from(numbers.len()).unwrap_or(NONE);
            *numbers.entry(key).or_insert(next)
        };
        let right: Vec<u32> = right.map(&mut number).collect();
        let left = left.map(|key| key.and_then(|key| numbers.get(&key).copied()).unwrap_or(NONE)).collect();
        Self { left, right, count: numbers.len() }
    }

    /// Keys of both parts together.
    fn and(&self, other: &Self) -> Self {
        let pair = |(&one, &two): (&u32, &u32)| {
            (one != NONE && two != NONE).then_some((u64::from(one) << 32) | u64::from(two))
        };
        Self::of(self.left.iter().zip(&other.left).map(pair), self.right.iter().zip(&other.right).map(pair))
    }
}

/// The rows of a table by key and by the moment from which they count.
#[derive(Debug)]
pub struct History<'a> {
    times: &'a TimestampMicrosecondArray,
    /// Where the rows of each key begin, and at last where all end.
    starts: Vec<u32>,
    /// From when each row counts.
    seen: Vec<i64>,
    /// The best row up to here.
    best: Vec<u32>,
}

impl<'a> History<'a> {
    /// Sorts the rows of a table whose keys are `keys`. Rows without a key or a time count never, nor with
    /// [`Known::AsKnown`] those without a time of creation.
    pub fn new(
        keys: &Keys,
        times: &'a TimestampMicrosecondArray,
        created: Option<&TimestampMicrosecondArray>,
        known: Known,
    ) -> Self {
        let at =
            |column: &TimestampMicrosecondArray, row: usize| column.is_valid(row).then(|| column.value(row));
        let from = |row: usize| {
            let time = at(times, row)?;
            match (known, created) {
                (Known::AsKnown, Some(created)) => Some(time.max(at(created, row)?)),
                _ => Some(time),
            }
        };
        let usable =
            |(row, key): (usize, &u32)| Some((*key, from(row).filter(|_| *key != NONE)?, row as u32));
        let mut starts = vec![0u32; keys.count + 1];
        for (key, ..) in keys.right.iter().enumerate().filter_map(usable) {
            starts[key as usize + 1] += 1;
        }
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![(0i64, 0u32); starts.last().copied().unwrap_or(0) as usize];
        for (key, seen, row) in keys.right.iter().enumerate().filter_map(usable) {
            let place = &mut next[key as usize];
            rows[*place as usize] = (seen, row);
            *place += 1;
        }
        let rank = |row: u32| {
            let row = row as usize;
            (at(times, row), created.and_then(|created| at(created, row)), row)
        };
        let mut best = Vec::with_capacity(rows.len());
        for group in starts.windows(2) {
            let group = &mut rows[group[0] as usize..group[1] as usize];
            // Files are mostly sorted by time already.
            if !group.is_sorted() {
                group.sort_unstable();
            }
            let mut leader: Option<u32> = None;
            for (_, row) in group.iter() {
                let better = leader.is_none_or(|leader| rank(*row) > rank(leader));
                leader = leader.filter(|_| !better).or(Some(*row));
                best.push(leader.unwrap_or(NONE));
            }
        }
        Self { times, starts, seen: rows.into_iter().map(|(seen, _)| seen).collect(), best }
    }

    /// Where in its group the answer for a key and a time stands.
    fn place(&self, key: u32, at: i64, ttl: Option<i64>) -> Option<usize> {
        let (start, end) = self.group(key)?;
        let place = (start + self.seen[start..end].partition_point(|seen| *seen <= at)).checked_sub(1)?;
        let time = self.times.value(*self.best.get(place).filter(|_| place >= start)? as usize);
        ttl.is_none_or(|ttl| time >= at.saturating_sub(ttl)).then_some(place)
    }

    fn group(&self, key: u32) -> Option<(usize, usize)> {
        let key = key as usize;
        let (start, end) = (self.starts.get(key)?, self.starts.get(key.checked_add(1)?)?);
        Some((*start as usize, *end as usize))
    }

    /// The row that answers for a key and a time; [`NONE`] if there is none.
    pub fn find(&self, key: u32, at: i64, ttl: Option<i64>) -> u32 {
        self.place(key, at, ttl).map_or(NONE, |place| self.best[place])
    }

    /// The answer before the one that holds at a time, and the one after it: [`NONE`] where there is none.
    pub fn neighbours(&self, key: u32, at: i64) -> (u32, u32) {
        let Some((start, end)) = self.group(key) else { return (NONE, NONE) };
        let after = start + self.seen[start..end].partition_point(|seen| *seen <= at);
        let own = if after > start { self.best[after - 1] } else { NONE };
        let earlier = self.best[start..after].iter().rev().take(NEAR).find(|row| **row != own);
        let later = self.best[after..end].iter().take(NEAR).find(|row| **row != own);
        (earlier.copied().unwrap_or(NONE), later.copied().unwrap_or(NONE))
    }

    /// The answers for all rows of the left table.
    pub fn join(&self, keys: &Keys, at: &TimestampMicrosecondArray, ttl: Option<i64>) -> Vec<u32> {
        let find = |(row, key): (usize, &u32)| match at.is_valid(row) && *key != NONE {
            true => self.find(*key, at.value(row), ttl),
            false => NONE,
        };
        keys.left.iter().enumerate().map(find).collect()
    }
}
