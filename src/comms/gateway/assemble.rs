//! How routes become a router: each with the upstream that it names, and no two for the same requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::{MethodFilter, MethodRouter};

use super::aggregate::{Aggregate, Ready};
use super::cache::ResponseCache;
use super::serve::{Entry, Joined};
use super::table::{Path, Route};
use super::upstream::Upstream;
use crate::comms::metrics::Refusals;

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

/// Routes that have been read.
pub(super) struct Assembly {
    service: Arc<str>,
    upstreams: BTreeMap<String, Upstream>,
    cache: ResponseCache,
    most_body: usize,
    refusals: Refusals,
    /// Shapes of paths with their methods.
    taken: BTreeSet<(String, String)>,
    by_path: BTreeMap<String, MethodRouter>,
}

impl Assembly {
    pub fn new(
        service: Arc<str>,
        upstreams: Vec<Upstream>,
        cached_bytes: u64,
        most_body: usize,
        refusals: Refusals,
    ) -> Self {
        let upstreams = upstreams.into_iter().map(|upstream| (upstream.name.to_string(), upstream));
        Self {
            service,
            upstreams: upstreams.collect(),
            cache: ResponseCache::new(cached_bytes),
            most_body,
            refusals,
            taken: BTreeSet::new(),
            by_path: BTreeMap::new(),
        }
    }

    /// Adds a line of the table.
    pub fn route(&mut self, route: Route) -> anyhow::Result<()> {
        let upstream = self.find(&route.upstream, &route.pattern)?;
        let (pattern, target) = self.paths(&route.pattern, &route.target)?;
        let (text, methods, shape) = (route.pattern.clone(), route.methods, pattern.shape());
        let entry = Arc::new(Entry {
            service: Arc::clone(&self.service),
            template: route.target.as_str().into(),
            most_body: route.most_body.unwrap_or(self.most_body),
            cache: self.cache.clone(),
            refusals: self.refusals.clone(),
            route,
            pattern,
            target,
            upstream,
        });
        let serve = move |request: Request| {
            let entry = Arc::clone(&entry);
            async move { entry.serve(request).await }
        };
        self.add(&text, methods, &shape, axum::routing::on(methods, serve))
    }

    /// Adds a request that asks several services.
    pub fn aggregate(&mut self, aggregate: Aggregate) -> anyhow::Result<()> {
        let text = aggregate.pattern.clone();
        let mut names = BTreeSet::from(["errors".to_owned()]);
        let mut parts = Vec::new();
        for part in &aggregate.parts {
            let name = &part.name;
            anyhow::ensure!(names.insert(name.clone()), "`{text}` has two parts `{name}`");
            let (_, target) = self.paths(&text, &part.target)?;
            parts.push(Ready { upstream: self.find(&part.upstream, &text)?, part: part.clone(), target });
        }
        let pattern = Path::read(&text)?;
        let shape = pattern.shape();
        let (service, refusals) = (Arc::clone(&self.service), self.refusals.clone());
        let joined = Arc::new(Joined { service, aggregate, pattern, parts, refusals });
        let serve = move |request: Request| {
            let joined = Arc::clone(&joined);
            async move { joined.serve(request).await }
        };
        self.add(&text, MethodFilter::GET, &shape, axum::routing::get(serve))
    }

    pub fn into_router(self) -> Router {
        self.by_path.into_iter().fold(Router::new(), |table, (path, one)| table.route(&path, one))
    }

    fn find(&self, name: &str, pattern: &str) -> anyhow::Result<Upstream> {
        let known = || self.upstreams.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let found = self.upstreams.get(name).cloned();
        found.ok_or_else(|| anyhow::anyhow!("`{pattern}` goes to `{name}`; there is only {}", known()))
    }

    fn paths(&self, pattern: &str, target: &str) -> anyhow::Result<(Path, Path)> {
        let (read, onto) = (Path::read(pattern)?, Path::read(target)?);
        anyhow::ensure!(read.covers(&onto), "`{target}` has variables that `{pattern}` has not");
        Ok((read, onto))
    }

    fn add(
        &mut self,
        pattern: &str,
        methods: MethodFilter,
        shape: &str,
        one: MethodRouter,
    ) -> anyhow::Result<()> {
        for method in EVERY.into_iter().filter(|method| methods.or(*method) == methods) {
            anyhow::ensure!(
                self.taken.insert((shape.to_owned(), format!("{method:?}"))),
                "two routes take the same requests to `{pattern}`"
            );
        }
        let before = self.by_path.remove(pattern).unwrap_or_default();
        self.by_path.insert(pattern.to_owned(), before.merge(one));
        Ok(())
    }
}
