//! The bundled sample of flights as columns of codes, for simulations.

use std::io::Read as _;
use steersman_stats::calibration::{
    AspectEvidence, ColumnOrdinary, ColumnWindow, Floors, JointDetector, JointVerdict,
};
use steersman_stats::profile::Bins;

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.uniform() * limit as f64) as usize
    }
}

/// One column: the numbers of its rows, or the codes of their categories.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) numeric: bool,
    pub(crate) values: Vec<Option<f64>>,
}

impl Column {
    /// The column with every value changed.
    pub(crate) fn changed(&self, change: impl Fn(usize, Option<f64>) -> Option<f64>) -> Self {
        let values = self.values.iter().enumerate().map(|(row, value)| change(row, *value)).collect();
        Self { values, ..self.clone() }
    }
}

/// The sample: twelve columns, and the day of the year of each row, from 0.
pub(crate) struct Flights {
    pub(crate) columns: Vec<Column>,
    days: Vec<usize>,
}

impl Flights {
    pub(crate) fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/data/demo_flights_nyc.csv.gz");
        let mut text = String::new();
        let file = std::fs::File::open(path).expect("the sample is in the repository");
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the sample is compressed text");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().expect("there is a header").clone();
        let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("rows are whole")).collect();
        let days = rows.iter().map(|row| day(&row[1])).collect();
        let columns =
            (2..header.len() - 2).map(|at| column(&header[at], rows.iter().map(|row| row[at].to_owned())));
        Self { columns: columns.collect(), days }
    }

    pub(crate) fn rows(&self) -> usize {
        self.days.len()
    }

    /// The rows of each day from the first to before the last.
    pub(crate) fn daily(&self, first: usize, last: usize) -> Vec<Vec<usize>> {
        (first..last)
            .map(|day| {
                let (from, to) = (
                    self.days.partition_point(|&own| own < day),
                    self.days.partition_point(|&own| own <= day),
                );
                (from..to).collect()
            })
            .collect()
    }
}

/// The day of 2013, from 0, of a time like `2013-09-09T06:00:00`.
pub(crate) fn day(time: &str) -> usize {
    const BEFORE: [usize; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let part = |from: usize| time[from..from + 2].parse::<usize>().expect("times are digits");
    BEFORE[part(5) - 1] + part(8) - 1
}

fn column(name: &str, texts: impl Iterator<Item = String>) -> Column {
    let texts: Vec<String> = texts.collect();
    let numeric = texts.iter().all(|text| text.is_empty() || text.parse::<f64>().is_ok());
    let mut names: Vec<&String> = texts.iter().filter(|text| !text.is_empty()).collect();
    names.sort();
    names.dedup();
    let value = |text: &String| match (text.is_empty(), numeric) {
        (true, _) => None,
        (false, true) => text.parse().ok(),
        (false, false) => names.binary_search(&text).ok().map(|code| code as f64),
    };
    Column { name: name.to_owned(), numeric, values: texts.iter().map(value).collect() }
}

/// Cells of a column, learnt from reference rows.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    bins: Option<Bins>,
    categories: usize,
    low: f64,
    high: f64,
}

/// A column with the cell of each row, and its number cut to a wide range.
pub(crate) struct Encoded {
    numeric: bool,
    cells: usize,
    rows: Vec<Option<(u32, f64)>>,
}

impl Layout {
    pub(crate) fn learn(column: &Column, rows: impl Iterator<Item = usize>, cells: usize) -> Self {
        let mut values: Vec<f64> = rows.filter_map(|row| column.values[row]).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[(share * (values.len() - 1) as f64) as usize];
        let (low, high) = (at(0.001), at(0.999));
        // A constant has a cell of its own, between what is below and what is above.
        let around = [low.next_down(), low.next_down(), low, low, low.next_up()];
        let constant = values.first() == values.last();
        let (sample, cells) = if constant { (around.as_slice(), 3) } else { (values.as_slice(), cells) };
        let bins = column.numeric.then(|| Bins::quantiles(sample, cells).expect("there are values"));
        let categories = values.last().map_or(0, |last| *last as usize + 1);
        // Numbers far outside are cut to the range, extended by its own width on both sides.
        Self { bins, categories, low: 2.0 * low - high, high: 2.0 * high - low }
    }

    pub(crate) fn encode(&self, column: &Column) -> Encoded {
        let of = |value: &Option<f64>| {
            value.map(|value| match &self.bins {
                Some(bins) => (bins.cell(value) as u32, value.clamp(self.low, self.high)),
                None => ((value as usize).min(self.categories) as u32, 0.0),
            })
        };
        let cells = self.bins.as_ref().map_or(self.categories + 1, Bins::cells);
        Encoded { numeric: column.numeric, cells, rows: column.values.iter().map(of).collect() }
    }
}

impl Encoded {
    pub(crate) fn window(&self, rows: &[usize]) -> ColumnWindow {
        let mut window = ColumnWindow { cells: vec![0; self.cells], ..ColumnWindow::default() };
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for &row in rows {
            match self.rows[row] {
                Some((cell, value)) => {
                    window.cells[cell as usize] += 1;
                    count += 1.0;
                    sum += value;
                    squares += value * value;
                }
                None => window.missing += 1,
            }
        }
        if self.numeric && count >= 2.0 {
            let mean = sum / count;
            window.moments = Some((mean, ((squares - count * mean * mean).max(0.0) / (count - 1.0)).sqrt()));
        }
        window
    }
}

/// All columns of a model, watched.
pub(crate) struct Watch {
    columns: Vec<ColumnOrdinary>,
    detector: JointDetector,
}

impl Watch {
    pub(crate) fn learn(encoded: &[Encoded], windows: &[Vec<usize>], alpha: f64) -> Self {
        let learn = |column: &Encoded| {
            let windows: Vec<ColumnWindow> = windows.iter().map(|rows| column.window(rows)).collect();
            ColumnOrdinary::learn(&windows, Floors::default()).expect("there are enough windows")
        };
        let columns: Vec<ColumnOrdinary> = encoded.iter().map(learn).collect();
        let detector = JointDetector::new(alpha, columns.len()).expect("a valid budget");
        Self { columns, detector }
    }

    /// Takes a window in; the evidence is forgotten after an alarm.
    pub(crate) fn observe(&mut self, encoded: &[Encoded], rows: &[usize]) -> JointVerdict {
        let windows: Vec<ColumnWindow> = encoded.iter().map(|column| column.window(rows)).collect();
        let judged = self.columns.iter().zip(&windows);
        let evidence: Vec<Vec<AspectEvidence>> =
            judged.map(|(column, window)| column.judge(window).expect("a known season").evidence()).collect();
        let verdict = self.detector.observe(&evidence).expect("the same columns");
        for (column, window) in self.columns.iter_mut().zip(&windows) {
            column.follow(window).expect("a known season");
        }
        if verdict.alarms {
            self.detector.reset();
        }
        verdict
    }
}
