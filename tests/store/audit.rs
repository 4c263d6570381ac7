//! What holds of the audit, whatever the store is kept in.

use std::time::Duration;

use throughline::dashboard::model::audit::{Action, AuditFilter, Audited, Ending, Intent};
use throughline::dashboard::store::{AuditLog, Limits, Reader, Store};

use super::place::Place;
use crate::common::{eventually, otlp};

const DAY: u64 = 24 * 3_600 * 1_000_000_000;

fn intent(at: u64, action: Action, who: &str, queue: &str) -> Intent {
    Intent {
        at,
        action,
        role: "operator".into(),
        who: who.into(),
        session: Some("77aa".into()),
        broker: "eu".into(),
        virtual_host: "/".into(),
        queue: queue.into(),
        detail: "all messages".into(),
    }
}

async fn all(store: &Store, filter: AuditFilter) -> Vec<Audited> {
    store.audited(&AuditFilter { most: 100, ..filter }).await.expect("a read")
}

async fn ids(store: &Store, filter: AuditFilter) -> Vec<u64> {
    all(store, filter).await.iter().map(|row| row.id).collect()
}

pub async fn deeds_are_written_before_and_their_ends_after_and_all_of_it_stays(place: &Place) {
    let store = place.open().await;
    let now = otlp::now();
    let odd = "größe' OR 1=1 -- %_\0";
    let mut written = Vec::new();
    for (age, action, who, queue) in [
        (3, Action::Peek, "Alice, key 3f", "dead"),
        (2, Action::Redrive, "bob", odd),
        (1, Action::Purge, "bob", "other"),
    ] {
        let commits = *Reader::commits(&store).borrow();
        written.push(store.begin_audit(intent(now - age * DAY, action, who, queue)).await.expect("written"));
        assert_ne!(*Reader::commits(&store).borrow(), commits, "open pages are told");
    }
    assert!(written.is_sorted(), "{written:?}");
    let rows = all(&store, AuditFilter::default()).await;
    assert!(rows.len() == 3 && rows.iter().all(|row| row.ending.is_none()), "{rows:?}");
    assert_eq!(
        rows[1].intent,
        Intent { queue: odd.replace('\0', "␀"), ..intent(now - 2 * DAY, Action::Redrive, "bob", "") }
    );
    let ending = Ending { at: now, is_done: true, messages: 7, outcome: "7 sent".into() };
    store.end_audit(written[1], ending.clone()).await.expect("written");
    let failed = Ending { is_done: false, outcome: "no such queue".into(), ..ending.clone() };
    store.end_audit(written[2], failed.clone()).await.expect("written");

    let store = place.reopen(store).await;
    let endings: Vec<_> =
        all(&store, AuditFilter::default()).await.into_iter().map(|row| row.ending).collect();
    assert_eq!(endings, [Some(failed), Some(ending), None], "the newest first, across a restart");
    let none = AuditFilter::default;
    let text = |text: &str| Some(text.to_owned());
    for (filter, wanted) in [
        (AuditFilter { action: Some(Action::Redrive), ..none() }, &written[1..2]),
        (AuditFilter { who: text("aLICE"), ..none() }, &written[..1]),
        (AuditFilter { queue: text("OR 1=1"), ..none() }, &written[1..2]),
        (AuditFilter { queue: text("%"), ..none() }, &written[1..2]),
        (AuditFilter { broker: text("e"), ..none() }, &[]),
        (
            AuditFilter { virtual_host: text("/"), broker: text("eu"), before: Some(written[1]), ..none() },
            &written[..1],
        ),
        (AuditFilter { from: now - 2 * DAY, to: now - DAY, ..none() }, &written[1..2]),
    ] {
        assert_eq!(ids(&store, filter.clone()).await, wanted, "{filter:?}");
    }
    assert_eq!(ids(&store, AuditFilter { only_trouble: true, ..none() }).await, [written[2], written[0]]);
    let next = store.begin_audit(intent(now, Action::Reveal, "c", "q")).await.expect("written");
    assert!(next > written[2]);
    store.close().await;
}

pub async fn old_deeds_go_by_their_own_age_and_by_no_size(place: &Place) {
    let store = place.open().await;
    let now = otlp::now();
    store.begin_audit(intent(now - 11 * DAY, Action::Peek, "old", "q")).await.expect("written");
    let young = store.begin_audit(intent(now - 9 * DAY, Action::Peek, "young", "q")).await.expect("written");
    store.close().await;
    drop(store);
    // Everything that was received would go at once: by age and by size.
    let limits = Limits {
        max_age: Duration::from_nanos(1),
        max_bytes: 1,
        audit_age: Duration::from_nanos(10 * DAY),
        every: Duration::from_millis(50),
        ..Limits::default()
    };
    let store = place.open_with(limits).await;
    eventually("the old one goes", 20, async || {
        (ids(&store, AuditFilter::default()).await == [young]).then_some(())
    })
    .await;
    store.close().await;
}
