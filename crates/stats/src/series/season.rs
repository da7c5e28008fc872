//! Daily and weekly patterns: what was seen at the same time of day, or of week, before.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const DAY_SECONDS: i64 = 86_400;
const WEEK_SECONDS: i64 = 7 * DAY_SECONDS;
/// Slots of the day are no shorter than this, slots of the week no shorter than the second.
const SHORTEST_SLOTS: (i64, i64) = (300, 900);
/// So many days, and so many weeks, are remembered.
const CYCLES: (usize, usize) = (7, 4);
/// A pattern needs so many earlier values around a slot.
const LEAST_VALUES: usize = 2;
/// A pattern is taken up when it leaves at most this share of the error without it, and given up above the second.
const TAKE_UP: f64 = 0.6;
const GIVE_UP: f64 = 0.8;
/// Errors fade with this factor at each point.
const MEMORY: f64 = 0.9995;

/// The pattern that a series follows; one that says more is larger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Season {
    /// None was found, or there is not enough history yet.
    #[default]
    None,
    /// The same every day.
    Day,
    /// The same every week, and better so than every day.
    Week,
}

/// What each pattern expects, and which of them to believe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Seasons {
    day: Slots,
    week: Slots,
    day_contest: Contest,
    week_contest: Contest,
}

impl Seasons {
    /// For points that come every `step_seconds`.
    pub(super) fn new(step_seconds: i64) -> Self {
        Self {
            day: Slots::new(DAY_SECONDS, step_seconds.max(SHORTEST_SLOTS.0), CYCLES.0),
            week: Slots::new(WEEK_SECONDS, step_seconds.max(SHORTEST_SLOTS.1), CYCLES.1),
            day_contest: Contest::new(DAY_SECONDS / step_seconds),
            week_contest: Contest::new(DAY_SECONDS / step_seconds),
        }
    }

    /// The pattern to believe: the one that explains enough of what the level, or the simpler pattern, does not.
    pub(super) fn chosen(&self) -> Season {
        match (self.week_contest.won, self.day_contest.won) {
            (true, _) => Season::Week,
            (false, true) => Season::Day,
            (false, false) => Season::None,
        }
    }

    /// What the chosen pattern expects at a time; none without a pattern or without history there.
    pub(super) fn expected(&self, at: i64) -> Option<f64> {
        match self.chosen() {
            Season::None => None,
            Season::Day => self.day.expected(at),
            Season::Week => self.week.expected(at).or_else(|| self.day.expected(at)),
        }
    }

    /// Takes a value in; `level` is what was expected without any pattern. While the level is another one, which no
    /// pattern expects, nothing is said about which of them to believe.
    pub(super) fn observe(&mut self, at: i64, value: f64, level: f64, changed: bool) {
        let (day, week) = match changed {
            true => (None, None),
            false => (self.day.expected(at), self.week.expected(at)),
        };
        if let Some(day) = day {
            self.day_contest.observe((value - day).abs(), (value - level).abs());
        }
        if let Some(week) = week {
            let without = if self.day_contest.won { day.unwrap_or(level) } else { level };
            self.week_contest.observe((value - week).abs(), (value - without).abs());
        }
        self.day.observe(at, value);
        self.week.observe(at, value);
    }

    /// The same patterns on the level that there has been since a time: what was seen before is moved by as much as what
    /// came after lies beside it. Returns by how much the chosen pattern was moved.
    pub(super) fn relevel(&mut self, since: i64) -> f64 {
        let (day, week) = (self.day.relevel(since), self.week.relevel(since));
        match self.chosen() {
            Season::None => 0.0,
            Season::Day => day,
            Season::Week => week,
        }
    }
}

/// The absolute errors with and without a pattern, at the same points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Contest {
    needed: u64,
    points: u64,
    with: f64,
    without: f64,
    won: bool,
}

impl Contest {
    fn new(points_a_day: i64) -> Self {
        let needed = (points_a_day.unsigned_abs() * 7 / 10).max(48);
        Self { needed, points: 0, with: 0.0, without: 0.0, won: false }
    }

    fn observe(&mut self, with: f64, without: f64) {
        self.points = self.points.saturating_add(1);
        self.with = self.with * MEMORY + with;
        self.without = self.without * MEMORY + without;
        let limit = if self.won { GIVE_UP } else { TAKE_UP };
        self.won = self.points >= self.needed && self.with < limit * self.without;
    }
}

/// The last cycles' means in each slot of a cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Slots {
    cycle_seconds: i64,
    slot_seconds: i64,
    cycles: usize,
    slots: Vec<VecDeque<Cell>>,
}

/// The mean of one slot in one cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cell {
    cycle: i64,
    mean: f64,
    count: u32,
}

impl Slots {
    fn new(cycle_seconds: i64, slot_seconds: i64, cycles: usize) -> Self {
        let slots = ((cycle_seconds + slot_seconds - 1) / slot_seconds) as usize;
        Self { cycle_seconds, slot_seconds, cycles, slots: vec![VecDeque::new(); slots] }
    }

    fn slot(&self, at: i64) -> usize {
        (at.rem_euclid(self.cycle_seconds.max(1)) / self.slot_seconds.max(1)) as usize
    }

    fn cycle(&self, at: i64) -> i64 {
        at.div_euclid(self.cycle_seconds.max(1))
    }

    /// The median of the earlier cycles' values in this slot and the two beside it: neighbours make up for few cycles,
    /// and let an edge come a little early or late.
    fn expected(&self, at: i64) -> Option<f64> {
        let (slot, count, cycle) = (self.slot(at), self.slots.len().max(1), self.cycle(at));
        let around = [slot + count - 1, slot, slot + 1].map(|slot| self.slots.get(slot % count));
        let mut values = [0.0; 3 * CYCLES.0];
        let mut filled = 0;
        for cell in around.into_iter().flatten().flatten().filter(|cell| cell.cycle != cycle) {
            if let Some(place) = values.get_mut(filled) {
                *place = cell.mean;
                filled += 1;
            }
        }
        let values = values.get_mut(..filled).filter(|values| values.len() >= LEAST_VALUES)?;
        values.sort_unstable_by(f64::total_cmp);
        values.get(filled / 2).copied()
    }

    /// Moves the cells from before a time by the median difference of the cells since then from those before in the same
    /// slot; by nothing where no slot has both.
    fn relevel(&mut self, since: i64) -> f64 {
        let (slot, cycle) = (self.slot(since), self.cycle(since));
        let before = |place: usize, cell: &Cell| (cell.cycle, place) < (cycle, slot);
        let mut moves: Vec<f64> = Vec::new();
        for (place, cells) in self.slots.iter().enumerate() {
            let means = |earlier: bool| cells.iter().filter(move |cell| before(place, cell) == earlier);
            let earlier = median(means(true).map(|cell| cell.mean).collect());
            moves.extend(earlier.into_iter().flat_map(|was| means(false).map(move |cell| cell.mean - was)));
        }
        let by = median(moves).unwrap_or(0.0);
        for (place, cells) in self.slots.iter_mut().enumerate() {
            cells.iter_mut().filter(|cell| before(place, cell)).for_each(|cell| cell.mean += by);
        }
        by
    }

    fn observe(&mut self, at: i64, value: f64) {
        let (slot, cycle, cycles) = (self.slot(at), self.cycle(at), self.cycles);
        let Some(cells) = self.slots.get_mut(slot) else { return };
        match cells.back_mut() {
            Some(cell) if cell.cycle == cycle => {
                cell.count = cell.count.saturating_add(1);
                cell.mean += (value - cell.mean) / f64::from(cell.count);
            }
            _ => {
                if cells.len() >= cycles {
                    cells.pop_front();
                }
                cells.push_back(Cell { cycle, mean: value, count: 1 });
            }
        }
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
