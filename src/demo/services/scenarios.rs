//! The door by which scenarios are switched on and off while the shop runs, at the gateway.
//!
//! | request | what it does |
//! |---|---|
//! | `GET /scenarios` | lists them, and which are on |
//! | `POST /scenarios/{name}` | switches one on for its usual time, or for `?seconds=` |
//! | `POST /scenarios/{name}/off`, `DELETE /scenarios/{name}` | switches it off |
//!
//! All answer with JSON. It makes no spans: it is not part of the shop, and a log record tells of each switch.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::errors::ShopError;
use crate::demo::scenarios::{self, SCENARIOS, Scenario, Switches};
use crate::demo::service::Shared;

#[derive(serde::Deserialize)]
struct For {
    seconds: Option<u64>,
}

pub fn door(shared: &Shared) -> Router {
    Router::new()
        .route("/scenarios", get(list))
        .route("/scenarios/{name}", post(switch_on).delete(switch_off))
        .route("/scenarios/{name}/off", post(switch_off))
        .with_state(shared.scenarios.clone())
}

async fn list(State(switches): State<Switches>) -> Json<Value> {
    let all: Vec<_> = SCENARIOS.iter().map(|scenario| describe(&switches, scenario)).collect();
    Json(json!({ "scenarios": all }))
}

async fn switch_on(
    State(switches): State<Switches>,
    Path(name): Path<String>,
    Query(lasts): Query<For>,
) -> Result<Json<Value>, ShopError> {
    let scenario = known(&name)?;
    switches.switch_on(scenario, lasts.seconds.map(Duration::from_secs))?;
    tracing::warn!(scenario = scenario.name, "scenario switched on: {}", scenario.title);
    Ok(Json(describe(&switches, scenario)))
}

async fn switch_off(
    State(switches): State<Switches>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ShopError> {
    let scenario = known(&name)?;
    switches.switch_off(scenario)?;
    tracing::warn!(scenario = scenario.name, "scenario switched off: {}", scenario.title);
    Ok(Json(describe(&switches, scenario)))
}

fn known(name: &str) -> Result<&'static Scenario, ShopError> {
    scenarios::named(name).ok_or_else(|| {
        let names: Vec<_> = scenarios::names().collect();
        ShopError::new(StatusCode::NOT_FOUND, format!("no such scenario; there are {}", names.join(", ")))
    })
}

fn describe(switches: &Switches, scenario: &Scenario) -> Value {
    let on = switches.on().into_iter().find(|running| running.scenario.name == scenario.name);
    json!({
        "name": scenario.name,
        "title": scenario.title,
        "does": scenario.does,
        "look": scenario.look,
        "page": scenario.page,
        "on": on.is_some(),
        "since_ms": on.map(|on| on.since),
        "until_ms": on.map(|on| on.until),
    })
}
