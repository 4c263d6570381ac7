//! Messages that a tap saw are kept as logs are, in an index of their own: neither hides the other.

use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::messages::{ID, KIND, Message, QUEUE, SCOPE, Source, request};
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::store::{Ingest, LogFilter, LogKind, Reader, Store};

use super::logs::{list, seal};
use super::place::{Place, id};
use crate::common::otlp::{self, log};

/// Puts messages into the store as a tap does.
async fn tap(store: &Store, messages: &[Message]) {
    let source = Source { broker: "eu-1".into(), system: "rabbitmq".into(), ..Source::default() };
    let batch = Batch::logs(request(&source, messages).into(), &Keys::default()).expect("our own bytes");
    store.ingest(batch).await.expect("stored");
}

fn message(number: u64, at: u64) -> Message {
    Message {
        seen: at + number * 1_000_000,
        exchange: "orders".into(),
        routing_key: "order.placed".into(),
        queues: vec!["payments".into(), format!("q{}", number % 3)],
        id: format!("m{number}"),
        correlation_id: format!("c{}", number % 5),
        kind: "order.placed".into(),
        body: format!("{{\"number\":{number}}}").into_bytes(),
        trace_id: number.is_multiple_of(2).then(|| id(number)),
        ..Message::default()
    }
}

async fn found(store: &Store, filter: LogFilter) -> Vec<String> {
    let page = store.logs(&LogFilter { limit: 1_000, ..filter }).await.unwrap();
    assert!(page.complete && page.unreadable == 0 && page.not_indexed == 0);
    page.rows
        .iter()
        .map(|row| Message::of(&row.log).map_or(row.log.body.to_text(), |message| message.id))
        .collect()
}

fn of(key: &str, value: &str) -> LogFilter {
    LogFilter {
        kind: LogKind::Messages,
        attributes: vec![(key.into(), value.into())],
        ..LogFilter::default()
    }
}

pub async fn messages_and_logs_do_not_hide_each_other(place: &Place) {
    let mut store = place.open().await;
    let begin = otlp::now() - 60_000_000_000;
    for round in 0..3u64 {
        let first = round * 10;
        let messages: Vec<_> = (first..first + 10).map(|number| message(number, begin)).collect();
        tap(&store, &messages).await;
        let line = format!("line {round}");
        list(&store, Some("orders"), &[log(&line, 9, begin + round * 5_000_000).of(first)]).await;
        let all = first + 10;

        let logs = found(&store, LogFilter::default()).await;
        assert_eq!(logs.len() as u64, round + 1, "{logs:?}");
        let every = LogFilter { kind: LogKind::Messages, ..LogFilter::default() };
        let messages = found(&store, every.clone()).await;
        assert_eq!((messages.len() as u64, messages[0].as_str()), (all, format!("m{}", all - 1).as_str()));
        let range = LogFilter { from: Some(begin), to: Some(otlp::now()), ..every.clone() };
        assert_eq!(store.log_counts(&range, 10).await.unwrap().total(), all);
        let of_logs = LogFilter { kind: LogKind::Logs, ..range };
        assert_eq!(store.log_counts(&of_logs, 10).await.unwrap().total(), round + 1);

        assert_eq!(found(&store, of(ID, "m3")).await, ["m3"]);
        assert_eq!(found(&store, of(KIND, "order.placed")).await.len() as u64, all);
        assert_eq!(
            found(&store, of(QUEUE, "q1")).await.len() as u64,
            (0..all).filter(|n| n % 3 == 1).count() as u64
        );
        let text = LogFilter { text: Some("\"NUMBER\":7}".into()), ..every.clone() };
        assert_eq!(found(&store, text).await, ["m7"]);
        let correlated = LogFilter { correlation: Some("c4".into()), ..every.clone() };
        assert_eq!(found(&store, correlated).await.len() as u64, all / 5);

        let trace = store.trace(id(first)).await.unwrap().expect("it is kept");
        assert_eq!((trace.logs.len(), trace.messages.len()), (1, 1), "apart within a trace too");
        let story = store.correlated("c1").await.unwrap();
        assert_eq!(story.logs, []);
        assert!(
            story.messages.iter().all(|message| message.trace_id.is_none() && message.correlation_id == "c1")
        );
        assert!(!story.messages.is_empty() && !story.traces.is_empty());
        let services = store.services(0, otlp::now()).await.unwrap();
        assert!(services.iter().all(|name| name != SCOPE), "a tap is no service: {services:?}");
        match round {
            0 => seal(&store, 100_000).await,
            1 => {
                seal(&store, 200_000).await;
                store = place.reopen(store).await;
            }
            _ => {}
        }
    }
    assert_eq!(store.holdings().await.unwrap().runs, 2);
    store.close().await;
}
