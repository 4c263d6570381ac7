//! Every way in which a page cannot be shown, as status, title, what happened and what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::dashboard::keys::Role;
use crate::dashboard::query::language::QueryError;
use crate::dashboard::store::StoreError;

/// Why there is no page. A handler returns it; [`super::guard`] draws it in the frame.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PageError {
    /// The address cannot be understood; the text says what is wrong with it.
    #[error("{0}")]
    Bad(String),
    /// A query cannot be understood.
    #[error("“query” cannot be read: {0}")]
    Query(QueryError),
    /// Nothing is there.
    #[error("{what}")]
    Missing { title: String, what: String },
    /// The page exists, but not for this method.
    #[error("This address does not take that kind of request.")]
    Method,
    /// A form was sent from another site.
    #[error("The request came from another site, so nothing was done.")]
    CrossSite,
    /// It takes another role than the visitor has.
    #[error("This takes the role {needs}; you are here as {is}.")]
    Forbidden {
        needs: Role,
        is: Role,
        /// Whether there is a key to log in with.
        keys: bool,
    },
    /// It cannot be done as things are now; the text says why.
    #[error("{0}")]
    Conflict(String),
    /// The Host header names somebody else.
    #[error("This address is not one that Throughline answers to.")]
    Host,
    /// The store could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody whom the page asks did not answer as it should; the text is for a person.
    #[error("{0}")]
    Elsewhere(String),
    /// A fault of ours.
    #[error("Something went wrong while the page was made.")]
    Internal,
}

impl PageError {
    /// The address cannot be understood.
    pub fn bad(what: impl Into<String>) -> Self {
        Self::Bad(what.into())
    }

    /// There is nothing under this address.
    pub fn missing(title: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Missing { title: title.into(), what: what.into() }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) | Self::Query(_) => StatusCode::BAD_REQUEST,
            Self::Missing { .. } => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::CrossSite | Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Store(StoreError::Unavailable(_) | StoreError::Overloaded) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Elsewhere(_) => StatusCode::BAD_GATEWAY,
            Self::Store(StoreError::Damaged(_)) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The title: what is the matter.
    pub fn title(&self) -> &str {
        match self {
            Self::Bad(_) | Self::Query(_) => "This address cannot be read",
            Self::Missing { title, .. } => title,
            Self::Method => "Not possible here",
            Self::CrossSite => "Refused",
            Self::Forbidden { .. } => "Not for this role",
            Self::Conflict(_) => "Not as things are now",
            Self::Host => "Unknown host",
            Self::Store(StoreError::Unavailable(_) | StoreError::Overloaded) => {
                "The store cannot answer at the moment"
            }
            Self::Store(StoreError::Damaged(_)) => "The store is damaged",
            Self::Elsewhere(_) => "It could not be done",
            Self::Internal => "Something went wrong",
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Bad(_) | Self::Query(_) => "Go back and correct it, or begin again from the traces.",
            Self::Missing { .. } => {
                "It may have been removed by age or size, or not have arrived yet. The search box takes any ID."
            }
            Self::Method => "Open it as a page instead.",
            Self::CrossSite => "Open Throughline itself and press the button there.",
            Self::Forbidden { needs: Role::Admin, .. } => {
                "Log in with one of --admin-key (THROUGHLINE_ADMIN_KEY), or send it as `Authorization: Bearer KEY`. Whoever \
                 runs this Throughline sets it."
            }
            Self::Forbidden { keys: true, .. } => {
                "Log in with one of --operator-key or --admin-key (THROUGHLINE_OPERATOR_KEY, THROUGHLINE_ADMIN_KEY), or send \
                 it as `Authorization: Bearer KEY`. Whoever runs this Throughline sets them."
            }
            Self::Forbidden { .. } => {
                "Pages that are reached from other machines need a key for this: start Throughline with --operator-key \
                 (THROUGHLINE_OPERATOR_KEY), and log in with it."
            }
            Self::Conflict(_) => "Nothing was changed. Go back, and try again when it has.",
            Self::Host => "Open it by its own address, or allow the name with --host.",
            Self::Store(StoreError::Unavailable(_) | StoreError::Overloaded) => {
                "Try again in a moment. Spans that were acknowledged are safe."
            }
            Self::Store(StoreError::Damaged(_)) => "The log of the process names the place and the way out.",
            Self::Elsewhere(_) => "Go back and try again in a moment.",
            Self::Internal => "The log of the process says more. Other pages may still work.",
        }
    }
}

impl PageError {
    /// The same for a program: `error`, `advice`, and of a query the `column`.
    pub fn for_programs(&self) -> Response {
        let mut body = json!({ "error": self.to_string(), "advice": self.advice() });
        if let Self::Query(error) = self {
            body["column"] = json!(error.column);
        }
        (self.status(), Json(body)).into_response()
    }
}

impl IntoResponse for PageError {
    /// A plain answer that carries the error, for [`super::guard::draw_errors`] to draw as a page.
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.title().to_owned()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
