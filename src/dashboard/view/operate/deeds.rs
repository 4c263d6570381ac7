//! What the forms do: a look, a redrive or a copy, a purge. Each leads to a page that says what came of it.

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Redirect, Response};

use super::asked::Fields;
use super::{At, address, must_be, nature};
use crate::dashboard::keys::Role;
use crate::dashboard::model::audit::Action;
use crate::dashboard::operate::Trouble;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::visit::Visit;
use crate::dashboard::view::{PageState, format};

/// A form as it comes.
pub type Given = Result<Form<Vec<(String, String)>>, FormRejection>;

/// The fields of a form.
///
/// # Errors
/// It is too large, or none.
pub fn fields(form: Given) -> Result<Fields, PageError> {
    let Form(fields) =
        form.map_err(|why| PageError::bad(format!("The form cannot be read: {}.", why.body_text())))?;
    Ok(Fields(fields))
}

/// Handler of `POST …/peek`.
pub async fn peek(
    State(state): State<PageState>,
    visit: Visit,
    At(place): At,
    form: Given,
) -> Result<Response, PageError> {
    must_be(&visit, Role::Operator, Action::Peek, &place).await?;
    let look = fields(form)?.look()?.look()?;
    let peeked = state.desk.peek(&visit.visitor, &place, nature(&state, &place), look).await?;
    let frame = visit.frame(crate::dashboard::view::frame::Nav::Queues, "");
    let to = frame.link_with(&address(&place, "messages"), &[("peek", &peeked.id.to_string())]);
    Ok(Redirect::to(&to).into_response())
}

/// Handler of `POST …/redrive`: a dry run, a redrive, or with `do=copy` a copy that leaves the original.
pub async fn redrive(
    State(state): State<PageState>,
    visit: Visit,
    At(place): At,
    form: Given,
) -> Result<Response, PageError> {
    must_be(&visit, Role::Operator, Action::Redrive, &place).await?;
    let fields = fields(form)?;
    let asked = fields.order()?;
    if fields.get("do") == Some("copy") {
        let (peek, mark) = (asked.peek, asked.marks.as_ref().and_then(|marks| marks.first().cloned()));
        let letter = super::message::find(&state, &place, peek, mark.as_deref())?;
        let id = state.desk.republish(&visit.visitor, &place, letter, asked.target()?, asked.edit()).await?;
        return Ok(Redirect::to(&format!("/audit?row={id}#row-{id}")).into_response());
    }
    let order = asked.order(nature(&state, &place))?;
    let job = state.desk.redrive(&visit.visitor, &place, order).await?;
    Ok(Redirect::to(&format!("/redrives/{}", job.id)).into_response())
}

/// Handler of `POST …/purge`: the queue's name has to be typed.
pub async fn purge(
    State(state): State<PageState>,
    visit: Visit,
    At(place): At,
    form: Given,
) -> Result<Response, PageError> {
    must_be(&visit, Role::Admin, Action::Purge, &place).await?;
    confirmed(fields(form)?.get("confirm"), &place.queue)?;
    state.desk.purge(&visit.visitor, &place).await?;
    Ok(Redirect::to("/audit?action=purge").into_response())
}

/// # Errors
/// What was typed is not the queue's name.
pub fn confirmed(typed: Option<&str>, queue: &str) -> Result<(), Trouble> {
    if typed.map(str::trim) == Some(queue.trim()) {
        return Ok(());
    }
    Err(Trouble::Invalid(format!(
        "“confirm” has to be the name of the queue, {}: nothing was removed",
        format::shortened(queue, 80)
    )))
}
