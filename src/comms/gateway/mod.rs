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
//! here is answered as `application/problem+json`. Upgrades (WebSocket) are not passed on.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`Gateway`], and the way of a request |
//! | `table.rs` | [`Route`], paths with variables |
//! | `upstream.rs`, `failure.rs` | [`Upstream`]: asking it; why there is no answer |
//! | `aggregate.rs` | [`Aggregate`]: several services asked by one request |
//! | `cache.rs`, `limit.rs` | [`CacheRule`], [`ClientLimit`] |
//! | `headers.rs`, `body.rs` | what goes on and what ends here |
//! | `access.rs` | the access log |

mod access;
mod aggregate;
mod body;
mod cache;
mod failure;
mod headers;
mod limit;
mod table;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter};
use http_body::Body as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};

use self::access::{Caller, Line, Notes};
pub use self::aggregate::Aggregate;
use self::aggregate::Ready;
use self::body::Limited;
pub use self::cache::CacheRule;
use self::cache::{Asked, ResponseCache};
use self::failure::Failure;
pub use self::limit::ClientLimit;
use self::table::Path;
pub use self::table::Route;
pub use self::upstream::Upstream;
use self::upstream::{Outgoing, Payload};
use crate::comms::http::Problem;
use crate::comms::security::{Authenticate, Principal};
use crate::comms::{deadline, names};

/// A request's body up to this size is held, in bytes, so that it may be sent again.
const HELD: u64 = 64 << 10;

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

/// What stands before every request.
struct Gate {
    limit: Option<ClientLimit>,
    authenticate: Option<Arc<dyn Authenticate>>,
}

/// A route whose upstream is known.
struct Entry {
    service: Arc<str>,
    route: Route,
    pattern: Path,
    target: Path,
    template: Arc<str>,
    upstream: Upstream,
    cache: ResponseCache,
    most_body: usize,
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
    pub fn into_router(mut self) -> anyhow::Result<Router> {
        let cache = ResponseCache::new(self.cached_bytes);
        let upstreams: BTreeMap<String, Upstream> =
            self.upstreams.drain(..).map(|upstream| (upstream.name.to_string(), upstream)).collect();
        let find = |name: &str, pattern: &str| {
            let known = || upstreams.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let found = upstreams.get(name).cloned();
            found.ok_or_else(|| anyhow::anyhow!("`{pattern}` goes to `{name}`; there is only {}", known()))
        };
        let mut taken = BTreeSet::new();
        let mut by_path: BTreeMap<String, MethodRouter> = BTreeMap::new();
        let mut add = |pattern: &str, methods: MethodFilter, shape: String, one: MethodRouter| {
            for method in EVERY {
                let wanted = methods.or(method) == methods;
                anyhow::ensure!(
                    !wanted || taken.insert((shape.clone(), format!("{method:?}"))),
                    "two routes take the same requests to `{pattern}`"
                );
            }
            let before = by_path.remove(pattern).unwrap_or_default();
            by_path.insert(pattern.to_owned(), before.merge(one));
            Ok(())
        };
        for route in std::mem::take(&mut self.routes) {
            let upstream = find(&route.upstream, &route.pattern)?;
            let (pattern, target) = (Path::read(&route.pattern)?, Path::read(&route.target)?);
            anyhow::ensure!(
                pattern.covers(&target),
                "`{}` has variables that `{}` has not",
                route.target,
                route.pattern
            );
            let (text, methods, shape) = (route.pattern.clone(), route.methods, pattern.shape());
            let line = Arc::new(Entry {
                service: Arc::clone(&self.service),
                template: route.target.as_str().into(),
                most_body: route.most_body.unwrap_or(self.most_body),
                cache: cache.clone(),
                route,
                pattern,
                target,
                upstream,
            });
            let serve = move |request: Request| {
                let line = Arc::clone(&line);
                async move { line.serve(request).await }
            };
            add(&text, methods, shape, axum::routing::on(methods, serve))?;
        }
        for aggregate in std::mem::take(&mut self.aggregates) {
            let pattern = Path::read(&aggregate.pattern)?;
            let (text, shape) = (aggregate.pattern.clone(), pattern.shape());
            let serve = joined(Arc::clone(&self.service), aggregate, pattern, &find)?;
            add(&text, MethodFilter::GET, shape, serve)?;
        }
        let table = by_path.into_iter().fold(Router::new(), |table, (path, one)| table.route(&path, one));
        let gate = Arc::new(Gate { limit: self.limit, authenticate: self.authenticate });
        let router = table
            .merge(self.own.layer(DefaultBodyLimit::max(self.most_body)))
            .method_not_allowed_fallback(|| async {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path is not there for this method")
            })
            .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path") });
        Ok(router.layer(middleware::from_fn_with_state(gate, enter)))
    }
}

const EVERY: [MethodFilter; 8] = [
    MethodFilter::GET,
    MethodFilter::HEAD,
    MethodFilter::POST,
    MethodFilter::PUT,
    MethodFilter::PATCH,
    MethodFilter::DELETE,
    MethodFilter::OPTIONS,
    MethodFilter::TRACE,
];

/// The handler of an aggregate.
fn joined(
    service: Arc<str>,
    aggregate: Aggregate,
    pattern: Path,
    find: &dyn Fn(&str, &str) -> anyhow::Result<Upstream>,
) -> anyhow::Result<MethodRouter> {
    let mut parts = Vec::new();
    let mut names = BTreeSet::from(["errors".to_owned()]);
    for part in &aggregate.parts {
        let (name, text) = (&part.name, &aggregate.pattern);
        anyhow::ensure!(names.insert(name.clone()), "`{text}` has two parts `{name}`");
        let target = Path::read(&part.target)?;
        anyhow::ensure!(pattern.covers(&target), "`{}` has variables that `{text}` has not", part.target);
        parts.push(Ready { upstream: find(&part.upstream, text)?, part: part.clone(), target });
    }
    let all = Arc::new((service, aggregate, pattern, parts));
    Ok(axum::routing::get(move |request: Request| {
        let all = Arc::clone(&all);
        async move {
            let (service, aggregate, pattern, parts) = &*all;
            if let Err(denied) = aggregate.access.check(request.extensions().get::<Principal>()) {
                return denied.into_response();
            }
            let headers = headers::onward(request.headers(), peer(&request));
            let path = request.uri().path();
            match aggregate::answer(service, aggregate, pattern, parts, path, &headers).await {
                Some((response, notes)) => noted(response, notes),
                None => astray(),
            }
        }
    }))
}

/// Steps 2 to 4.
async fn enter(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let line = Line::begin(&request);
    let (mut parts, body) = request.into_parts();
    let found = match &gate.authenticate {
        Some(by) => by.authenticate(&parts).await,
        None => Ok(None),
    };
    // Who is refused counts too, as an address: guessing is not free.
    let caller = found.as_ref().ok().cloned().flatten();
    let left = gate.limit.as_ref().map(|limit| limit.take(&parts, caller.as_ref()));
    let left = match left.transpose() {
        Ok(left) => left,
        Err(problem) => {
            note("rate_limited");
            return line.with(with_caller(problem.into_response(), caller));
        }
    };
    let mut response = match found {
        Err(denied) => {
            note(denied.kind());
            denied.into_response()
        }
        Ok(found) => {
            if let Some(principal) = found {
                parts.extensions.insert(principal);
            }
            next.run(Request::from_parts(parts, body)).await
        }
    };
    if let (Some(limit), Some(left)) = (&gate.limit, left) {
        limit.tell(response.headers_mut(), left, limit.window());
    }
    line.with(with_caller(response, caller))
}

fn with_caller(mut response: Response, caller: Option<Principal>) -> Response {
    response.extensions_mut().insert(Caller(caller));
    response
}

/// Says on the request's span why it ended here.
fn note(why: &'static str) {
    Context::map_current(|context| context.span().set_attribute(KeyValue::new(names::ERROR_TYPE, why)));
}

fn noted(mut response: Response, notes: Notes) -> Response {
    response.extensions_mut().insert(notes);
    response
}

fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

fn astray() -> Response {
    Problem::new(StatusCode::BAD_REQUEST, "a variable of the path leads out of its place").into_response()
}

/// The answer where an upstream failed: its own, if it has one.
fn answer_of(failure: Failure, upstream: &str) -> Response {
    match failure {
        Failure::Answer(response) => *response,
        failure => failure.problem(upstream).into_response(),
    }
}

impl Entry {
    /// Steps 5 to 11.
    async fn serve(&self, request: Request) -> Response {
        if let Err(denied) = self.route.access.check(request.extensions().get::<Principal>()) {
            note(denied.kind());
            return denied.into_response();
        }
        let Some(mut path) = self.pattern.rewrite(&self.target, request.uri().path()) else {
            return astray();
        };
        if let Some(query) = request.uri().query() {
            path = format!("{path}?{query}");
        }
        let until = deadline::within(self.route.timeout.unwrap_or(self.upstream.timeout));
        let headers = headers::onward(request.headers(), peer(&request));
        let (parts, body) = request.into_parts();
        let payload = match self.payload(body).await {
            Ok(payload) => payload,
            Err(failure) => return answer_of(failure, &self.upstream.name),
        };
        let (method, template) = (parts.method, Arc::clone(&self.template));
        let cached = ResponseCache::takes(&method, &parts.headers)
            && matches!(&payload, Payload::Whole(body) if body.is_empty());
        let out = Outgoing { method, path, template, headers, payload };
        let (answer, notes) = match &self.route.cache {
            Some(rule) if cached => {
                let (service, client) = (&*self.service, &parts.headers);
                let asked = Asked { service, upstream: &self.upstream, rule, client, until };
                self.cache.answer(asked, out).await
            }
            rule => {
                let (answer, tries) = self.upstream.send(&self.service, &out, until).await;
                let cache = rule.as_ref().map(|_| "fwd=bypass".to_owned());
                let notes = Notes { upstream: Some(self.upstream.name.to_string()), tries, cache };
                (answer, notes)
            }
        };
        let mut response = answer.unwrap_or_else(|failure| answer_of(failure, &self.upstream.name));
        let status =
            notes.cache.as_ref().map(|what| HeaderValue::try_from(format!("{}; {what}", self.service)));
        if let Some(Ok(status)) = status {
            response.headers_mut().insert(HeaderName::from_static("cache-status"), status);
        }
        noted(response, notes)
    }

    /// The body as it goes on.
    async fn payload(&self, body: Body) -> Result<Payload, Failure> {
        let size = body.size_hint();
        if size.lower() > self.most_body as u64 {
            return Err(Failure::TooLarge(self.most_body));
        }
        if size.exact().is_some_and(|size| size <= HELD) {
            let whole = axum::body::to_bytes(body, self.most_body).await;
            let gone = |error: axum::Error| Failure::Unwritable(error.to_string());
            return whole.map(Payload::Whole).map_err(gone);
        }
        let (body, over) = Limited::new(body, self.most_body);
        Ok(Payload::Stream { body: Mutex::new(Some(body)), most: self.most_body, over })
    }
}
