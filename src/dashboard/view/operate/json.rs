//! The same for programs: `POST /api/queues/{broker}/{vhost}/{name}/peek`, `redrive`, `republish`, `purge`, and
//! `/api/redrives/{id}`. Errors are JSON too, with `error` and `advice`. Times are nanoseconds since the Unix epoch as decimal
//! strings.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::asked::{AskedLook, AskedOrder};
use super::deeds::confirmed;
use super::{At, export, message, must_be, nature};
use crate::dashboard::keys::Role;
use crate::dashboard::model::audit::Action;
use crate::dashboard::operate::job::{Ended, Job, Outcome, Row};
use crate::dashboard::view::PageState;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::visit::Visit;

/// An answer for a program.
type Answer = Result<Json<Value>, PageError>;

/// The JSON of a request; nothing is as good as `{}`.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, PageError> {
    let text: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let mut from = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let at = error.path().to_string();
        PageError::bad(format!("The request is not understood at “{at}”: {}.", error.into_inner()))
    })
}

/// Handler of `POST …/peek`.
pub async fn peek(State(state): State<PageState>, visit: Visit, At(place): At, body: Bytes) -> Answer {
    must_be(&visit, Role::Operator, Action::Peek, &place).await?;
    let asked: AskedLook = read(&body)?;
    let peeked = state.desk.peek(&visit.visitor, &place, nature(&state, &place), asked.look()?).await?;
    if asked.reveal {
        let what = format!("{} messages of look {}", peeked.letters.len(), peeked.id);
        state.desk.reveal(&visit.visitor, &place, &what).await?;
    }
    Ok(Json(export::of(&peeked, asked.reveal, &state.schemas)))
}

/// Handler of `POST …/redrive`.
pub async fn redrive(
    State(state): State<PageState>,
    visit: Visit,
    At(place): At,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), PageError> {
    must_be(&visit, Role::Operator, Action::Redrive, &place).await?;
    let order = read::<AskedOrder>(&body)?.order(nature(&state, &place))?;
    let job = state.desk.redrive(&visit.visitor, &place, order).await?;
    Ok((StatusCode::ACCEPTED, Json(of(&job, false))))
}

/// Handler of `POST …/republish`: a copy of one message of a look.
pub async fn republish(State(state): State<PageState>, visit: Visit, At(place): At, body: Bytes) -> Answer {
    must_be(&visit, Role::Operator, Action::Republish, &place).await?;
    let asked: AskedOrder = read(&body)?;
    let mark = asked.marks.as_ref().and_then(|marks| marks.first().cloned());
    let letter = message::find(&state, &place, asked.peek, mark.as_deref())?;
    let id = state.desk.republish(&visit.visitor, &place, letter, asked.target()?, asked.edit()).await?;
    Ok(Json(json!({ "audit": id, "sent": 1 })))
}

/// What a purge has to say.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Purge {
    confirm: Option<String>,
}

/// Handler of `POST …/purge`.
pub async fn purge(State(state): State<PageState>, visit: Visit, At(place): At, body: Bytes) -> Answer {
    must_be(&visit, Role::Admin, Action::Purge, &place).await?;
    confirmed(read::<Purge>(&body)?.confirm.as_deref(), &place.queue)?;
    let removed = state.desk.purge(&visit.visitor, &place).await?;
    Ok(Json(json!({ "removed": removed })))
}

/// Handler of `GET /api/redrives/{id}`.
pub async fn job(State(state): State<PageState>, visit: Visit, Path(id): Path<String>) -> Answer {
    visit.must_be(Role::Operator)?;
    Ok(Json(of(&*super::job::wanted(&state, &id)?, true)))
}

/// Handler of `POST /api/redrives/{id}/stop`.
pub async fn stop(State(state): State<PageState>, visit: Visit, Path(id): Path<String>) -> Answer {
    let job = super::job::may_change(&state, &visit, &id).await?;
    job.stop.cancel();
    Ok(Json(of(&job, false)))
}

fn of(job: &Job, with_results: bool) -> Value {
    let progress = job.progress();
    let (state, why) = match &progress.ended {
        None => ("running", None),
        Some((_, Ended::Done)) => ("done", None),
        Some((_, Ended::Stopped)) => ("stopped", None),
        Some((_, Ended::Failed(why))) => ("failed", Some(why.clone())),
    };
    let mut out = json!({
        "id": job.id,
        "broker": job.place.broker,
        "vhost": job.place.virtual_host,
        "queue": job.place.queue,
        "what": job.order.words(),
        "dryRun": job.order.is_dry,
        "who": job.who,
        "started": job.started.to_string(),
        "ended": progress.ended.as_ref().map(|(at, _)| at.to_string()),
        "state": state,
        "why": why,
        "ready": progress.ready,
        "lookedAt": progress.looked_at,
        "meant": progress.meant,
        "sent": progress.sent,
        "kept": progress.kept,
        "unknown": progress.unknown,
        "perhapsTwice": progress.perhaps_twice,
        "resultsLeftOut": progress.left_out(),
    });
    if with_results {
        out["results"] = progress.results.iter().map(of_row).collect();
    }
    out
}

fn of_row(row: &Row) -> Value {
    let why = match &row.outcome {
        Outcome::Kept(why) | Outcome::Unknown(why) => Some(why),
        _ => None,
    };
    json!({
        "number": row.number,
        "messageId": row.message_id,
        "correlationId": row.correlation,
        "mark": row.mark,
        "exchange": row.to.as_ref().map(|(exchange, _)| exchange),
        "routingKey": row.to.as_ref().map(|(_, key)| key),
        "outcome": row.outcome.code(),
        "why": why,
    })
}
