//! The monitor of series on the Numenta Anomaly Benchmark's metrics, where they lie beside the checkout.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use steersman_stats::series::{Scored, SeriesConfig, SeriesMonitor, Window, best_threshold, window_score};

const METRICS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/drift/nab_metrics.parquet");
/// Every series is watched alike.
const STEP_SECONDS: u32 = 300;
/// A little below what was measured (64.9 and 65.0); a windowed Gaussian has 39.7 on the second half.
const FLOOR: f64 = 62.0;

/// One series: scores in stream order, and the labelled windows, which the monitor never sees.
#[derive(Default)]
struct Watched {
    scores: Vec<f64>,
    windows: Vec<Window>,
}

fn watch(path: &Path) -> BTreeMap<String, Watched> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut series: BTreeMap<String, (SeriesMonitor, Watched)> = BTreeMap::new();
    for batch in reader {
        let batch = batch.unwrap();
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let (names, inside) = (column("series").as_string::<i32>(), column("in_window").as_boolean());
        let times = column("ts").as_primitive::<TimestampMicrosecondType>();
        let values = column("value").as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let (monitor, watched) = series.entry(names.value(row).to_owned()).or_insert_with(|| {
                (SeriesMonitor::new(SeriesConfig::new(STEP_SECONDS)).unwrap(), Watched::default())
            });
            let value = values.is_valid(row).then(|| values.value(row));
            let position = watched.scores.len();
            watched.scores.push(monitor.update(times.value(row) / 1_000_000, value).score);
            if inside.value(row) {
                match watched.windows.last_mut() {
                    Some(window) if window.last + 1 == position => window.last = position,
                    _ => watched.windows.push(Window { first: position, last: position }),
                }
            }
        }
    }
    series.into_iter().map(|(name, (_, watched))| (name, watched)).collect()
}

/// The half of a series: the lowest bit of the FNV-1a hash of its name. What the monitor's constants are was decided on
/// half 0 alone.
fn half(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step) % 2
}

#[test]
fn the_threshold_of_one_half_finds_the_anomalies_of_the_other() {
    let path = Path::new(METRICS);
    if !path.exists() {
        println!("skipped: no benchmark data beside the checkout");
        return;
    }
    let series = watch(path);
    let of = |wanted: u64| -> Vec<Scored<'_>> {
        let chosen = series.iter().filter(|(name, _)| half(name) == wanted);
        chosen.map(|(_, one)| Scored { scores: &one.scores, windows: &one.windows }).collect()
    };
    let windows: Vec<usize> = [0, 1].map(|half| of(half).iter().map(|one| one.windows.len()).sum()).to_vec();
    assert_eq!((series.len(), windows), (35, vec![27, 23]));
    for (from, to) in [(0, 1), (1, 0)] {
        let (threshold, there) = best_threshold(&of(from)).unwrap();
        let score = window_score(&of(to), threshold).unwrap();
        println!("threshold {threshold:.4} of half {from} (score {there:.1}): score {score:.1} on half {to}");
        assert!(score > FLOOR, "{score}");
    }
}
