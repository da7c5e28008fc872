//! Confusion tables, of counts or of expected counts, and the rates that are made of them.

use crate::error::{StatsError, paired};
use serde::{Deserialize, Serialize};

/// A rate of right or wrong decisions: a share of some cells in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// Right decisions of all.
    Accuracy,
    /// True positives of those decided positive.
    Precision,
    /// True positives of those that are positive.
    Recall,
    /// True negatives of those that are negative.
    Specificity,
    /// Harmonic mean of precision and recall: `2 TP / (2 TP + FP + FN)`.
    F1,
}

impl Rate {
    /// What each cell (TP, FP, FN, TN) adds to numerator and denominator.
    pub const fn parts(self) -> ([f64; 4], [f64; 4]) {
        match self {
            Self::Accuracy => ([1.0, 0.0, 0.0, 1.0], [1.0; 4]),
            Self::Precision => ([1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]),
            Self::Recall => ([1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]),
            Self::Specificity => ([0.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]),
            Self::F1 => ([2.0, 0.0, 0.0, 0.0], [2.0, 1.0, 1.0, 0.0]),
        }
    }
}

/// Rows by decision and truth about one class, or what belongs to them: expected rows, a value a row.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cells {
    /// Decided positive, and so it is.
    pub true_positive: f64,
    /// Decided positive, but it is not.
    pub false_positive: f64,
    /// Decided negative, but it is positive.
    pub false_negative: f64,
    /// Decided negative, and so it is.
    pub true_negative: f64,
}

impl Cells {
    pub(crate) fn array(self) -> [f64; 4] {
        [self.true_positive, self.false_positive, self.false_negative, self.true_negative]
    }

    /// Sum of the products with the cells of another table: rows times what a row of each cell is worth.
    ///
    /// ```
    /// use steersman_stats::metric::Cells;
    /// let rows = Cells { true_positive: 3.0, false_positive: 1.0, false_negative: 0.0, true_negative: 6.0 };
    /// let worth = Cells { true_positive: 10.0, false_positive: -4.0, ..Cells::default() };
    /// assert_eq!(rows.dot(worth), 26.0);
    /// ```
    pub fn dot(self, worth: Self) -> f64 {
        dot(self.array(), worth.array())
    }

    /// A rate of this table; an error where it is a share of nothing.
    ///
    /// ```
    /// use steersman_stats::metric::{Cells, Rate};
    /// let rows = Cells { true_positive: 3.0, false_positive: 1.0, false_negative: 1.0, true_negative: 5.0 };
    /// assert_eq!(rows.rate(Rate::F1).unwrap(), 0.75);
    /// ```
    pub fn rate(self, rate: Rate) -> Result<f64, StatsError> {
        Ok(self.rate_and_slopes(rate)?.0)
    }

    /// A rate, and by how much it changes when a cell grows.
    pub(crate) fn rate_and_slopes(self, rate: Rate) -> Result<(f64, [f64; 4]), StatsError> {
        let (above, below) = rate.parts();
        let denominator = dot(below, self.array());
        if denominator <= 0.0 {
            return Err(StatsError::Domain(match rate {
                Rate::Accuracy => "accuracy needs rows",
                Rate::Precision => "precision needs rows that are decided positive",
                Rate::Recall => "recall needs rows that are positive",
                Rate::Specificity => "specificity needs rows that are negative",
                Rate::F1 => "F1 needs rows that are positive or decided so",
            }));
        }
        let value = dot(above, self.array()) / denominator;
        Ok((value, [0, 1, 2, 3].map(|cell| (above[cell] - value * below[cell]) / denominator)))
    }
}

fn dot(left: [f64; 4], right: [f64; 4]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Rows, or expected rows, by true class and decided class.
#[derive(Debug, Clone, PartialEq)]
pub struct Confusion {
    classes: usize,
    cells: Vec<f64>,
}

impl Confusion {
    pub(crate) fn empty(classes: usize) -> Result<Self, StatsError> {
        if classes < 2 {
            return Err(StatsError::Domain("there are at least two classes"));
        }
        Ok(Self { classes, cells: vec![0.0; classes * classes] })
    }

    /// Counts rows; truths and decisions are class numbers below `classes`.
    ///
    /// ```
    /// let table = steersman_stats::metric::Confusion::count(&[0, 1, 1], &[0, 1, 0], 2).unwrap();
    /// assert_eq!((table.get(0, 1), table.get(1, 1)), (1.0, 1.0));
    /// ```
    pub fn count(decisions: &[usize], truths: &[usize], classes: usize) -> Result<Self, StatsError> {
        paired(decisions.len(), truths.len(), 1)?;
        known_classes(decisions, classes)?;
        known_classes(truths, classes)?;
        let mut table = Self::empty(classes)?;
        decisions.iter().zip(truths).for_each(|(&decision, &truth)| table.add(truth, decision, 1.0));
        Ok(table)
    }

    pub(crate) fn add(&mut self, truth: usize, decision: usize, rows: f64) {
        self.cells[truth * self.classes + decision] += rows;
    }

    /// The rows of a true and a decided class; 0 for a class that does not exist.
    pub fn get(&self, truth: usize, decision: usize) -> f64 {
        if truth < self.classes && decision < self.classes {
            self.cells[truth * self.classes + decision]
        } else {
            0.0
        }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All rows.
    pub fn rows(&self) -> f64 {
        self.cells.iter().sum()
    }

    /// The table of one class against all others.
    pub fn of_class(&self, class: usize) -> Cells {
        let others = || (0..self.classes).filter(move |&other| other != class);
        let true_positive = self.get(class, class);
        let false_positive: f64 = others().map(|other| self.get(other, class)).sum();
        let false_negative: f64 = others().map(|other| self.get(class, other)).sum();
        let true_negative = self.rows() - true_positive - false_positive - false_negative;
        Cells { true_positive, false_positive, false_negative, true_negative: true_negative.max(0.0) }
    }

    /// Accuracy, or the mean over classes of another rate, and by how much it changes when a cell grows (in the order
    /// of the cells). A class with neither truths nor decisions is left out; a share of nothing counts as 0, as in
    /// scikit-learn.
    pub(crate) fn macro_rate(&self, rate: Rate) -> Result<(f64, Self), StatsError> {
        let mut slopes = Self::empty(self.classes)?;
        let rows = self.rows();
        if rows <= 0.0 {
            return Err(StatsError::TooFew { needed: 1, got: 0 });
        }
        let places = || (0..self.classes).flat_map(|truth| (0..self.classes).map(move |own| (truth, own)));
        if rate == Rate::Accuracy {
            let accuracy = (0..self.classes).map(|class| self.get(class, class)).sum::<f64>() / rows;
            for (truth, decision) in places() {
                let right = if truth == decision { 1.0 } else { 0.0 };
                slopes.add(truth, decision, (right - accuracy) / rows);
            }
            return Ok((accuracy, slopes));
        }
        let tables: Vec<(usize, Cells)> = (0..self.classes)
            .map(|class| (class, self.of_class(class)))
            .filter(|(_, cells)| cells.true_positive + cells.false_positive + cells.false_negative > 0.0)
            .collect();
        let share = 1.0 / tables.len() as f64;
        let mut mean = 0.0;
        for (class, cells) in tables {
            let Ok((value, [tp, fp, fn_, tn])) = cells.rate_and_slopes(rate) else { continue };
            mean += share * value;
            for (truth, decision) in places() {
                let slope = match (truth == class, decision == class) {
                    (true, true) => tp,
                    (false, true) => fp,
                    (true, false) => fn_,
                    (false, false) => tn,
                };
                slopes.add(truth, decision, share * slope);
            }
        }
        Ok((mean, slopes))
    }

    /// Cell by cell.
    pub(crate) fn cells(&self) -> &[f64] {
        &self.cells
    }
}

/// Fails unless every class exists.
pub(crate) fn known_classes(labels: &[usize], classes: usize) -> Result<(), StatsError> {
    match labels.iter().all(|&label| label < classes) {
        true => Ok(()),
        false => Err(StatsError::Domain("a class number is not below the number of classes")),
    }
}
