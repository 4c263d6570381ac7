//! The document: OpenAPI 3.1 of everything under `/api`.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::operation::{Answer, Group, Method, Operation, Param, Place};
use super::{catalogue, schema, schemas};
use crate::dashboard::keys::Role;

/// It is the same for all who ask, and takes a while to write.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

const SAYS: &str = "Everything that the pages show, as JSON, by the same questions and within the same limits.\n\n\
    Times are nanoseconds since the Unix epoch as decimal strings, as in OTLP/JSON; durations are nanoseconds as numbers. Shares \
    go from 0 to 1, rates are per second, and what is not known is null, never 0. Secrets are masked. Where a key is needed it \
    travels as `Authorization: Bearer KEY`; a POST from another web site is refused.";

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for one in catalogue::all() {
        paths.entry(one.path).or_insert_with(|| json!({}))[one.method.word()] = operation(&one);
    }
    let named: Map<String, Value> =
        schemas::all().into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Throughline", "version": env!("CARGO_PKG_VERSION"), "description": SAYS },
        "tags": Group::ALL.map(|group| json!({ "name": group.name() })),
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": { "key": {
                "type": "http", "scheme": "bearer",
                "description": "A key of --read-key, --operator-key or --admin-key, where such are set",
            } },
        },
        // On loopback it takes none.
        "security": [{}, { "key": [] }],
    })
}

fn operation(one: &Operation) -> Value {
    let says = match one.role {
        Role::Viewer => one.says.to_owned(),
        role => format!("{} Takes the role {role}.", one.says).trim_start().to_owned(),
    };
    let mut out = json!({
        "operationId": one.id(),
        "tags": [one.group.name()],
        "summary": one.title,
        "description": says,
        "parameters": one.params.iter().map(param).collect::<Vec<_>>(),
        "responses": responses(one),
    });
    if let Some(body) = &one.body {
        let media = json!({ "schema": body, "example": one.example_body });
        // Who sends none means `{}`.
        out["requestBody"] = json!({ "required": false, "content": { "application/json": media } });
    }
    out
}

fn param(param: &Param) -> Value {
    let is_path = param.place == Place::Path;
    let schema = if param.repeats { schema::list(param.schema.clone()) } else { param.schema.clone() };
    json!({
        "name": param.name,
        "in": if is_path { "path" } else { "query" },
        "required": param.place != Place::Query,
        "description": param.says,
        "schema": schema,
    })
}

fn responses(one: &Operation) -> Value {
    let error = |says: &str| json!({ "description": says, "content": { "application/json": { "schema": schema::of("Error") } } });
    let mut all = Map::new();
    match &one.answer {
        Answer::Json(status, schema) => all.insert(
            status.to_string(),
            json!({ "description": one.title, "content": { "application/json": { "schema": schema } } }),
        ),
        Answer::File(kind) => all.insert(
            "200".to_owned(),
            json!({ "description": one.title, "content": { *kind: { "schema": { "type": "string" } } } }),
        ),
    };
    all.insert("400".into(), error("Something of the request cannot be read; it is named"));
    all.insert("401".into(), json!({ "description": "A key is needed, and none or a wrong one was shown" }));
    if one.method == Method::Post || one.role != Role::Viewer {
        all.insert("403".into(), error("It takes another role, or came from another site"));
        all.insert("409".into(), error("Not as things are now"));
    }
    if one.elsewhere {
        all.insert("502".into(), error("The broker, or the demo shop, cannot be reached or refuses"));
    }
    all.insert("404".into(), error("Nothing is there"));
    all.insert("503".into(), error("The store cannot answer at the moment"));
    Value::Object(all)
}
