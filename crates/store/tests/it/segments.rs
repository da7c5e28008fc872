//! The catalogue of segments: all or nothing, and who comes too late is refused.

use crate::place::{Place, both};
use steersman_domain::ModelName;
use steersman_store::{SegmentChange, SegmentRow};

both!(a_change_of_segments_happens_as_a_whole_or_not_at_all);

fn row(replica: &str, from: u64) -> SegmentRow {
    SegmentRow {
        object: format!("m/{replica}/{from}"),
        replica: replica.to_owned(),
        from,
        to: from + 10,
        span: (from > 0).then_some((-5, 7)),
        received: (1, 2),
        records: 8,
        labels: 2,
        bytes: 4_000,
    }
}

async fn a_change_of_segments_happens_as_a_whole_or_not_at_all(place: Place) {
    let store = place.open().await;
    let model: ModelName = "m".parse().unwrap();
    let flushed = Some(("b".to_owned(), 20));
    let change =
        SegmentChange { add: vec![row("b", 10), row("b", 0), row("a", 0)], remove: Vec::new(), flushed };
    // Sent again, as after an answer that was lost, it changes nothing.
    for _ in 0..2 {
        assert_eq!(store.change_segments(&model, &change).await.unwrap(), None);
    }
    let list = store.segments(&model).await.unwrap();
    assert_eq!(list.segments, [row("a", 0), row("b", 0), row("b", 10)]);
    assert_eq!(list.flushed, [("b".to_owned(), 20)]);
    let late = SegmentChange {
        add: vec![row("c", 0)],
        remove: vec!["m/a/0".to_owned(), "m/a/5".to_owned()],
        flushed: Some(("c".to_owned(), 10)),
    };
    assert_eq!(store.change_segments(&model, &late).await.unwrap().as_deref(), Some("m/a/5"));
    assert_eq!(store.segments(&model).await.unwrap(), list);
    let remove = vec!["m/b/0".to_owned(), "m/b/10".to_owned()];
    let swap = SegmentChange { add: vec![row("b", 5)], remove, flushed: None };
    assert_eq!(store.change_segments(&model, &swap).await.unwrap(), None);
    store.give_up_lead().await.unwrap();
    store.close().await;
    drop(store);
    let list = place.open().await.segments(&model).await.unwrap();
    assert_eq!(list.segments, [row("a", 0), row("b", 5)]);
}
