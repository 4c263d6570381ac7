//! The layers of `comms::resilience` around a service that fails, alone and stacked in their order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use throughline::comms::breaker::{Breaker, BreakerConfig, Outcome, State, Window};
use throughline::comms::deadline;
use throughline::comms::resilience::{
    BreakerLayer, Bulkhead, BulkheadLayer, Cache, CacheConfig, CacheLayer, HttpStatus, RateLimit,
    RateLimitLayer, Refused, Retry, RetryBudget, RetryLayer, TimeoutLayer,
};
use throughline::comms::retry::Backoff;
use tokio::sync::{Semaphore, watch};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _};

const SOON: Duration = Duration::from_secs(20);
const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// What a service does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Answers,
    Fails,
    Hangs,
}

/// A service that can be told what to do, and counts.
#[derive(Clone)]
struct Peer {
    does: watch::Sender<Does>,
    asked: Arc<AtomicUsize>,
}

impl Peer {
    fn new(does: Does) -> Self {
        Self { does: watch::Sender::new(does), asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// A hanging one answers as soon as it is told to do something else.
    async fn answer(self, request: u32) -> Result<u32, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut does = self.does.subscribe();
        let does = *does.wait_for(|does| *does != Does::Hangs).await.expect("the test goes on");
        match does {
            Does::Fails => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
            _ => Ok(request),
        }
    }

    fn service(
        &self,
    ) -> impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static {
        let peer = self.clone();
        tower::service_fn(move |request| peer.clone().answer(request))
    }
}

fn refused(error: &BoxError) -> &Refused {
    error.downcast_ref().unwrap_or_else(|| panic!("of another kind: {error}"))
}

#[tokio::test]
async fn a_timeout_ends_the_call_and_is_told_to_what_is_called() {
    let peer = Peer::new(Does::Hangs);
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(MILLIS(30))).service(peer.service());
    let error = service.oneshot(1).await.expect_err("too late");
    assert!(matches!(refused(&error), Refused::TimedOut(_)), "{error}");

    let told = tower::service_fn(|()| async { Ok::<_, BoxError>(deadline::current()) });
    let service = ServiceBuilder::new().layer(TimeoutLayer::new(SOON)).service(told);
    let before = tokio::time::Instant::now();
    let until = service.clone().oneshot(()).await.expect("an answer").expect("a deadline");
    assert!((before + SOON..before + SOON * 2).contains(&until));
    let sooner = before + MILLIS(5000);
    let until = deadline::scope(sooner, service.oneshot(())).await.expect("an answer");
    assert_eq!(until, Some(sooner), "the task's own deadline is sooner");
}

#[tokio::test]
async fn retries_end_with_the_budget() {
    let peer = Peer::new(Does::Fails);
    let backoff = Backoff { first: MILLIS(1), longest: MILLIS(2), retries: 3 };
    let budget = RetryBudget { per_call: 0.1, per_second: 0, ..RetryBudget::default() };
    let service =
        ServiceBuilder::new().layer(RetryLayer::new(Retry::new(backoff, budget))).service(peer.service());
    for call in 0..100 {
        service.clone().oneshot(call).await.expect_err("it fails");
    }
    // A tenth of a hundred on top, give or take the one that is being paid for.
    assert!((109..=110).contains(&peer.asked()), "{} tries for 100 calls", peer.asked());

    let odd_only =
        RetryLayer::new(Retry::new(backoff, RetryBudget::default())).only(|request: &u32| request % 2 == 1);
    let service = ServiceBuilder::new().layer(odd_only).service(peer.service());
    let before = peer.asked();
    service.clone().oneshot(2).await.expect_err("it fails");
    assert_eq!(peer.asked() - before, 1, "not to be made twice");
    service.oneshot(3).await.expect_err("it fails");
    assert_eq!(peer.asked() - before, 5);
}

#[tokio::test]
async fn a_bulkhead_keeps_a_slow_service_from_taking_everything() {
    let peer = Peer::new(Does::Hangs);
    let bulkhead = Bulkhead::new("stock", 2, MILLIS(20));
    let service = ServiceBuilder::new().layer(BulkheadLayer::new(bulkhead.clone())).service(peer.service());
    let inside: Vec<_> = (0..2).map(|request| tokio::spawn(service.clone().oneshot(request))).collect();
    wait_for(|| bulkhead.free() == 0).await;
    let error = service.clone().oneshot(3).await.expect_err("no place");
    assert_eq!(refused(&error), &Refused::Full { bulkhead: "stock".into(), at_once: 2, waited: MILLIS(20) });

    // Whoever gives up gives the place back.
    inside[0].abort();
    wait_for(|| bulkhead.free() == 1).await;
    peer.does.send_replace(Does::Answers);
    assert_eq!(service.oneshot(4).await.expect("a place"), 4);
    wait_for(|| bulkhead.free() == 2).await;
}

async fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "it never comes about");
        tokio::time::sleep(MILLIS(2)).await;
    }
}

#[tokio::test]
async fn a_rate_limit_says_when_to_come_again_and_knows_callers_apart() {
    let peer = Peer::new(Does::Answers);
    let service =
        ServiceBuilder::new().layer(RateLimitLayer::new(RateLimit::of_each(1, 3))).service(peer.service());
    for request in 0..3 {
        service.clone().oneshot(request).await.expect("within the burst");
    }
    let error = service.oneshot(4).await.expect_err("too many");
    let Refused::Limited { retry_after } = refused(&error) else { panic!("{error}") };
    assert!((MILLIS(1)..=MILLIS(1000)).contains(retry_after), "{retry_after:?}");
    assert_eq!(peer.asked(), 3);

    let each = RateLimit::<&str>::of_each(1, 1);
    assert!(each.check(&"a").is_ok() && each.check(&"b").is_ok());
    assert!(each.check(&"a").is_err());
}

#[tokio::test]
async fn a_cache_asks_once_for_all_and_gives_an_old_answer_rather_than_none() {
    let peer = Peer::new(Does::Hangs);
    let config = CacheConfig { fresh_for: MILLIS(40), ..CacheConfig::default() };
    let cache = Cache::new(config);
    let layer = CacheLayer::new(cache.clone(), |request: &u32| (*request < 100).then_some(*request));
    let service = ServiceBuilder::new().layer(layer).service(peer.service());
    let waiting: Vec<_> = (0..10).map(|_| tokio::spawn(service.clone().oneshot(7))).collect();
    wait_for(|| peer.asked() == 1).await;
    peer.does.send_replace(Does::Answers);
    for answer in waiting {
        assert_eq!(answer.await.expect("no panic").expect("an answer"), 7);
    }
    assert_eq!(peer.asked(), 1, "one call for ten");

    peer.does.send_replace(Does::Fails);
    let deadline = Instant::now() + SOON;
    while peer.asked() == 1 {
        assert!(Instant::now() < deadline, "it is fresh for ever");
        assert_eq!(service.clone().oneshot(7).await.expect("fresh or old"), 7);
        tokio::time::sleep(MILLIS(2)).await;
    }
    assert_eq!(service.clone().oneshot(7).await.expect("an old answer"), 7);
    service.clone().oneshot(8).await.expect_err("there is no old answer to this");
    cache.forget(&7).await;
    service.clone().oneshot(7).await.expect_err("it is forgotten");
    let before = peer.asked();
    for _ in 0..2 {
        service.clone().oneshot(100).await.expect_err("not cached");
    }
    assert_eq!(peer.asked() - before, 2);
}

#[tokio::test]
async fn those_who_asked_together_fail_together_and_are_told_why() {
    let cache: Cache<u8, u8> = Cache::new(CacheConfig::default());
    let gate = Arc::new(Semaphore::new(0));
    let ask = || {
        let (cache, gate) = (cache.clone(), Arc::clone(&gate));
        tokio::spawn(async move {
            let failing = async {
                let _ = gate.acquire().await;
                Err::<u8, BoxError>("out of reach".into())
            };
            cache.get(&1, failing).await
        })
    };
    let (first, second) = (ask(), ask());
    // Both wait: the one for the gate, the other for the first.
    tokio::task::yield_now().await;
    gate.add_permits(2);
    for asked in [first, second] {
        let error = asked.await.expect("no panic").expect_err("it failed");
        assert!(error.to_string().contains("out of reach"), "{error}");
    }
}

#[tokio::test]
async fn a_breaker_layer_judges_answers_as_it_is_told() {
    let config = BreakerConfig { window: Window::Calls(2), minimum_calls: 2, ..BreakerConfig::default() };
    let answers = |status: u16| {
        tower::service_fn(move |()| async move {
            let response = axum::http::Response::builder().status(status).body(());
            response.map_err(BoxError::from)
        })
    };
    for (status, opens) in [(503, true), (404, false)] {
        let breaker = Breaker::new("status", config.clone());
        let layer = BreakerLayer::new(breaker.clone()).classify(HttpStatus);
        let service = ServiceBuilder::new().layer(layer).service(answers(status));
        for _ in 0..2 {
            service.clone().oneshot(()).await.expect("an answer");
        }
        assert_eq!(breaker.state() == State::Open, opens, "{status}");
        let next = service.oneshot(()).await;
        assert_eq!(next.is_err_and(|error| matches!(refused(&error), Refused::Rejected(_))), opens);
    }
    let breaker = Breaker::new("odd", config);
    let odd_is_bad = |result: &Result<u32, BoxError>| match result {
        Ok(answer) if answer % 2 == 0 => Outcome::Success,
        _ => Outcome::Failure,
    };
    let layer = BreakerLayer::new(breaker.clone()).classify(odd_is_bad);
    let service = ServiceBuilder::new().layer(layer).service(Peer::new(Does::Answers).service());
    for request in [1, 3] {
        service.clone().oneshot(request).await.expect("an answer");
    }
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test]
async fn all_of_them_in_their_order() {
    let peer = Peer::new(Does::Answers);
    let breaker = Breaker::new(
        "peer",
        BreakerConfig {
            window: Window::Calls(4),
            minimum_calls: 3,
            open_for: MILLIS(100),
            probes: 1,
            ..BreakerConfig::default()
        },
    );
    let backoff = Backoff { first: MILLIS(1), longest: MILLIS(2), retries: 2 };
    let cache = CacheConfig { fresh_for: MILLIS(1), ..CacheConfig::default() };
    let service = ServiceBuilder::new()
        .layer(CacheLayer::new(Cache::new(cache), |request: &u32| Some(*request)))
        .layer(RateLimitLayer::new(RateLimit::per_second(1000)))
        .layer(TimeoutLayer::new(SOON))
        .layer(RetryLayer::new(Retry::new(backoff, RetryBudget::default())))
        .layer(BulkheadLayer::new(Bulkhead::new("peer", 4, SOON)))
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(TimeoutLayer::new(MILLIS(20)))
        .service(peer.service());
    assert_eq!(service.clone().oneshot(1).await.expect("well"), 1);

    peer.does.send_replace(Does::Hangs);
    tokio::time::sleep(MILLIS(2)).await;
    // Three tries time out, which opens the breaker; the old answer is better than none.
    assert_eq!(service.clone().oneshot(1).await.expect("an old answer"), 1);
    assert_eq!(breaker.state(), State::Open);
    assert!((3..=4).contains(&peer.asked()), "{}", peer.asked());
    let made = peer.asked();
    let error = service.clone().oneshot(2).await.expect_err("there is no old answer to this");
    assert!(matches!(refused(&error), Refused::Rejected(_)), "{error}");
    assert_eq!(peer.asked(), made, "not called");

    peer.does.send_replace(Does::Answers);
    let deadline = Instant::now() + SOON;
    while service.clone().oneshot(3).await.is_err() {
        assert!(Instant::now() < deadline, "never closed");
        tokio::time::sleep(MILLIS(5)).await;
    }
    assert_eq!(breaker.state(), State::Closed);
}
