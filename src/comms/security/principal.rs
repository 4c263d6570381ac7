//! Who makes a request, how that is found out, and what a route wants of them.

use std::collections::BTreeSet;

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use crate::comms::http::Problem;

/// Who makes a request; found among its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// A service's or a person's name.
    pub subject: String,
    /// What they may do.
    pub scopes: BTreeSet<String>,
}

/// What a route wants of who calls it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    #[default]
    Anyone,
    /// That they say who they are.
    Known,
    /// That they may do this.
    Scope(String),
}

/// Finds out who makes a request: by a token, a key, a session, a certificate.
pub trait Authenticate: Send + Sync + 'static {
    /// Who it is; none where the request does not say so.
    ///
    /// # Errors
    /// [`Denied`]: what it says of it is not so.
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<Principal>, Denied>>;
}

/// Why a request is refused; answered as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody says who makes it. 401.
    #[error("the request has no token: it goes into the header Authorization, as Bearer TOKEN")]
    Unknown,
    /// What says who makes it does not hold; the text says why, without it. 401.
    #[error("the token is refused: {why}")]
    Invalid { fault: Fault, why: String },
    /// Who makes it may not. 403.
    #[error("{subject} may not do this: the scope {scope} is missing")]
    Scope { subject: String, scope: String },
}

/// What is wrong with what says who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It held until lately.
    Expired,
    /// It does not hold yet.
    Early,
    /// It is for another service, or of somebody who is unknown here.
    Foreign,
    /// Its signature is not what it has to be.
    Forged,
    /// It cannot be read.
    Malformed,
    /// Something else.
    Other,
}

impl Access {
    /// Whether a caller has what is wanted.
    ///
    /// # Errors
    /// It has not.
    pub fn check(&self, caller: Option<&Principal>) -> Result<(), Denied> {
        let (scope, caller) = match (self, caller) {
            (Self::Anyone, _) | (Self::Known, Some(_)) => return Ok(()),
            (_, None) => return Err(Denied::Unknown),
            (Self::Scope(scope), Some(caller)) => (scope, caller),
        };
        if caller.scopes.contains(scope) {
            return Ok(());
        }
        Err(Denied::Scope { subject: caller.subject.clone(), scope: scope.clone() })
    }
}

impl Denied {
    /// What says who makes a request does not hold, for a reason that [`Fault`] has no word for.
    pub fn invalid(why: impl Into<String>) -> Self {
        Self::Invalid { fault: Fault::Other, why: why.into() }
    }

    /// What metrics call it: see [`names::REFUSED_REASON`](crate::comms::names::REFUSED_REASON).
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "token_missing",
            Self::Invalid { fault, .. } => match fault {
                Fault::Expired => "token_expired",
                Fault::Early => "token_early",
                Fault::Foreign => "token_foreign",
                Fault::Forged => "token_forged",
                Fault::Malformed => "token_malformed",
                Fault::Other => "token_invalid",
            },
            Self::Scope { .. } => "scope_missing",
        }
    }

    /// The `error.type` of its span: RFC 6750's word for it, where that has one.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unknown => "no_token",
            Self::Invalid { .. } => "invalid_token",
            Self::Scope { .. } => "insufficient_scope",
        }
    }

    pub fn problem(&self) -> Problem {
        // RFC 6750, "The WWW-Authenticate Response Header Field".
        let (status, challenge) = match self {
            Self::Unknown => (StatusCode::UNAUTHORIZED, "Bearer".to_owned()),
            Self::Invalid { .. } => (StatusCode::UNAUTHORIZED, r#"Bearer error="invalid_token""#.to_owned()),
            Self::Scope { scope, .. } => {
                (StatusCode::FORBIDDEN, format!(r#"Bearer error="insufficient_scope", scope="{scope}""#))
            }
        };
        let problem = Problem::new(status, self.to_string());
        match HeaderValue::try_from(challenge) {
            Ok(challenge) => problem.header(header::WWW_AUTHENTICATE, challenge),
            Err(_) => problem,
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        self.problem().into_response()
    }
}
