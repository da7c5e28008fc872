//! Hotel bookings whose cancellations become known sooner than stays: what was known at the end of a month.

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use steersman_stats::labels::DelayModel;
use steersman_stats::labels::powered::tuned_mean;

const DAY: i64 = 86_400;
const FILE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/drift/hotel_resort_bookings.parquet");

struct Bookings {
    booked: Vec<i64>,
    known: Vec<i64>,
    cancelled: Vec<bool>,
}

/// The bookings, times in seconds; none where the file is not at hand.
fn bookings() -> Option<Bookings> {
    let file = File::open(FILE).ok()?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut all = Bookings { booked: vec![], known: vec![], cancelled: vec![] };
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
    }
    Some(all)
}

impl Bookings {
    /// What was known at `now`: later bookings and labels are not in it.
    fn model(&self, now: i64) -> DelayModel {
        let mut model = DelayModel::new(DAY).unwrap();
        for row in (0..self.booked.len()).filter(|&row| self.booked[row] < now) {
            model.add_records("all", &[self.booked[row]]);
            if self.known[row] <= now {
                let (booked, known) = (&self.booked[row..=row], &self.known[row..=row]);
                model.add_labels("all", booked, known, &self.cancelled[row..=row]).unwrap();
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

/// Delays learnt two months ago count half.
const HALF_LIFE: f64 = 60.0 * DAY as f64;

#[test]
fn bookings_of_august_2016_as_seen_on_the_first_of_september() {
    let Some(bookings) = bookings() else {
        println!("skipped: `{FILE}` is not there");
        return;
    };
    let (from, now) = (first_of(2016, 8), first_of(2016, 9));
    let model = bookings.model(now);
    let truth = bookings.truth(from, now);
    assert!((truth - 0.249).abs() < 0.001);
    // Half of the labels are there, and cancellations are too many among them.
    let maturity = model.maturity(from..now, now).unwrap();
    assert!((0.45..0.6).contains(&maturity.share()) && !maturity.is_final(), "{maturity:?}");
    let horizon = model.curve(None, now).unwrap().age_of(0.99).unwrap();
    let dependence = model.dependence(horizon, now).unwrap();
    assert!(dependence.matters() && dependence.rate_ratio > 1.25, "{dependence:?}");
    assert_eq!(dependence.medians.map(|median| median / DAY), [12, 8]);
    let found = model.corrected(from..now, now, HALF_LIFE, 1).unwrap();
    let so_far = found.so_far.unwrap();
    assert!(so_far.value > 0.33 && so_far.low > truth, "{so_far:?}");
    assert!((found.share.value - truth).abs() < 0.02, "{:?}", found.share);
    assert!(found.share.low < truth && truth < found.share.high, "{:?}", found.share);
    assert!(found.trials.len() >= 8 && found.share.high - found.share.low < 0.25);
    // Asked today about that day, the answer is the same.
    assert_eq!(bookings.model(i64::MAX).corrected(from..now, now, HALF_LIFE, 1).unwrap(), found);
    // The weights of the labelled rows lead to the same share.
    let rows = || (0..bookings.booked.len()).filter(|&row| (from..now).contains(&bookings.booked[row]));
    let outcomes: Vec<Option<f64>> = rows()
        .map(|row| (bookings.known[row] <= now).then(|| f64::from(u8::from(bookings.cancelled[row]))))
        .collect();
    let arrivals: Vec<f64> = rows()
        .map(|row| {
            let cancelled = bookings.cancelled[row] && bookings.known[row] <= now;
            found.arrived_by("all", cancelled, now - bookings.booked[row]).unwrap()
        })
        .collect();
    let weighted = tuned_mean(&vec![0.5; arrivals.len()], &outcomes, &arrivals).unwrap().mean;
    assert!((weighted.value - truth).abs() < 0.04, "{weighted:?}");
    // How fast the past is forgotten moves the estimate, not beyond its interval.
    for days in [30, 120, 100_000] {
        let found = model.corrected(from..now, now, (days * DAY) as f64, 1).unwrap();
        assert!(found.share.low < truth && truth < found.share.high, "{days}: {:?}", found.share);
        assert!(found.share.value < so_far.value - 0.03, "{days}: {:?}", found.share);
    }
    // Who would rather wait looks at a window that ended two months ago.
    let last = model.latest_final(31 * DAY, now).unwrap().unwrap();
    assert_eq!((now - last.end) / DAY, 63);
}

#[test]
fn other_months_as_seen_at_their_ends() {
    let Some(bookings) = bookings() else {
        println!("skipped: `{FILE}` is not there");
        return;
    };
    let (mut inside, mut off, mut off_so_far) = (0, 0.0, 0.0);
    let months: Vec<(i16, i8)> =
        (1..=12).map(|month| (2016, month)).chain((1..=6).map(|month| (2017, month))).collect();
    println!("month    so far  corrected                truth");
    for pair in months.windows(2) {
        let [(year, month), (next_year, next_month)] = [pair[0], pair[1]];
        let (from, now) = (first_of(year, month), first_of(next_year, next_month));
        let found = bookings.model(now).corrected(from..now, now, HALF_LIFE, 1).unwrap();
        let (share, so_far, truth) = (found.share, found.so_far.unwrap().value, bookings.truth(from, now));
        println!(
            "{year}-{month:02}  {so_far:.3}   {:.3} [{:.3}, {:.3}]  {truth:.3}",
            share.value, share.low, share.high
        );
        inside += usize::from(share.low <= truth && truth <= share.high);
        off += (share.value - truth).powi(2);
        off_so_far += (so_far - truth).powi(2);
    }
    let count = months.len() - 1;
    let (off, off_so_far) = ((off / count as f64).sqrt(), (off_so_far / count as f64).sqrt());
    println!("off by {off:.3} with, {off_so_far:.3} without correction; {inside} of {count} intervals hold");
    assert!(off < 0.55 * off_so_far, "{off} against {off_so_far}");
    assert!(inside + 1 >= count, "{inside} of {count}");
}
