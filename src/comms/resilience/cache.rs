//! A cache of answers: one call for all who ask for the same at the same time, and an old answer rather than none.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use moka::Expiry;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tower::{Layer, Service};

use super::refused::Refused;
use crate::comms::names;

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheConfig {
    /// Answers; beyond these the ones that are asked for least are forgotten. 10,000 by default.
    pub most: u64,
    /// How long an answer is as good as a new one; 5 s by default.
    pub fresh_for: Duration,
    /// How long, from when it came, it is given where a new one cannot be had; 5 minutes by default, and zero for never.
    pub stale_for: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { most: 10_000, fresh_for: Duration::from_secs(5), stale_for: Duration::from_secs(300) }
    }
}

/// How long each answer is good, where that is the answer's own to say, and how much room it takes.
#[derive(Debug)]
pub struct Lifetimes<V> {
    /// As [`CacheConfig::fresh_for`]; an answer of zero is given to nobody but those who wait for it.
    pub fresh_for: fn(&V) -> Duration,
    /// As [`CacheConfig::stale_for`].
    pub stale_for: fn(&V) -> Duration,
    /// In the unit of the most that is kept.
    pub weight: fn(&V) -> u32,
}

impl<V> Clone for Lifetimes<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Lifetimes<V> {}

/// A lifetime as moka asks for it: whoever writes a value anew begins it anew.
struct Own<V>(fn(&V) -> Duration);

impl<K, V> Expiry<K, V> for Own<V> {
    fn expire_after_create(&self, _: &K, value: &V, _: Instant) -> Option<Duration> {
        Some((self.0)(value))
    }

    fn expire_after_update(&self, _: &K, value: &V, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some((self.0)(value))
    }
}

/// A cache; clones are the same one.
#[derive(Clone, Debug)]
pub struct Cache<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fresh: moka::future::Cache<K, V>,
    stale: moka::future::Cache<K, V>,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn new(config: CacheConfig) -> Self {
        let keeping =
            |time| moka::future::Cache::builder().max_capacity(config.most).time_to_live(time).build();
        Self { fresh: keeping(config.fresh_for), stale: keeping(config.stale_for.max(config.fresh_for)) }
    }

    /// A cache of answers that say themselves how long they are good; `most` is the weight of all of them.
    pub fn with_lifetimes(most: u64, lifetimes: Lifetimes<V>) -> Self {
        let keeping = |time| {
            moka::future::Cache::builder()
                .max_capacity(most)
                .weigher(move |_, value| (lifetimes.weight)(value))
                .expire_after(Own(time))
                .build()
        };
        Self { fresh: keeping(lifetimes.fresh_for), stale: keeping(lifetimes.stale_for) }
    }

    /// The answer for a key that came last, fresh or old, if it is still kept.
    pub async fn kept(&self, key: &K) -> Option<V> {
        self.stale.get(key).await
    }

    /// The answer for a key: a fresh one, or what `ask` gives, or an old one where that fails. While one caller asks,
    /// others who want the same wait for its answer. Where the one that asks is dropped, another one asks.
    ///
    /// # Errors
    /// That of `ask` for the caller that asked, and [`Refused::Together`] for those that waited with it.
    pub async fn get<E>(&self, key: &K, ask: impl Future<Output = Result<V, E>>) -> Result<V, E>
    where
        E: std::fmt::Display + From<Refused>,
    {
        // Set by the caller whose question it was; others get its words only.
        let mut own = None;
        let asked = async {
            let value = match ask.await {
                Ok(value) => value,
                Err(error) => {
                    let text = Arc::<str>::from(error.to_string());
                    own = Some(error);
                    return Err(text);
                }
            };
            self.stale.insert(key.clone(), value.clone()).await;
            Ok(value)
        };
        let text: Arc<Arc<str>> = match self.fresh.try_get_with_by_ref(key, asked).await {
            Ok(value) => return Ok(value),
            Err(text) => text,
        };
        if let Some(old) = self.stale.get(key).await {
            let reason = vec![KeyValue::new(names::EVENT_REASON, text.to_string())];
            Context::map_current(|context| context.span().add_event(names::EVENT_STALE_ANSWER, reason));
            return Ok(old);
        }
        Err(own.unwrap_or_else(|| Refused::Together(Arc::clone(&text)).into()))
    }

    /// Forgets an answer, because what it tells of has changed.
    pub async fn forget(&self, key: &K) {
        self.fresh.invalidate(key).await;
        self.stale.invalidate(key).await;
    }
}

/// Answers from a [`Cache`] what its function gives a key for; the rest goes through.
#[derive(Clone, Debug)]
pub struct CacheLayer<K, V, F>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    cache: Cache<K, V>,
    key: F,
}

impl<K, V, F> CacheLayer<K, V, F>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Requests of the same key have the same answer; those of none are not cached.
    pub fn new(cache: Cache<K, V>, key: F) -> Self {
        Self { cache, key }
    }
}

impl<S, K, V, F> Layer<S> for CacheLayer<K, V, F>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    F: Clone,
{
    type Service = Cached<S, K, V, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Cached { inner, cache: self.cache.clone(), key: self.key.clone() }
    }
}

/// A service with [`CacheLayer`] around it.
#[derive(Clone, Debug)]
pub struct Cached<S, K, V, F>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    inner: S,
    cache: Cache<K, V>,
    key: F,
}

impl<S, K, V, F, Req> Service<Req> for Cached<S, K, V, F>
where
    S: Service<Req, Response = V> + Clone + Send + 'static,
    S::Error: From<Refused> + std::fmt::Display + Send + 'static,
    S::Future: Send,
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    F: Fn(&Req) -> Option<K>,
    Req: Send + 'static,
{
    type Response = V;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<V, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut inner = super::ready(&mut self.inner);
        let Some(key) = (self.key)(&request) else {
            return Box::pin(async move { inner.call(request).await });
        };
        let cache = self.cache.clone();
        Box::pin(async move { cache.get(&key, async move { inner.call(request).await }).await })
    }
}
