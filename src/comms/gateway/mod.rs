//! A gateway: the one door through which clients come to the services behind it.
//!
//! ```no_run
//! # async fn run() -> anyhow::Result<()> {
//! use std::net::SocketAddr;
//! use throughline::comms::gateway::{Aggregate, CacheRule, ClientLimit, Gateway, Route, Upstream};
//! use throughline::comms::http::instrument;
//!
//! let gateway = Gateway::new("gateway")
//!     .upstream(Upstream::new("stock", "http://127.0.0.1:7084")?)
//!     .upstream(Upstream::new("orders", "http://127.0.0.1:7081")?)
//!     .route(Route::get("/catalog/{sku}").to("stock", "/products/{sku}").cached(CacheRule::default()))
//!     .route(Route::post("/orders").to("orders", "/orders"))
//!     .route(Route::prefix("/stock").to("stock", "/{*rest}"))
//!     .aggregate(
//!         Aggregate::get("/pages/order/{id}")
//!             .required("order", "orders", "/orders/{id}")
//!             .optional("catalog", "stock", "/products"),
//!     )
//!     .limit(ClientLimit::new(50, 100));
//! let router = instrument(gateway.into_router()?, "gateway");
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:7080").await?;
//! axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
//! # Ok(()) }
//! ```
//!
//! The way of a request, from the outside in:
//!
//! | | what | where it ends here |
//! |---|---|---|
//! | 1 | [`crate::comms::http::instrument`]: span, correlation ID, deadline | |
//! | 2 | the access log: one line once the answer is through, with the correlation ID (target `throughline::access`) | |
//! | 3 | [`Authenticate`]: who it is | 401 where what the request says of it is not so |
//! | 4 | [`ClientLimit`]: `RateLimit` and `RateLimit-Policy` on every answer | 429 with `Retry-After` |
//! | 5 | the table: method and path; what the route wants of the caller | 404, 405, 401, 403; 400 for `..` in a variable |
//! | 6 | limit on the body, by its length or while it comes | 413 |
//! | 7 | headers of the connection, and those that only the gateway may say, are taken out | |
//! | 8 | the cache, where the route has a [`CacheRule`]: kept, asked for once, or old where the upstream fails (`Cache-Status`) | 200, 304 |
//! | 9 | retries, within the budget, of what may be made twice | |
//! | 10 | the upstream's breaker | 503 with `Retry-After` and `x-circuit-breaker` |
//! | 11 | the upstream, told how long is left (`x-request-timeout-ms`) | 502, 504 |
//!
//! Bodies go through as they come, both ways; only short ones that may have to be sent again, or kept, are held. What ends
//! here is answered as `application/problem+json` and counted with the reason
//! ([`METRIC_REQUESTS_REFUSED`](crate::comms::names::METRIC_REQUESTS_REFUSED)). Upgrades (WebSocket) are not passed on.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs`, `assemble.rs` | [`Gateway`], and how it becomes a router |
//! | `serve.rs` | the way of a request |
//! | `table.rs` | [`Route`], paths with variables |
//! | `upstream.rs`, `failure.rs` | [`Upstream`]: asking it; why there is no answer |
//! | `aggregate.rs` | [`Aggregate`]: several services asked by one request |
//! | `cache.rs`, `limit.rs` | [`CacheRule`], [`ClientLimit`] |
//! | `headers.rs`, `body.rs` | what goes on and what ends here |
//! | `access.rs` | the access log |

mod access;
mod aggregate;
mod assemble;
mod body;
mod cache;
mod failure;
mod headers;
mod limit;
mod serve;
mod table;
mod upstream;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse as _, Response};

pub use self::aggregate::Aggregate;
use self::assemble::Assembly;
pub use self::cache::CacheRule;
use self::failure::Failure;
pub use self::limit::ClientLimit;
use self::serve::Gate;
pub use self::table::Route;
pub use self::upstream::Upstream;
use crate::comms::http::Problem;
use crate::comms::metrics::Refusals;
use crate::comms::security::Authenticate;

/// A gateway that is being put together.
#[must_use = "it serves nothing before `into_router`"]
pub struct Gateway {
    service: Arc<str>,
    upstreams: Vec<Upstream>,
    routes: Vec<Route>,
    aggregates: Vec<Aggregate>,
    own: Router,
    limit: Option<ClientLimit>,
    authenticate: Option<Arc<dyn Authenticate>>,
    most_body: usize,
    cached_bytes: u64,
}

impl Gateway {
    /// One without routes, by its name. Bodies of requests may have 2 MiB, and answers of 64 MiB are kept in all.
    pub fn new(service_name: &str) -> Self {
        Self {
            service: service_name.into(),
            upstreams: Vec::new(),
            routes: Vec::new(),
            aggregates: Vec::new(),
            own: Router::new(),
            limit: None,
            authenticate: None,
            most_body: 2 << 20,
            cached_bytes: 64 << 20,
        }
    }

    /// A service that routes may name.
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// A line of the table.
    pub fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }

    /// A request that asks several services.
    pub fn aggregate(mut self, aggregate: Aggregate) -> Self {
        self.aggregates.push(aggregate);
        self
    }

    /// Routes of the gateway's own, behind the same access log, authentication and limits.
    pub fn own(mut self, routes: Router) -> Self {
        self.own = self.own.merge(routes);
        self
    }

    /// How many requests each client may make.
    pub fn limit(mut self, limit: ClientLimit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// How it is found out who calls. Without it nobody is known, and routes that want to know answer 401.
    pub fn authenticate(mut self, by: impl Authenticate) -> Self {
        self.authenticate = Some(Arc::new(by));
        self
    }

    /// Longer bodies of requests are refused, in bytes, where a route says nothing else.
    pub fn most_body(mut self, bytes: usize) -> Self {
        self.most_body = bytes;
        self
    }

    /// How much of answers is kept, in bytes.
    pub fn cached_bytes(mut self, bytes: u64) -> Self {
        self.cached_bytes = bytes;
        self
    }

    /// The router, to be given to [`crate::comms::http::instrument`] and served with the clients' addresses
    /// (`into_make_service_with_connect_info::<SocketAddr>()`).
    ///
    /// # Errors
    /// A route names an upstream that is not there, has a path that cannot be read, or two take the same requests.
    ///
    /// # Panics
    /// An own route has the method and path of one of the table.
    pub fn into_router(self) -> anyhow::Result<Router> {
        let refusals = Refusals::default();
        let mut assembly =
            Assembly::new(self.service, self.upstreams, self.cached_bytes, self.most_body, refusals.clone());
        for route in self.routes {
            assembly.route(route)?;
        }
        for aggregate in self.aggregates {
            assembly.aggregate(aggregate)?;
        }
        let (unknown, other) = (refusals.clone(), refusals.clone());
        let gate = Arc::new(Gate { limit: self.limit, authenticate: self.authenticate, refusals });
        let router = assembly
            .into_router()
            .merge(self.own.layer(DefaultBodyLimit::max(self.most_body)))
            .method_not_allowed_fallback(move |route: Option<MatchedPath>| {
                other.count_at(route.as_ref(), "method_not_allowed");
                let text = "this path is not there for this method";
                std::future::ready(Problem::new(StatusCode::METHOD_NOT_ALLOWED, text))
            })
            .fallback(move || {
                unknown.count_at(None, "no_route");
                std::future::ready(Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path"))
            });
        Ok(router.layer(middleware::from_fn_with_state(gate, serve::enter)))
    }
}

/// The answer where an upstream failed: its own, if it has one.
fn answer_of(failure: Failure, upstream: &str) -> Response {
    match failure {
        Failure::Answer(response) => *response,
        failure => failure.problem(upstream).into_response(),
    }
}
