//! Hotel bookings whose cancellations become known sooner than stays: what was known at the end of a month.

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use steersman_stats::labels::DelayModel;

const DAY: i64 = 86_400;
const FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/drift/hotel_resort_bookings.parquet");

struct Bookings {
    booked: Vec<i64>,
    known: Vec<i64>,
    cancelled: Vec<bool>,
    lead_days: Vec<i64>,
}

/// The bookings, times in seconds; none where the file is not at hand.
fn bookings() -> Option<Bookings> {
    let Ok(file) = File::open(FILE) else {
        println!("skipped: `{FILE}` is not there");
        return None;
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut all = Bookings { booked: vec![], known: vec![], cancelled: vec![], lead_days: vec![] };
    for batch in reader {
        let batch = batch.unwrap();
        let whole = |column: &ArrayRef| {
            cast(column, &DataType::Int64).unwrap().as_primitive::<Int64Type>().values().to_vec()
        };
        let numbers = |name: &str| whole(batch.column_by_name(name).unwrap());
        let times = |name: &str| {
            let seconds = DataType::Timestamp(TimeUnit::Second, None);
            whole(&cast(batch.column_by_name(name).unwrap(), &seconds).unwrap())
        };
        all.booked.extend(times("ts"));
        all.known.extend(times("label_ts"));
        all.cancelled.extend(numbers("label").iter().map(|label| *label == 1));
        all.lead_days.extend(numbers("lead_time"));
    }
    Some(all)
}

impl Bookings {
    /// What was known at `now`: later bookings and labels are not in it.
    fn model(&self, now: i64, stratum: impl Fn(i64) -> &'static str) -> DelayModel {
        let mut model = DelayModel::new(DAY).unwrap();
        for row in (0..self.booked.len()).filter(|&row| self.booked[row] < now) {
            let stratum = stratum(self.lead_days[row]);
            model.add_records(stratum, &[self.booked[row]]);
            if self.known[row] <= now {
                let (booked, known) = (&self.booked[row..=row], &self.known[row..=row]);
                model.add_labels(stratum, booked, known, &self.cancelled[row..=row]).unwrap();
            }
        }
        model
    }

    fn truth(&self, from: i64, to: i64) -> f64 {
        let window: Vec<bool> = (0..self.booked.len())
            .filter(|&row| (from..to).contains(&self.booked[row]))
            .map(|row| self.cancelled[row])
            .collect();
        window.iter().filter(|cancelled| **cancelled).count() as f64 / window.len() as f64
    }
}

fn first_of(year: i16, month: i8) -> i64 {
    format!("{year}-{month:02}-01T00:00:00Z").parse::<Timestamp>().unwrap().as_second()
}

fn lead(days: i64) -> &'static str {
    match days {
        ..=7 => "within a week",
        8..=30 => "within a month",
        _ => "later",
    }
}

#[test]
fn table() {
    let Some(bookings) = bookings() else { return };
    for (name, stratum) in [("one", (|_| "all") as fn(i64) -> &'static str), ("lead", lead)] {
        let (mut inside, mut n, mut sq, mut sf) = (0, 0, 0.0, 0.0);
        for step in 0..20 {
            let (year, month) = (2015 + ((9 + step) / 12) as i16, ((9 + step) % 12 + 1) as i8);
            let (ny, nm) = (2015 + ((10 + step) / 12) as i16, ((10 + step) % 12 + 1) as i8);
            let (from, to) = (first_of(year, month), first_of(ny, nm));
            let truth = bookings.truth(from, to);
            let started = std::time::Instant::now();
            let model = bookings.model(to, stratum);
            match model.corrected(from..to, to, (60 * DAY) as f64, 1) {
                Ok(found) => {
                    let m = model.maturity(from..to, to).unwrap();
                    println!(
                        "{name} {year}-{month:02} so far {:.3} corrected {:.3} [{:.3}, {:.3}] truth {truth:.3} unseen {:.3} trials {} err {:?} maturity {:.2} arr {} exp {:.0} {:?}",
                        found.so_far.value,
                        found.share.value,
                        found.share.low,
                        found.share.high,
                        found.unseen,
                        found.trials.len(),
                        found.usual_error(),
                        m.share(),
                        m.arrived,
                        m.expected,
                        started.elapsed()
                    );
                    if step >= 2 {
                        n += 1;
                        inside += usize::from(found.share.low <= truth && truth <= found.share.high);
                        sq += (found.share.value - truth).powi(2);
                        sf += (found.so_far.value - truth).powi(2);
                    }
                }
                Err(e) => println!("{year}-{month} {e}"),
            }
        }
        println!(
            "{name} inside {inside}/{n} rmse {} so far {}",
            (sq / n as f64).sqrt(),
            (sf / n as f64).sqrt()
        );
    }
}
