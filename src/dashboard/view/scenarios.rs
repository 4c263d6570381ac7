//! `/scenarios`: failures of the demo shop, each with a button that switches it on or off.
//!
//! Who may read may switch; where reading takes no key, the page is there on loopback only (see `serve`). The forms are
//! refused from other sites as all are ([`super::guard`]).

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::PageState;
use super::error::PageError;
use super::escape::{Html, with_code};
use super::format;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::login::is_inside;
use super::state::{Scenario, Scenarios};
use super::visit::Visit;

/// Characters of a text that are shown, and of a title.
const TEXT: usize = 600;
const TITLE: usize = 80;

#[derive(Template)]
#[template(path = "scenarios.html")]
struct ScenariosPage {
    frame: Frame,
    all: Vec<Scenario>,
    /// Why there are none.
    trouble: Option<String>,
}

/// Handler of `GET /scenarios`.
pub async fn list(State(state): State<PageState>, visit: Visit) -> PageResult {
    let (all, trouble) = match door(&state)?.list().await {
        Ok(all) => (all, None),
        Err(trouble) => (Vec::new(), Some(trouble)),
    };
    let frame = visit.frame(Nav::Other, "Things that can go wrong").live();
    page(&ScenariosPage { frame, all, trouble })
}

/// Handler of `POST /scenarios/{name}/on`.
pub async fn switch_on(
    State(state): State<PageState>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    switch(&state, &name, true).await
}

/// Handler of `POST /scenarios/{name}/off`.
pub async fn switch_off(
    State(state): State<PageState>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    switch(&state, &name, false).await
}

async fn switch(state: &PageState, name: &str, on: bool) -> Result<Response, PageError> {
    switched(state, name, on).await?;
    Ok(Redirect::to(&format!("/scenarios#{name}")).into_response())
}

/// Switches a failure on or off.
pub(super) async fn switched(state: &PageState, name: &str, on: bool) -> Result<(), PageError> {
    let door = door(state)?;
    if !Scenario::is_name(name) {
        let name = format::shortened(name, TITLE);
        return Err(PageError::missing("No such scenario", format!("No scenario is called “{name}”.")));
    }
    door.switch(name, on).await.map_err(PageError::Elsewhere)?;
    tracing::info!(scenario = name, on, "a scenario was switched");
    Ok(())
}

pub(super) fn door(state: &PageState) -> Result<&dyn Scenarios, PageError> {
    state.scenarios.as_deref().ok_or_else(|| {
        PageError::missing(
            "Nothing to switch on here",
            "Failures are switched on in a demo shop: start `throughline demo`. A dashboard that others reach without a key \
             has no buttons.",
        )
    })
}

impl ScenariosPage {
    fn verdict(&self) -> String {
        let on: Vec<&Scenario> = self.all.iter().filter(|one| one.on).collect();
        match on.as_slice() {
            _ if self.trouble.is_some() => "Nothing can be switched at the moment".to_owned(),
            [] => "Nothing is switched on".to_owned(),
            [one] => format!("{} is on", self.title(one)),
            many => format!("{} failures are on", many.len()),
        }
    }

    fn any_on(&self) -> bool {
        self.all.iter().any(|one| one.on)
    }

    fn title(&self, one: &Scenario) -> String {
        format::shortened(&one.title, TITLE)
    }

    /// How much longer it lasts: `1 min`.
    fn left(&self, one: &Scenario) -> Option<String> {
        let now = self.frame.visit.now;
        one.until.filter(|until| *until > now).map(|until| format::age(now, until))
    }

    fn text(&self, text: &str) -> Html {
        with_code(&format::shortened(text, TEXT))
    }

    /// Where to begin to look, where that is a page of ours.
    fn page<'a>(&self, one: &'a Scenario) -> Option<&'a str> {
        one.page.as_deref().filter(|to| is_inside(to))
    }
}
