//! The event bus, by its public doors: who gets what, and that one subscriber's trouble stays its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use throughline::comms::bus::{Event, EventBus, PublishError, Subscriber, Subscription};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::names;
use throughline::comms::queue::Failure;
use throughline::telemetry::testing::{MetricRecorder, SpanRecorder};
use tokio::sync::{Notify, Semaphore};

struct Sold(u32);

impl Event for Sold {
    const NAME: &'static str = "lamp.sold";
}

struct Returned(u32);

impl Event for Returned {
    const NAME: &'static str = "lamp.returned";
}

/// What a subscriber has seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u32>>>);

impl Seen {
    fn note(&self, n: u32) {
        self.0.lock().expect("lock").push(n);
    }

    fn all(&self) -> Vec<u32> {
        self.0.lock().expect("lock").clone()
    }
}

/// Subscribes somebody who notes what is sold.
fn noting(bus: &EventBus, name: &str) -> Seen {
    let seen = Seen::default();
    let noted = seen.clone();
    bus.subscribe(name, move |sold: Arc<Sold>| {
        let noted = noted.clone();
        async move {
            noted.note(sold.0);
            Ok(())
        }
    });
    seen
}

#[tokio::test]
async fn each_subscriber_gets_every_event_of_its_type_in_order_and_no_other() {
    let bus = EventBus::new();
    let (one, two) = (noting(&bus, "one"), noting(&bus, "two"));
    let returned = Seen::default();
    let noted = returned.clone();
    bus.subscribe("three", move |event: Arc<Returned>| {
        noted.note(event.0);
        async { Ok(()) }
    });
    for n in 0..1_000 {
        assert_eq!(bus.publish(Sold(n)).await, Ok(2));
    }
    assert_eq!(bus.publish(Returned(7)).await, Ok(1));
    bus.close().await;
    let all: Vec<u32> = (0..1_000).collect();
    assert_eq!((one.all(), two.all()), (all.clone(), all), "closing waits for what was published");
    assert_eq!(returned.all(), [7]);
}

#[tokio::test]
async fn nobody_need_subscribe_and_a_closed_bus_says_so() {
    let bus = EventBus::new();
    assert_eq!(bus.publish(Sold(1)).await, Ok(0));
    bus.close().await;
    let refused = bus.publish(Sold(2)).await.expect_err("it is closed");
    assert_eq!(refused, PublishError::Closed { event: "lamp.sold" });
    assert_eq!(refused.to_string(), "`lamp.sold` was published on an event bus that is closed");
    let late = noting(&bus, "late");
    bus.close().await;
    assert_eq!(late.all(), [0; 0]);
}

#[tokio::test]
async fn a_subscription_that_ends_takes_what_it_has_and_no_more() {
    let bus = EventBus::new();
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Seen::default());
    let (held, noted) = (Arc::clone(&gate), seen.clone());
    let subscription = bus.subscribe("slow", move |sold: Arc<Sold>| {
        let (gate, noted) = (Arc::clone(&held), noted.clone());
        async move {
            gate.acquire().await.expect("open").forget();
            noted.note(sold.0);
            Ok(())
        }
    });
    let other = noting(&bus, "other");
    for n in 0..3 {
        assert_eq!(bus.publish(Sold(n)).await, Ok(2));
    }
    let ending = tokio::spawn(subscription.end());
    while bus.publish(Sold(9)).await == Ok(2) {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1_000_000);
    ending.await.expect("it ends");
    assert_eq!(seen.all()[..3], [0, 1, 2]);
    let taken = seen.all().len();
    assert_eq!(bus.publish(Sold(10)).await, Ok(1));
    bus.close().await;
    assert_eq!(seen.all().len(), taken, "nothing came after its end");
    assert_eq!(other.all().last(), Some(&10));
}

#[tokio::test]
async fn a_failure_a_panic_and_a_timeout_are_told_and_touch_nobody_else() {
    let recorder = SpanRecorder::install();
    let bus = EventBus::new();
    let hasty = Subscriber::new("troubled").timeout(Duration::from_millis(50));
    let done = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&done);
    bus.subscribe_as(hasty, move |sold: Arc<Sold>| {
        let counted = Arc::clone(&counted);
        async move {
            match sold.0 {
                0 => return Err(Failure::permanent("no_paper", "the printer is empty")),
                1 => panic!("a bug"),
                2 => std::future::pending().await,
                _ => {}
            }
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let calm = noting(&bus, "calm");
    let id = CorrelationId::parse("test-bus-trouble").expect("an ID");
    correlation::scope(id.clone(), async {
        for n in 0..5 {
            assert_eq!(bus.publish(Sold(n)).await, Ok(2), "no trouble of who publishes");
        }
    })
    .await;
    bus.close().await;
    assert_eq!(done.load(Ordering::SeqCst), 2, "it goes on after each of them");
    assert_eq!(calm.all(), [0, 1, 2, 3, 4]);

    let spans = recorder.of(&id);
    let of = |name: &'static str| spans.iter().filter(move |span| span.0.name == name);
    let troubled: Vec<_> = of("handle lamp.sold by troubled").collect();
    for (span, kind) in troubled.iter().zip(["no_paper", "panic", "timeout"]) {
        span.failed_with(kind).has_event("exception").has(names::BUS_SUBSCRIBER, "troubled");
    }
    assert_eq!(troubled.len(), 5);
    let calm: Vec<_> = of("handle lamp.sold by calm").collect();
    assert_eq!(calm.len(), 5);
    for span in troubled[3..].iter().chain(&calm) {
        span.is_fine();
    }
}

#[tokio::test]
async fn who_is_behind_is_bounded_missed_by_name_and_holds_up_nobody_for_long() {
    let recorder = MetricRecorder::install();
    let missed_by = |subscriber: &str| {
        let with = [(names::BUS_EVENT, "lamp.sold"), (names::BUS_SUBSCRIBER, subscriber)];
        recorder.sum("throughline.event.missed", &with)
    };
    let bus = EventBus::new();
    let (began, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let seen = Seen::default();
    let (starts, held, noted) = (Arc::clone(&began), Arc::clone(&gate), seen.clone());
    let behind = Subscriber::new("behind").room(2).patience(Duration::ZERO);
    bus.subscribe_as(behind, move |sold: Arc<Sold>| {
        let (starts, gate, noted) = (Arc::clone(&starts), Arc::clone(&held), noted.clone());
        async move {
            starts.notify_one();
            gate.acquire().await.expect("open").forget();
            noted.note(sold.0);
            Ok(())
        }
    });
    let quick = noting(&bus, "quick");
    assert_eq!(bus.publish(Sold(0)).await, Ok(2));
    began.notified().await;
    // One is at hand, two wait, and there is no room for more.
    assert_eq!(bus.publish(Sold(1)).await, Ok(2));
    assert_eq!(bus.publish(Sold(2)).await, Ok(2));
    assert_eq!(missed_by("behind"), 0.0);
    let missed = bus.publish(Sold(3)).await.expect_err("no room");
    assert_eq!((missed_by("behind"), missed_by("quick")), (1.0, 0.0));
    assert_eq!(missed, PublishError::Missed { event: "lamp.sold", subscribers: vec!["behind".into()] });
    assert_eq!(missed.to_string(), "`lamp.sold` was missed by behind");
    gate.add_permits(100);
    bus.close().await;
    assert_eq!(seen.all(), [0, 1, 2]);
    assert_eq!(quick.all(), [0, 1, 2, 3], "the others have what one misses");
}

#[tokio::test]
async fn a_publisher_waits_for_room_as_long_as_it_is_let() {
    let bus = EventBus::new();
    let gate = Arc::new(Semaphore::new(0));
    let (held, seen) = (Arc::clone(&gate), Seen::default());
    let noted = seen.clone();
    bus.subscribe_as(
        Subscriber::new("slow").room(1).patience(Duration::from_secs(60)),
        move |sold: Arc<Sold>| {
            let (gate, noted) = (Arc::clone(&held), noted.clone());
            async move {
                gate.acquire().await.expect("open").forget();
                noted.note(sold.0);
                Ok(())
            }
        },
    );
    let publishing = async {
        for n in 0..20 {
            assert_eq!(bus.publish(Sold(n)).await, Ok(1));
        }
    };
    let opening = async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            gate.add_permits(1);
        }
    };
    tokio::join!(publishing, opening);
    bus.close().await;
    assert_eq!(seen.all(), (0..20).collect::<Vec<_>>(), "none is missed");
}

/// A handler's span is a child of the publisher's, whatever has become of that, and it works for the same correlation ID.
#[tokio::test]
async fn a_handler_works_on_behalf_of_who_published() {
    let recorder = SpanRecorder::install();
    let bus = EventBus::new();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&ids);
    let other = bus.clone();
    bus.subscribe("first", move |sold: Arc<Sold>| {
        let (noted, bus) = (Arc::clone(&noted), other.clone());
        async move {
            noted.lock().expect("lock").push(correlation::current());
            bus.publish(Returned(sold.0)).await.expect("it has room");
            Ok(())
        }
    });
    let noted = Arc::clone(&ids);
    let done = Arc::new(Notify::new());
    let last = Arc::clone(&done);
    bus.subscribe("second", move |_: Arc<Returned>| {
        noted.lock().expect("lock").push(correlation::current());
        last.notify_one();
        async { Ok(()) }
    });
    let id = CorrelationId::parse("test-bus-behalf").expect("an ID");
    correlation::scope(id.clone(), bus.publish(Sold(1))).await.expect("it has room");
    done.notified().await;
    bus.close().await;
    assert_eq!(*ids.lock().expect("lock"), [Some(id.clone()), Some(id.clone())]);
    let spans = recorder.of(&id);
    spans.are_one_trace();
    spans.one_of(&SpanKind::Internal, "handle lamp.sold by first").is_fine();
    spans.one("handle lamp.returned by second").is_fine();

    // Outside of any request each event begins a correlation ID of its own.
    ids.lock().expect("lock").clear();
    let bus = EventBus::new();
    let noted = Arc::clone(&ids);
    bus.subscribe("alone", move |_: Arc<Sold>| {
        noted.lock().expect("lock").push(correlation::current());
        async { Ok(()) }
    });
    for n in 0..2 {
        bus.publish(Sold(n)).await.expect("it has room");
    }
    bus.close().await;
    let ids = ids.lock().expect("lock").clone();
    assert!(ids.iter().flatten().all(|id| id.as_str().starts_with("lamp.sold-")), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

/// A subscriber that handles one event for each permit.
fn gated(bus: &EventBus, subscriber: Subscriber) -> (Subscription, Arc<Semaphore>, Seen) {
    let (gate, seen) = (Arc::new(Semaphore::new(0)), Seen::default());
    let (held, noted) = (Arc::clone(&gate), seen.clone());
    let subscription = bus.subscribe_as(subscriber, move |sold: Arc<Sold>| {
        let (gate, noted) = (Arc::clone(&held), noted.clone());
        async move {
            gate.acquire().await.expect("open").forget();
            noted.note(sold.0);
            Ok(())
        }
    });
    (subscription, gate, seen)
}

#[tokio::test]
async fn closing_waits_for_what_handlers_publish_for_everyone_who_awaits_it() {
    let bus = EventBus::new();
    let gate = Arc::new(Semaphore::new(0));
    let (held, other, returned) = (Arc::clone(&gate), bus.clone(), Seen::default());
    let first = bus.subscribe("first", move |sold: Arc<Sold>| {
        let (gate, bus) = (Arc::clone(&held), other.clone());
        async move {
            gate.acquire().await.expect("open").forget();
            assert_eq!(bus.publish(Returned(sold.0)).await, Ok(1), "a handler may, while the bus is closed");
            Ok(())
        }
    });
    let noted = returned.clone();
    bus.subscribe("second", move |event: Arc<Returned>| {
        noted.note(event.0);
        async { Ok(()) }
    });
    assert_eq!(bus.publish(Sold(1)).await, Ok(1));
    let mut closing = Box::pin(bus.close());
    assert!(futures_util::poll!(closing.as_mut()).is_pending());
    drop(closing);
    assert_eq!(bus.publish(Sold(2)).await, Err(PublishError::Closed { event: "lamp.sold" }));
    let (mut again, mut ending) = (Box::pin(bus.close()), Box::pin(first.end()));
    assert!(futures_util::poll!(again.as_mut()).is_pending(), "who gave up waiting took nothing away");
    assert!(futures_util::poll!(ending.as_mut()).is_pending());
    gate.add_permits(1);
    tokio::join!(again, ending, bus.close());
    assert_eq!(returned.all(), [1]);
}

#[tokio::test]
async fn who_ends_does_not_wait_for_a_publisher_that_waits_for_another() {
    let bus = EventBus::new();
    let quick = bus.subscribe("quick", |_: Arc<Sold>| async { Ok(()) });
    let slow = Subscriber::new("slow").room(1).patience(Duration::from_secs(3_600));
    let (_slow, gate, seen) = gated(&bus, slow);
    let publisher = bus.clone();
    let publishing = tokio::spawn(async move {
        for n in 0..4 {
            publisher.publish(Sold(n)).await.expect("room, in the end");
        }
    });
    // One is at hand, one waits, and the third has no room.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(20), quick.end()).await.expect("it has nothing to wait for");
    assert!(!publishing.is_finished(), "the slow one has room for one");
    gate.add_permits(4);
    publishing.await.expect("published");
    bus.close().await;
    assert_eq!(seen.all(), [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_handler_that_is_full_does_not_wait_for_itself() {
    let bus = EventBus::new();
    let (other, missed) = (bus.clone(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&missed);
    let echo = Subscriber::new("echo").room(1).patience(Duration::from_secs(3_600));
    bus.subscribe_as(echo, move |sold: Arc<Sold>| {
        let (bus, noted) = (other.clone(), Arc::clone(&noted));
        async move {
            if sold.0 == 0 {
                for n in 1..3 {
                    let outcome = bus.publish(Sold(n)).await;
                    noted.lock().expect("lock").push(outcome);
                }
            }
            Ok(())
        }
    });
    assert_eq!(bus.publish(Sold(0)).await, Ok(1));
    tokio::time::timeout(Duration::from_secs(20), bus.close()).await.expect("it ends");
    let error = PublishError::Missed { event: "lamp.sold", subscribers: vec!["echo".into()] };
    assert_eq!(*missed.lock().expect("lock"), [Ok(1), Err(error)]);
}

#[test]
fn a_subscriber_whose_runtime_has_ended_misses_events_and_is_named() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bus = EventBus::new();
    let first = runtime();
    first.block_on(async { drop(noting(&bus, "gone")) });
    drop(first);
    runtime().block_on(async {
        let error = PublishError::Missed { event: "lamp.sold", subscribers: vec!["gone".into()] };
        assert_eq!(bus.publish(Sold(1)).await, Err(error));
        tokio::time::timeout(Duration::from_secs(20), bus.close()).await.expect("nobody is waited for");
    });
}

/// Who publishes may be gone before a subscriber has room: its client hung up.
#[tokio::test]
async fn a_publisher_that_is_dropped_while_it_waits_is_told_of_as_well() {
    let recorder = SpanRecorder::install();
    let bus = EventBus::new();
    let slow = Subscriber::new("slow").room(1).patience(Duration::from_secs(3_600));
    let (_slow, gate, seen) = gated(&bus, slow);
    let id = CorrelationId::parse("test-bus-dropped").expect("an ID");
    let tracer = global::tracer("test");
    let of = [KeyValue::new(names::CORRELATION_ID, id.as_str().to_owned())];
    let context = Context::current_with_span(tracer.build(tracer.span_builder("ask").with_attributes(of)));
    // One is at hand or waits, one waits, and for the third or fourth there is no room.
    let mut n = 0;
    loop {
        let mut publishing = Box::pin(bus.publish(Sold(n)).with_context(context.clone()));
        if futures_util::poll!(publishing.as_mut()).is_pending() {
            break;
        }
        tokio::task::yield_now().await;
        n += 1;
    }
    context.span().end();
    recorder.of(&id).one("ask").has_event(names::EVENT_MISSED);
    gate.add_permits(10);
    bus.close().await;
    assert_eq!(seen.all(), (0..n).collect::<Vec<_>>());
}
