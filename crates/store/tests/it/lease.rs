//! Two replicas on one Postgres: one leads, and the log never forks.

use crate::place::{Place, started};
use steersman_domain::ErrorKind;
use steersman_domain::config::{Database, StoreSection};
use steersman_store::{Leader, Store};

const NOW: jiff::Timestamp = jiff::Timestamp::UNIX_EPOCH;

/// A second replica of the same deployment.
async fn second(place: &Place) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut section = place.section.clone();
    section.key_file = Some(place.key());
    let store = Store::open_as(dir.path(), &section).await.unwrap();
    (dir, store)
}

/// The lease runs out.
async fn runs_out(place: &Place) {
    place.raw("UPDATE leader_lease SET expires = '-infinity'").await;
}

#[tokio::test]
async fn one_leads_and_who_led_before_changes_nothing() {
    let Some(place) = Place::postgres().await else { return };
    let a = place.try_open().await.unwrap();
    let (_dir, b) = second(&place).await;
    // Nobody leads: nobody writes.
    assert_eq!(a.leader().await.unwrap(), None);
    assert_eq!(a.commit(NOW, started(1)).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(a.take_lead("a", "http://a").await.unwrap(), Some(1));
    assert_eq!(b.take_lead("b", "http://b").await.unwrap(), None);
    let leader = Leader { replica: "a".to_owned(), address: "http://a".to_owned(), term: 1 };
    assert_eq!(b.leader().await.unwrap(), Some(leader));
    a.commit(NOW, started(300)).await.unwrap();
    assert_eq!(b.commit(NOW, started(1)).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(a.keep_lead().await.unwrap() && !b.keep_lead().await.unwrap());
    runs_out(&place).await;
    // Late, but nobody else was there.
    assert!(a.keep_lead().await.unwrap());
    runs_out(&place).await;
    assert_eq!(b.take_lead("b", "http://b").await.unwrap(), Some(2));
    assert_eq!(a.commit(NOW, started(1)).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert!(!a.keep_lead().await.unwrap());
    // The new one goes on where the old one ended, and so on.
    assert_eq!(b.commit(NOW, started(2)).await.unwrap()[0].seq, 300);
    a.give_up_lead().await.unwrap();
    assert_eq!(b.leader().await.unwrap().unwrap().replica, "b");
    b.give_up_lead().await.unwrap();
    assert_eq!(a.take_lead("a", "http://a").await.unwrap(), Some(3));
    assert_eq!(a.commit(NOW, started(1)).await.unwrap()[0].seq, 302);
    assert_eq!(place.verify().await.unwrap(), 303);
}

#[tokio::test]
async fn many_that_grab_at_once_make_one_leader_a_term() {
    let Some(place) = Place::postgres().await else { return };
    let first = place.try_open().await.unwrap();
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(second(&place).await);
    }
    for term in 1..=10u64 {
        let grabs = replicas.iter().map(|(_, store)| {
            let store = store.clone();
            tokio::spawn(async move {
                let term = store.take_lead("one", "").await.unwrap();
                (term, store.commit(NOW, started(3)).await)
            })
        });
        let mut written = 0;
        for grab in grabs.collect::<Vec<_>>() {
            let (led, outcome) = grab.await.unwrap();
            assert_eq!(led.is_some(), outcome.is_ok());
            assert!(led.is_none_or(|led| led == term));
            written += usize::from(outcome.is_ok());
        }
        assert_eq!(written, 1);
        runs_out(&place).await;
    }
    assert_eq!(first.entries(0, 100).await.unwrap().len(), 30);
    assert_eq!(place.verify().await.unwrap(), 30);
}

#[tokio::test]
async fn another_key_or_database_is_refused_in_words() {
    let Some(place) = Place::postgres().await else { return };
    place.filled(1).await;
    let dir = tempfile::tempdir().unwrap();
    let problem = Store::open_as(dir.path(), &place.section).await.unwrap_err();
    assert_eq!(problem.field.as_deref(), Some("store.key_file"), "{problem}");
    let Database::Postgres(url) = &place.section.database else { return };
    let database = Database::Postgres(format!("{url}&password=geheim&dbname=none"));
    let section = StoreSection { database, ..place.section.clone() };
    let problem = Store::open_as(dir.path(), &section).await.unwrap_err();
    assert_eq!(problem.kind, ErrorKind::NotFound);
    assert!(problem.hint.is_some() && !problem.to_string().contains("geheim"), "{problem}");
}
