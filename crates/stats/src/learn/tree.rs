//! One regression tree, grown leaf by leaf on histograms of gradients.

use super::Boosting;
use super::matrix::{Binned, Matrix};
use serde::{Deserialize, Serialize};
use std::ops::{AddAssign, SubAssign};

/// A tree; the first node is the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Node {
    /// Values up to the threshold go to the first child, larger ones to the second.
    Split { column: u32, threshold: f64, missing_first: bool, children: [u32; 2] },
    /// What the tree adds.
    Leaf(f64),
}

impl Tree {
    /// What the tree adds for one row of a matrix that has the columns it was grown on.
    pub(super) fn value(&self, columns: &[Vec<f64>], row: usize) -> f64 {
        let mut place = 0;
        loop {
            match self.nodes[place] {
                Node::Leaf(value) => return value,
                Node::Split { column, threshold, missing_first, children } => {
                    let value = columns[column as usize][row];
                    let first = value <= threshold || (missing_first && value.is_nan());
                    place = children[usize::from(!first)] as usize;
                }
            }
        }
    }

    /// Whether every node leads on, forwards, to existing nodes and columns.
    pub(super) fn sound(&self, columns: usize) -> bool {
        let sound = |(place, node): (usize, &Node)| match node {
            Node::Leaf(value) => value.is_finite(),
            Node::Split { column, children, .. } => {
                let leads = |child: u32| child as usize > place && (child as usize) < self.nodes.len();
                (*column as usize) < columns && children.iter().all(|&child| leads(child))
            }
        };
        !self.nodes.is_empty() && self.nodes.iter().enumerate().all(sound)
    }
}

/// Sums over the rows of one bin or leaf.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl AddAssign for Cell {
    fn add_assign(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }
}

impl SubAssign for Cell {
    fn sub_assign(&mut self, other: Self) {
        self.gradient -= other.gradient;
        self.hessian -= other.hessian;
        self.rows -= other.rows;
    }
}

impl Cell {
    /// Twice the loss that the best constant saves.
    fn gain(self, ridge: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + ridge)
    }
}

/// The best way to cut a leaf in two: bins up to `bin` go to the first child.
#[derive(Clone, Copy)]
struct Cut {
    gain: f64,
    column: usize,
    bin: u8,
    missing_first: bool,
    first: Cell,
}

/// A leaf that may still be cut: its rows are a range of the grower's order.
struct Leaf {
    node: usize,
    start: usize,
    end: usize,
    total: Cell,
    histogram: Vec<Cell>,
    cut: Option<Cut>,
}

/// Grows trees on the same binned rows; keeps its buffers from tree to tree.
pub(super) struct Grower<'a> {
    binned: &'a Binned,
    settings: &'a Boosting,
    /// Where the bins of each column start in a histogram; last, its length.
    offsets: Vec<usize>,
    /// The rows, so that those of a leaf lie together.
    order: Vec<u32>,
    moved: Vec<u32>,
    gathered: Vec<[f32; 2]>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(binned: &'a Binned, settings: &'a Boosting, rows: &[u32]) -> Self {
        let mut offsets = vec![0];
        for column in 0..binned.columns().len() {
            offsets.push(offsets[column] + binned.cells(column));
        }
        let order = rows.to_vec();
        Self { binned, settings, offsets, order, moved: Vec::new(), gathered: Vec::new() }
    }

    /// A tree that lowers the loss with the given gradient and hessian of each row, and its value added to `scores`;
    /// none if no cut helps.
    pub(super) fn grow(&mut self, slopes: &[[f32; 2]], scores: &mut [f64]) -> Option<Tree> {
        let histogram = self.histogram(slopes, 0, self.order.len());
        let mut total = Cell::default();
        // Every row is in one bin of the first column.
        histogram[..self.offsets[1]].iter().for_each(|cell| total += *cell);
        let mut nodes = vec![Node::Leaf(0.0)];
        let mut leaves = vec![self.leaf(0, (0, self.order.len()), total, histogram)];
        while leaves.len() < self.settings.leaves {
            let gain = |leaf: &Leaf| leaf.cut.map_or(0.0, |cut| cut.gain);
            let best =
                (0..leaves.len()).reduce(|a, b| if gain(&leaves[b]) > gain(&leaves[a]) { b } else { a })?;
            let Some(cut) = leaves[best].cut else { break };
            let leaf = leaves.swap_remove(best);
            let children = [nodes.len() as u32, nodes.len() as u32 + 1];
            nodes[leaf.node] = Node::Split {
                column: cut.column as u32,
                threshold: self.binned.upper_edge(cut.column, cut.bin),
                missing_first: cut.missing_first,
                children,
            };
            nodes.extend([Node::Leaf(0.0); 2]);
            leaves.extend(self.divide(slopes, leaf, cut, children));
        }
        if nodes.len() == 1 {
            return None;
        }
        for leaf in &leaves {
            let Cell { gradient, hessian, .. } = leaf.total;
            let value = -self.settings.learning_rate * gradient / (hessian + self.settings.ridge);
            nodes[leaf.node] = Node::Leaf(value);
            self.order[leaf.start..leaf.end].iter().for_each(|&row| scores[row as usize] += value);
        }
        Some(Tree { nodes })
    }

    /// Cuts a leaf. Only the smaller child's rows are summed: the other's sums are what is left of the parent's.
    fn divide(&mut self, slopes: &[[f32; 2]], leaf: Leaf, cut: Cut, children: [u32; 2]) -> [Leaf; 2] {
        let middle = self.partition(&leaf, cut);
        let mut second = leaf.total;
        second -= cut.first;
        let first_is_smaller = middle - leaf.start <= leaf.end - middle;
        let (start, end) = if first_is_smaller { (leaf.start, middle) } else { (middle, leaf.end) };
        let smaller = self.histogram(slopes, start, end);
        let mut larger = leaf.histogram;
        larger.iter_mut().zip(&smaller).for_each(|(cell, other)| *cell -= *other);
        let (first_sums, second_sums) = if first_is_smaller { (smaller, larger) } else { (larger, smaller) };
        [
            self.leaf(children[0] as usize, (leaf.start, middle), cut.first, first_sums),
            self.leaf(children[1] as usize, (middle, leaf.end), second, second_sums),
        ]
    }

    /// Brings the rows of the first child before those of the second, each in their order; returns where it starts.
    fn partition(&mut self, leaf: &Leaf, cut: Cut) -> usize {
        let bins = &self.binned.columns()[cut.column];
        self.moved.clear();
        let mut middle = leaf.start;
        for place in leaf.start..leaf.end {
            let row = self.order[place];
            let bin = bins[row as usize];
            if if bin == 0 { cut.missing_first } else { bin <= cut.bin } {
                self.order[middle] = row;
                middle += 1;
            } else {
                self.moved.push(row);
            }
        }
        self.order[middle..leaf.end].copy_from_slice(&self.moved);
        middle
    }

    /// Sums of the rows `order[start..end]` by column and bin.
    fn histogram(&mut self, slopes: &[[f32; 2]], start: usize, end: usize) -> Vec<Cell> {
        let rows = &self.order[start..end];
        self.gathered.clear();
        self.gathered.extend(rows.iter().map(|&row| slopes[row as usize]));
        let mut histogram = vec![Cell::default(); self.offsets.last().copied().unwrap_or(0)];
        for (bins, bounds) in self.binned.columns().iter().zip(self.offsets.windows(2)) {
            let cells = &mut histogram[bounds[0]..bounds[1]];
            for (&row, &[gradient, hessian]) in rows.iter().zip(&self.gathered) {
                let cell = &mut cells[usize::from(bins[row as usize])];
                cell.gradient += f64::from(gradient);
                cell.hessian += f64::from(hessian);
                cell.rows += 1;
            }
        }
        histogram
    }

    fn leaf(&self, node: usize, (start, end): (usize, usize), total: Cell, histogram: Vec<Cell>) -> Leaf {
        let cut = self.best_cut(total, &histogram);
        Leaf { node, start, end, total, histogram, cut }
    }

    /// The cut with the largest gain; the first of equals.
    fn best_cut(&self, total: Cell, histogram: &[Cell]) -> Option<Cut> {
        let ridge = self.settings.ridge;
        let least = self.settings.least_leaf_rows.max(1);
        let enough = |cell: Cell| cell.rows as usize >= least && cell.hessian > 0.0;
        let mut best: Option<Cut> = None;
        // What rounding alone can seem to gain.
        let mut floor = 1e-9 * total.gain(ridge).max(f64::MIN_POSITIVE);
        for (column, bounds) in self.offsets.windows(2).enumerate() {
            let cells = &histogram[bounds[0]..bounds[1]];
            let missing = cells[0];
            for missing_first in [false, true] {
                if missing_first && missing.rows == 0 {
                    continue;
                }
                let mut first = if missing_first { missing } else { Cell::default() };
                for (bin, cell) in cells.iter().enumerate().skip(1).filter(|(_, cell)| cell.rows > 0) {
                    first += *cell;
                    let mut second = total;
                    second -= first;
                    if !enough(first) || !enough(second) {
                        continue;
                    }
                    let gain = first.gain(ridge) + second.gain(ridge) - total.gain(ridge);
                    if gain > floor {
                        floor = gain;
                        // Where nothing was missing, what is missing later goes with the many.
                        let missing_first =
                            if missing.rows == 0 { first.rows >= second.rows } else { missing_first };
                        best = Some(Cut { gain, column, bin: bin as u8, missing_first, first });
                    }
                }
            }
        }
        best
    }
}

impl Matrix {
    /// Fails unless the table has the columns that something was learnt from.
    pub(super) fn expect_columns(&self, learnt: usize) -> Result<(), crate::StatsError> {
        let given = self.columns().len();
        if given == learnt { Ok(()) } else { Err(crate::StatsError::Columns { left: learnt, right: given }) }
    }
}
