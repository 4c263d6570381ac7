//! The examples, as a reader runs them: each ends well and says what its text promises.

use std::path::PathBuf;
use std::process::Command;

/// Where cargo has put an example: beside the folder of this test's own file.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's file");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("the folder of the profile");
    let program = folder.join("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    program
}

/// Runs it in a folder of its own and gives what it prints.
fn printed(name: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = Command::new(program(name)).current_dir(folder.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{name}: {}\n{said}", ran.status);
    String::from_utf8(ran.stdout).expect("text")
}

/// That an example prints these texts, one after the other.
fn says(name: &str, texts: &[&str]) {
    let printed = printed(name);
    let mut rest = printed.as_str();
    for text in texts {
        let found = rest.find(text);
        rest = &rest[found.unwrap_or_else(|| panic!("{name} does not say `{text}` in\n{printed}"))..];
    }
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
