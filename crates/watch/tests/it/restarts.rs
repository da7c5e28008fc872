//! Profiles of windows are made from the record log, so a platform that ended in the middle of a window measures it as one
//! that never ended.

use crate::{World, at, name};
use jiff::Timestamp;
use steersman_domain::Measurement;
use steersman_store::{MeasurementQuery, WindowRow};

/// Three days of records and labels, if wanted with an end and a new start in the middle of each.
async fn lived(interrupted: bool) -> (Vec<WindowRow>, Vec<Measurement>) {
    let world = World::new();
    let mut open = world.open().await;
    for day in 40..43 {
        open.day(day, 0..150, 0.0);
        if interrupted {
            // Part of the window is in a segment, part in the write-ahead log.
            open.log.flush().unwrap();
            drop(open);
            open = world.open().await;
        }
        open.day(day, 150..300, if day == 42 { 40.0 } else { 0.0 });
        open.labels(day, 0..300, true, at(day + 1, 0));
        if interrupted {
            drop(open);
            open = world.open().await;
        }
        open.tick(at(day + 2, 0)).await;
    }
    let query = MeasurementQuery { monitor: None, since: None, limit: 10_000 };
    let windows = open.store.windows(&name(), Timestamp::MIN).await.unwrap();
    (windows, open.store.measurements(&name(), &query).await.unwrap())
}

#[tokio::test]
async fn a_window_that_was_interrupted_is_measured_as_one_that_was_not() {
    let (calm, broken) = (lived(false).await, lived(true).await);
    assert!(calm.0.len() >= 2 && calm.1.len() > 10, "{} windows", calm.0.len());
    // To the byte: profiles and everything that was concluded from them.
    assert_eq!(calm.0, broken.0);
    assert_eq!(calm.1, broken.1);
}
