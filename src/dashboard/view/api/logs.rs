//! `/api/logs`: the list of logs.

use axum::Json;
use axum::extract::State as From;
use serde_json::{Value, json};

use super::traces::log;
use crate::dashboard::view::PageState;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format::ns;
use crate::dashboard::view::logs::{USUAL_LIMIT, read, write_cursor};
use crate::dashboard::view::visit::Visit;

/// Handler of `GET /api/logs`.
pub async fn list(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let found = state.reader.logs(&read(&visit, USUAL_LIMIT)?).await?;
    Ok(Json(json!({
        "from": ns(visit.range.from),
        "to": ns(visit.range.to),
        "examined": found.examined,
        "opened": found.opened,
        "complete": found.complete,
        "notIndexed": found.not_indexed,
        "unreadable": found.unreadable,
        "next": found.next.map(write_cursor),
        "logs": found.rows.iter().map(|row| log(&row.log)).collect::<Vec<_>>(),
    })))
}
