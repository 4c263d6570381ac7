//! Pages of messages where no tap saw any, and what is said of taps.

use std::sync::atomic::Ordering;

use super::*;
use crate::dashboard::model::messages::{Source, TapStatus};
use crate::dashboard::view;

#[tokio::test]
async fn a_message_that_only_spans_tell_of_has_a_page_and_is_found() {
    let pages = usual();
    let page = get(&pages, "/messages/msg-1").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has(&["No tap saw this message", "Its way", "orders", "payments", "Its trace"]);
    let found = get(&pages, "/search?q=msg-1").await;
    assert_eq!(found.status, StatusCode::SEE_OTHER);
    assert_eq!(found.headers["location"], "/messages/msg-1");
    assert_eq!(get(&pages, "/messages/none-such").await.status, StatusCode::NOT_FOUND);
    let told = get(&pages, "/api/messages/msg-1").await;
    assert!(told.text.contains("\"seen\":[]") && told.text.contains("\"kind\":\"service\""), "{}", told.text);
}

#[tokio::test]
async fn without_a_tap_the_list_says_how_one_is_switched_on() {
    get(&usual(), "/messages").await.has(&["No messages seen", "THROUGHLINE_TAP=amqp://", "No tap is on"]);
}

#[tokio::test]
async fn a_tap_that_does_not_listen_and_messages_let_go_are_told() {
    let state = super::serve::state(Vec::new());
    let mut tap = TapStatus::new(Source {
        broker: "eu-1".into(),
        system: "rabbitmq".into(),
        server: "mq:5672".into(),
        virtual_host: "/".into(),
    });
    tap.failing = Some(("<b>refused</b>".into(), now() - 120_000 * MS));
    tap.counts.dropped.store(7, Ordering::Relaxed);
    state.board.put_tap(tap);
    let pages = view::router(state);
    let list = super::get(&pages, "/messages").await;
    let list = Answer { text: list.text.replace([format::NBSP, '\u{202f}'], " "), ..list };
    list.has(&[
        "RabbitMQ eu-1 at mq:5672, virtual host /: messages are not seen for 2 m: &lt;b&gt;refused",
        "7 messages were let go",
    ]);
    super::get(&pages, "/status").await.has(&["RabbitMQ eu-1 at mq:5672", "A source does not work"]);
}
