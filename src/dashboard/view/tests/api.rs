//! `/api`: the document is true, whole, and the same as the routes; errors are JSON; the page tells of each operation.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::dashboard::fixture::reader::Memory;
use crate::dashboard::fixture::{breakers, queues};
use crate::dashboard::view;

/// Everything that the fixtures have.
fn pages() -> Router {
    let mut traces = shop::story(now() - 600_000 * MS);
    traces.extend(cases::all(now() - 900_000 * MS).into_iter().map(|case| case.trace));
    traces.extend((0..20).map(|number| shop::calm(number, now() - (1_000 + number * 20) * 1_000 * MS)));
    let mut memory = Memory::new(traces);
    memory.series = [breakers::series(now()), queues::series(now())].concat();
    let mut state = super::serve::state(Vec::new());
    state.reader = Arc::new(memory);
    state.board = Arc::new(queues::board(now()));
    view::router(state)
}

async fn told(pages: &Router, path: &str) -> (StatusCode, Value) {
    let answer = get(pages, path).await;
    let read = serde_json::from_str(&answer.text);
    (answer.status, read.unwrap_or_else(|error| panic!("{path}: {error} in {}", answer.text)))
}

async fn document(pages: &Router) -> Value {
    told(pages, "/api/openapi.json").await.1
}

/// Whether an answer is as its schema says; what is not.
fn faults(document: &Value, schema: &Value, answer: &Value) -> Vec<String> {
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&whole).expect("a schema");
    validator.iter_errors(answer).map(|fault| format!("{} at {}", fault, fault.instance_path())).collect()
}

/// Addresses that have answers in the fixtures, by their path in the document.
fn asked() -> Vec<(&'static str, String)> {
    let query = |text: &str| format!("/api/traces?last=24h&limit=3&query={}", format::encoded(text));
    vec![
        ("/api/traces", "/api/traces?last=24h&limit=200".into()),
        ("/api/traces", query("status = error")),
        ("/api/traces/{id}", format!("/api/traces/{}", trace_id(1))),
        ("/api/traces/{id}", format!("/api/traces/{}?clock=adjusted&limit=2&row=1", trace_id(1))),
        ("/api/logs", "/api/logs?last=24h".into()),
        ("/api/correlations/{id}", format!("/api/correlations/{}?all=1", shop::CORRELATION)),
        ("/api/search", "/api/search?q=orders".into()),
        ("/api/search", format!("/api/search?q={}", trace_id(1))),
        ("/api/search", "/api/search?q=none-such".into()),
        ("/api/series", "/api/series?name=rabbitmq.*".into()),
        ("/api/overview", "/api/overview?last=24h".into()),
        ("/api/map", "/api/map?last=24h".into()),
        ("/api/services", "/api/services?last=24h".into()),
        ("/api/services/{name}", "/api/services/orders?last=24h".into()),
        ("/api/queues", "/api/queues".into()),
        ("/api/queues/one", "/api/queues/one?broker=eu-1&vhost=%2Fshop&name=payments.charge".into()),
        ("/api/breakers", "/api/breakers".into()),
        ("/api/breakers/one", "/api/breakers/one?service=orders&name=payments".into()),
        ("/api/messages", "/api/messages?last=24h".into()),
        ("/api/messages/{id}", "/api/messages/msg-1".into()),
        ("/api/status", "/api/status".into()),
        ("/api/audit", "/api/audit".into()),
        ("/api/openapi.json", "/api/openapi.json".into()),
    ]
}

#[tokio::test]
async fn answers_are_as_the_document_says() {
    let pages = pages();
    let document = document(&pages).await;
    let asked = asked();
    for (path, address) in &asked {
        let (status, answer) = told(&pages, address).await;
        assert_eq!(status, StatusCode::OK, "{address}: {answer}");
        let schema =
            &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let faults = faults(&document, schema, &answer);
        assert!(faults.is_empty(), "{address}: {faults:#?}");
    }
    // Files, what a demo shop has, and redrives, which need a broker: the tests of those hold theirs against the document.
    let elsewhere = ["/api/messages.json", "/api/messages.csv", "/api/scenarios", "/api/redrives/{id}"];
    let known: BTreeSet<&str> = asked.iter().map(|(path, _)| *path).chain(elsewhere).collect();
    let all = document["paths"].as_object().expect("paths").iter();
    let unasked: Vec<_> =
        all.filter(|(path, of)| of["get"].is_object() && !known.contains(path.as_str())).collect();
    assert!(unasked.is_empty(), "{unasked:?}");
}

#[tokio::test]
async fn a_field_that_the_document_does_not_tell_of_would_be_found() {
    let pages = pages();
    let document = document(&pages).await;
    let schema =
        &document["paths"]["/api/queues"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    let (_, mut answer) = told(&pages, "/api/queues").await;
    answer["queues"][0]["surprise"] = json!(1);
    answer["queues"][1].as_object_mut().expect("a queue").remove("name");
    let faults = faults(&document, schema, &answer).join("\n");
    assert!(faults.contains("surprise") && faults.contains("name"), "{faults}");
}

/// Paths under `/api` in the files of a folder, with the verb of each.
fn routes(folder: &Path, found: &mut BTreeSet<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                routes(&path, found);
            }
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        for part in text.split(".route(\"").skip(1) {
            let (path, rest) = part.split_once('"').expect("an end");
            let verb = if rest.trim_start_matches([',', ' ']).starts_with("post") { "post" } else { "get" };
            if path.starts_with("/api/") {
                found.insert((path.to_owned(), verb.to_owned()));
            }
        }
    }
}

#[tokio::test]
async fn each_route_stands_in_the_document_and_each_operation_has_a_route() {
    let pages = pages();
    let document = document(&pages).await;
    let mut real = BTreeSet::new();
    routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard/view"), &mut real);
    let paths = document["paths"].as_object().expect("paths").iter();
    let told: BTreeSet<(String, String)> = paths
        .flat_map(|(path, of)| {
            of.as_object().expect("operations").keys().map(|verb| (path.clone(), verb.clone()))
        })
        .collect();
    assert_eq!(real, told);

    let mut ids = BTreeSet::new();
    for (path, of) in document["paths"].as_object().expect("paths") {
        for one in of.as_object().expect("operations").values() {
            assert!(ids.insert(one["operationId"].to_string()), "twice: {}", one["operationId"]);
            let params = one["parameters"].as_array().expect("a list");
            let in_path = params.iter().filter(|param| param["in"] == "path");
            let mut named: Vec<&str> = in_path.map(|param| param["name"].as_str().expect("a name")).collect();
            let mut variables: Vec<&str> =
                path.split('{').skip(1).filter_map(|part| part.split('}').next()).collect();
            named.sort_unstable();
            variables.sort_unstable();
            assert_eq!(named, variables, "{path}");
        }
    }
    // Every name that a schema leads to is there.
    let text = document.to_string();
    for name in text.split("#/components/schemas/").skip(1).filter_map(|part| part.split('"').next()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told_as_json_with_its_name() {
    let pages = pages();
    let document = document(&pages).await;
    let error = json!({ "$ref": "#/components/schemas/Error" });
    for (path, status, part) in [
        ("/api/traces?limit=0", 400, "“limit” is a whole number from 1 to"),
        ("/api/logs?q=payment", 400, "“q” is no parameter here; there are service, severity"),
        ("/api/status?verbose=1", 400, "“verbose” is no parameter here; there are none"),
        ("/api/traces?order=best", 400, "“order” may be newest"),
        ("/api/traces?after=x", 400, "“after” is not a place in this list"),
        ("/api/traces?last=2h", 400, "“last” may be 5m"),
        ("/api/traces/zz", 400, "That is not a trace ID"),
        ("/api/traces/00000000000000000000000000000bad", 404, "Nothing of trace"),
        ("/api/traces/00000000000000000000000000000001?limit=10001", 400, "“limit”"),
        ("/api/logs?severity=loud", 400, "“severity” may be trace"),
        ("/api/correlations/nobody", 404, "nobody"),
        ("/api/correlations/x?kind=all", 400, "“kind” may be requests"),
        ("/api/search", 400, "“q” is what is looked for"),
        ("/api/queues/one", 400, "“broker”"),
        ("/api/scenarios", 404, "demo shop"),
        ("/api/nothing", 404, "has this address"),
        ("/api/traces/%ff", 400, "UTF-8"),
    ] {
        let (answered, told) = told(&pages, path).await;
        assert_eq!(answered.as_u16(), status, "{path}: {told}");
        assert!(told["error"].as_str().is_some_and(|text| text.contains(part)), "{path}: {told}");
        assert!(faults(&document, &error, &told).is_empty(), "{path}: {told}");
    }
    let (status, told) = told(&pages, "/api/traces?query=status%20%3D%20").await;
    assert_eq!((status, told["column"].is_u64()), (StatusCode::BAD_REQUEST, true), "{told}");
    let wrong = Request::post("/api/traces").header("host", "localhost:7070").body(Body::empty()).unwrap();
    let wrong = send(&pages, wrong).await;
    assert!(wrong.status == StatusCode::METHOD_NOT_ALLOWED && wrong.headers.contains_key("allow"));
    assert!(serde_json::from_str::<Value>(&wrong.text).is_ok(), "{}", wrong.text);
}

#[tokio::test]
async fn pages_of_a_list_follow_one_another() {
    let pages = pages();
    let (mut seen, mut next) = (BTreeSet::new(), String::new());
    for _ in 0..100 {
        let (_, page) = told(&pages, &format!("/api/traces?last=24h&limit=7{next}")).await;
        for trace in page["traces"].as_array().expect("a list") {
            assert!(seen.insert(trace["traceId"].to_string()), "twice: {trace}");
        }
        match page["next"].as_str() {
            Some(cursor) => next = format!("&after={cursor}"),
            None => break,
        }
    }
    let (_, all) = told(&pages, "/api/traces?last=24h&limit=1000").await;
    assert_eq!(seen.len(), all["traces"].as_array().expect("a list").len());
}

#[tokio::test]
async fn secrets_are_masked_for_programs_too() {
    let pages = pages();
    let (_, told) = told(&pages, &format!("/api/traces/{}", trace_id(1))).await;
    let text = told.to_string();
    assert!(text.contains("•••"));
    for secret in ["abcdefghijklmnop", "shop:secret", "hunter2"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn the_page_has_an_example_of_each_operation() {
    let pages = pages();
    let page = get(&pages, "/api").await;
    assert_eq!(page.status, StatusCode::OK);
    let document = document(&pages).await;
    for (path, of) in document["paths"].as_object().expect("paths") {
        for one in of.as_object().expect("operations").values() {
            page.has(&[path, &format!("id=\"{}\"", one["operationId"].as_str().expect("an ID"))]);
        }
    }
    page.has(&[
        "curl &#39;http://localhost:7070/api/overview&#39;",
        "takes the role admin",
        "/api/openapi.json",
    ]);
    get(&pages, "/").await.has(&["href=\"/api\""]);
}
