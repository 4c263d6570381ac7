//! `/api`: the operations for people, with an example of each.

use askama::Template;
use axum::extract::State;

use super::catalogue;
use super::operation::{Group, Method, Operation, Param, Place};
use crate::dashboard::keys::Role;
use crate::dashboard::view::PageState;
use crate::dashboard::view::escape::{Html, with_code};
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

/// The page.
#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage {
    frame: Frame,
    groups: Vec<(Group, Vec<Operation>)>,
    origin: String,
    /// Whether who asks without a key is turned away.
    needs_key: bool,
}

/// Handler of `GET /api`.
pub async fn show(State(state): State<PageState>, visit: Visit, host: axum::http::HeaderMap) -> PageResult {
    let host = host.get(axum::http::header::HOST).and_then(|host| host.to_str().ok());
    let origin = format!("http://{}", host.unwrap_or(&state.settings.listen));
    let mut groups: Vec<(Group, Vec<Operation>)> = Group::ALL.map(|group| (group, Vec::new())).into();
    for one in catalogue::all() {
        if let Some((_, all)) = groups.iter_mut().find(|(group, _)| *group == one.group) {
            all.push(one);
        }
    }
    let needs_key = state.gate.has_keys();
    page(&ApiPage { frame: visit.frame(Nav::Other, "The same as JSON"), groups, origin, needs_key })
}

impl ApiPage {
    fn text(&self, says: &str) -> Html {
        with_code(says)
    }

    fn is_get(&self, one: &Operation) -> bool {
        one.method == Method::Get
    }

    /// Whether the example leads somewhere in any store.
    fn is_link(&self, one: &Operation) -> bool {
        self.is_get(one) && !one.params.iter().any(|param| param.place != Place::Query)
    }

    fn method(&self, one: &Operation) -> String {
        one.method.word().to_uppercase()
    }

    fn role(&self, one: &Operation) -> Option<Role> {
        Some(one.role).filter(|role| *role != Role::Viewer)
    }

    fn needed(&self, param: &Param) -> bool {
        param.place != Place::Query
    }

    /// What a parameter may be: `1 to 1000`, `error, ok, any`.
    fn allowed(&self, param: &Param) -> String {
        let schema = &param.schema;
        let usual =
            schema["default"].as_u64().map(|usual| format!(", {usual} unless said")).unwrap_or_default();
        if let Some(words) = schema["enum"].as_array() {
            return words.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(", ");
        }
        match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(least), Some(most)) if most < i32::MAX as u64 => format!("{least} to {most}{usual}"),
            (Some(_), _) => "a whole number".to_owned(),
            _ => String::new(),
        }
    }

    /// A line for a shell.
    fn curl(&self, one: &Operation) -> String {
        let key = if self.needs_key { " -H \"authorization: Bearer $KEY\"" } else { "" };
        let method = if self.is_get(one) { "" } else { " -X POST" };
        let body = one.example_body.as_ref().map(|body| format!(" -d '{body}'")).unwrap_or_default();
        format!("curl{method}{key} '{}{}'{body}", self.origin, one.example)
    }
}
