//! Asks of `/api`, each answer held against the document that the dashboard serves.
#![allow(dead_code)]

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Running, client};

/// Asks for JSON; gives the status and the answer, which is as the document says.
pub async fn get(server: &Running, address: &str) -> (u16, Value) {
    let request = client().get(server.page(address));
    held(server, "get", address, request).await
}

/// The answer to who asks for JSON and gets it.
pub async fn told(server: &Running, address: &str) -> Value {
    let (status, told) = get(server, address).await;
    assert_eq!(status, 200, "{address}: {told}");
    told
}

/// Sends JSON; gives the status and the answer, which is as the document says.
pub async fn post(server: &Running, address: &str, body: &Value) -> (u16, Value) {
    let request = client().post(server.page(address)).json(body);
    held(server, "post", address, request).await
}

async fn held(
    server: &Running,
    method: &str,
    address: &str,
    request: reqwest::RequestBuilder,
) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a text");
    let read = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{address}: {status} {text}"));
    holds(document(server).await, method, address, status, &read);
    (status, read)
}

/// The document is the same for every dashboard.
async fn document(server: &Running) -> &'static Value {
    static DOCUMENT: OnceCell<Value> = OnceCell::const_new();
    let ask = async || {
        let answer = client().get(server.page("/api/openapi.json")).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    };
    DOCUMENT.get_or_init(ask).await
}

/// Fails where an answer is not what the document says of this method and address.
fn holds(document: &Value, method: &str, address: &str, status: u16, answer: &Value) {
    let path = address.split('?').next().expect("a path");
    let fits = |known: &str| {
        let (known, asked): (Vec<&str>, Vec<&str>) = (known.split('/').collect(), path.split('/').collect());
        known.len() == asked.len() && known.iter().zip(asked).all(|(a, b)| *a == b || a.starts_with('{'))
    };
    let paths = document["paths"].as_object().expect("paths");
    // `/api/queues/one` before `/api/queues/{name}`.
    let known = paths.keys().filter(|known| fits(known)).min_by_key(|known| known.matches('{').count());
    let known = known.unwrap_or_else(|| panic!("{path} is not in the document"));
    let told = &paths[known][method]["responses"][status.to_string()];
    let schema = &told["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "the document does not tell of {status} for {method} {known}: {answer}");
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    let validator = jsonschema::validator_for(&whole).expect("a schema");
    let faults: Vec<String> =
        validator.iter_errors(answer).map(|fault| format!("{fault} at {}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{method} {address}: {faults:#?}");
}
