//! Parameters that an operation does not have are refused: a mistyped one would be answered as if it had not been asked for.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::catalogue;
use super::operation::{self, Place};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format;
use crate::dashboard::view::visit::Params;

/// The query's parameters of each GET, by its path in the router.
static KNOWN: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let reading = catalogue::all().into_iter().filter(|one| one.method == operation::Method::Get);
    let names = |one: operation::Operation| {
        let params = one.params.into_iter().filter(|param| param.place != Place::Path);
        (one.path, params.map(|param| param.name).collect())
    };
    reading.map(names).collect()
});

/// Lets a request pass whose parameters its operation has.
pub async fn parameters(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let known = path.and_then(|path| KNOWN.get(path.as_str())).filter(|_| request.method() == Method::GET);
    if let Some(known) = known {
        let asked = match Params::read(request.uri()) {
            Ok(asked) => asked,
            Err(error) => return error.into_response(),
        };
        if let Some((name, _)) = asked.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return PageError::bad(unknown(name, known)).into_response();
        }
    }
    next.run(request).await
}

fn unknown(name: &str, known: &[&str]) -> String {
    let name = format::shortened(name, 60);
    match known {
        [] => format!("“{name}” is no parameter here; there are none."),
        known => format!("“{name}” is no parameter here; there are {}.", known.join(", ")),
    }
}
