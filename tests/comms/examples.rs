//! The examples, as a reader runs them: each ends well and says what its text promises.

use crate::common::examples;

fn says(name: &str, texts: &[&str]) {
    examples::says(name, &[], texts);
}

#[test]
fn a_greeting_is_answered_and_its_letter_follows() {
    says("toolkit", &["Hello, Ada", "under correlation ID visitor-"]);
}

#[test]
fn events_come_to_all_but_who_is_behind() {
    says("events", &["lamp-brass: 3 were told", "`basket.added` was missed by statistics", "all is handled"]);
}

#[test]
fn grpc_answers_refuses_ends_in_time_and_opens_its_breaker() {
    let texts =
        ["u-7: Ok(\"Ada\")", "Err(NotFound)", "no e-mail address", "DeadlineExceeded", "not even called"];
    says("grpc", &texts);
}

#[test]
fn messages_are_neither_lost_nor_counted_twice() {
    says("messages", &examples::MESSAGES);
}

#[test]
fn the_gateway_caches_joins_and_limits() {
    let texts =
        ["gateway; fwd=miss; stored", "gateway; hit", "\"part\":\"product\"", "400", "404", "429 Too Many"];
    says("gateway", &texts);
}

#[test]
fn a_service_behind_all_layers_fails_and_comes_back() {
    let texts = ["100 left", "(an old answer)", "no answer", "breaker:     Open", "(breaker: Closed)"];
    says("resilience", &texts);
}

#[test]
fn who_has_no_token_scope_or_certificate_is_refused() {
    let texts = [
        "with both:          charged",
        "answered 401",
        "answered 403",
        "invalid peer certificate",
        "with a new key",
    ];
    says("security", &texts);
}

#[test]
fn a_test_of_a_service_sees_its_spans() {
    says("testing", &["spans under test-"]);
}
