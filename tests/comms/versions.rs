//! Interfaces that end and requests that do not fit, over the wire: what each answer says of it.

use crate::common::serve;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use throughline::comms::correlation::CorrelationId;
use throughline::comms::http::{Deprecated, RequestSchema, instrument};
use throughline::comms::names;
use throughline::telemetry::testing::SpanRecorder;

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

#[tokio::test]
async fn an_old_version_is_served_on_and_says_where_the_new_one_is() {
    let recorder = SpanRecorder::install();
    let ending = Deprecated::since(UNIX_EPOCH + Duration::from_secs(1_767_225_600))
        .sunset(UNIX_EPOCH + Duration::from_secs(1_798_761_600))
        .successor("/v1", "/v2")
        .documentation("https://shop.example/versions");
    let one = |text: &'static str| get(move || async move { ([("link", "</>; rel=\"index\"")], text) });
    let routes = Router::new()
        .nest("/v1", Router::new().route("/orders/{id}", one("old")).layer(ending.clone().layer()))
        .nest("/v2", Router::new().route("/orders/{id}", one("new")))
        .merge(Router::new().route("/orders/{id}", one("oldest")).layer(ending.layer()));
    let address = serve(instrument(routes, "orders")).await;
    let links = |answer: &reqwest::Response| -> Vec<String> {
        let all = answer.headers().get_all("link").iter();
        all.map(|link| link.to_str().expect("text").to_owned()).collect()
    };
    for (path, body, successor) in [
        ("/v1/orders/o-1", "old", Some("/v2/orders/o-1")),
        ("/orders/o-1", "oldest", Some("/v2/orders/o-1")),
        ("/v2/orders/o-1", "new", None),
    ] {
        let id = CorrelationId::generate("test");
        let request =
            client().get(format!("http://{address}{path}")).header(names::X_CORRELATION_ID, id.as_str());
        let answer = request.send().await.expect("an answer");
        let header =
            |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        let told = (header("deprecation"), header("sunset"));
        let wanted =
            successor.map(|_| ("@1767225600".to_owned(), "Fri, 01 Jan 2027 00:00:00 GMT".to_owned()));
        assert_eq!(told.0.zip(told.1), wanted, "{path}");
        let mut wanted = vec!["</>; rel=\"index\"".to_owned()];
        if let Some(successor) = successor {
            wanted.push(format!("<{successor}>; rel=\"successor-version\""));
            wanted
                .push("<https://shop.example/versions>; rel=\"deprecation\"; type=\"text/html\"".to_owned());
        }
        assert_eq!(links(&answer), wanted, "{path}");
        assert_eq!(answer.text().await.expect("text"), body);
        let spans = recorder.wait(&id, Duration::from_secs(20), |spans| spans.len() == 1).await;
        let span = spans.iter().next().expect("one");
        let marked = span.attribute(names::API_DEPRECATED);
        assert_eq!(marked.as_deref(), successor.map(|_| "true"), "{path}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_refused_with_its_field_and_without_its_value() {
    let schema = json!({
        "type": "object",
        "required": ["sku", "quantity"],
        "properties": {
            "sku": { "type": "string", "minLength": 1 },
            "quantity": { "type": "integer", "minimum": 1 },
        },
    });
    let schema = RequestSchema::new(&schema).expect("a schema");
    let take = |Json(body): Json<Value>| async move { body["sku"].as_str().unwrap_or("?").to_owned() };
    let routes = Router::new()
        .route("/items", post(take).get(async || "all"))
        .layer(schema.layer())
        .layer(DefaultBodyLimit::max(1000));
    let url = format!("http://{}/items", serve(instrument(routes, "stock")).await);
    let long = format!(r#"{{"sku":"{}","quantity":1}}"#, "x".repeat(2000));
    for (kind, body, status, pointers, says) in [
        ("application/json", r#"{"sku":"lamp","quantity":1}"#, 200, vec![], "lamp"),
        ("application/vnd.shop+json; charset=utf-8", r#"{"sku":"lamp","quantity":1}"#, 200, vec![], "lamp"),
        ("text/plain", r#"{"sku":"lamp","quantity":1}"#, 415, vec![], "application/json"),
        ("application/json", r#"{"sku":"hunter2","#, 400, vec![], "line 1, column 17"),
        ("application/json", "", 400, vec![], "no JSON"),
        ("application/json", "[1]", 422, vec![""], "the body"),
        ("application/json", r#"{"sku":"lamp"}"#, 422, vec![""], "quantity"),
        (
            "application/json",
            r#"{"sku":"","quantity":"hunter2"}"#,
            422,
            vec!["/quantity", "/sku"],
            "more is wrong",
        ),
        ("application/json", long.as_str(), 413, vec![], "limit"),
    ] {
        let request = client().post(&url).header("content-type", kind).body(body.to_owned());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{kind} {body}");
        let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
        let text = answer.text().await.expect("text");
        assert!(text.contains(says) && !text.contains("hunter2"), "{body}: {text}");
        if status != 200 {
            assert_eq!(kind, "application/problem+json");
            let told: Value = serde_json::from_str(&text).expect("a problem");
            let errors = told["errors"].as_array().cloned().unwrap_or_default();
            let mut told: Vec<_> = errors.iter().filter_map(|fault| fault["pointer"].as_str()).collect();
            told.sort_unstable();
            assert_eq!(told, pointers, "{text}");
        }
    }
    assert_eq!(
        client().get(&url).send().await.expect("an answer").status(),
        200,
        "there is no body to look at"
    );
    assert!(RequestSchema::new(&json!({ "type": 7 })).is_err());
    assert!(RequestSchema::new(&json!({ "$ref": "https://elsewhere.example/schema" })).is_err());
}
