//! What the toolkit costs over axum and reqwest alone: a REST call by its client to its server, and a request through its
//! gateway.
//!
//! `cargo bench --bench rest`. Each way is a client and what it calls in this one process, over loopback; tracing, metrics and
//! their export are on, into a sink in this process too. The ways take turns in rounds, and the median of the rounds counts. CPU is
//! that of the process, client, server, export and sink together.
//!
//! Between the two stands the same by hand (`by_hand.rs`): what a team writes around axum and reqwest with the OpenTelemetry
//! crates alone, so that what spans and metrics cost in any case is told apart from what the toolkit costs.
//!
//! `BENCH_WAY=toolkit` makes calls in that way alone (or `bare`, `by-hand`, `gateway`), for a profiler.
//!
//! Calls go one by one and from several senders side by side. The handler does what a service does at the least (a small order
//! in, a small order out), so that the share is that of the worst case.

#[path = "rest/by_hand.rs"]
mod by_hand;
mod measure;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use measure::{Cost, measured, median, telemetry, verdict};
use serde_json::{Value, json};
use throughline::comms::gateway::{ClientLimit, Gateway, Route, Upstream};
use throughline::comms::http::{ServiceHttpClient, instrument};

const CALLS: u32 = 4_000;
const SENDERS: u32 = 16;

/// Makes calls by so many senders at the same time.
async fn calls<F: Future<Output = ()>>(senders: u32, one: impl Fn() -> F) -> Cost {
    let next = AtomicU32::new(0);
    let (one, next) = (&one, &next);
    let sender = async move || {
        while next.fetch_add(1, Ordering::Relaxed) < CALLS {
            one().await;
        }
    };
    let all = futures_util::future::join_all((0..senders).map(|_| sender()));
    measured(CALLS, async { drop(all.await) }).await
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    format!("http://{address}")
}

fn routes() -> Router {
    let place = async |Json(mut order): Json<Value>| {
        order["status"] = "placed".into();
        Json(order)
    };
    Router::new().route("/orders", post(place))
}

fn order() -> Value {
    json!({ "user_id": "u-7", "items": [{ "sku": "lamp-brass", "quantity": 2 }], "amount": 12_800 })
}

/// The ways by their names.
const NAMES: [&str; 4] = ["bare", "by-hand", "toolkit", "gateway"];

/// What each of them is made of.
struct Ways {
    bare: (reqwest::Client, String),
    by_hand: by_hand::Client,
    ours: ServiceHttpClient,
    /// A bare client, through the gateway, to the bare service.
    through: (reqwest::Client, String),
}

impl Ways {
    async fn new() -> Self {
        let plain = serve(routes()).await;
        let traced = serve(by_hand::traced(routes())).await;
        let ours = serve(instrument(routes(), "orders")).await;
        let gateway = Gateway::new("gateway")
            .upstream(Upstream::new("orders", &plain).expect("an upstream"))
            .route(Route::post("/orders").to("orders", "/orders"))
            .limit(ClientLimit::new(10_000_000, 10_000_000));
        let door = serve(instrument(gateway.into_router().expect("a router"), "gateway")).await;
        let client = || {
            reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build().expect("a client")
        };
        Self {
            bare: (client(), format!("{plain}/orders")),
            by_hand: by_hand::Client::new(client(), format!("{traced}/orders")),
            ours: ServiceHttpClient::new(&ours, "bench").expect("a client").with_peer("orders"),
            through: (client(), format!("{door}/orders")),
        }
    }

    async fn bare((client, url): &(reqwest::Client, String)) {
        let answer = client.post(url).json(&order()).send().await.expect("an answer");
        let answer: Value = answer.error_for_status().expect("200").json().await.expect("JSON");
        assert_eq!(answer["status"], "placed");
    }

    async fn by_hand(&self) {
        let answer = self.by_hand.post(&order()).await;
        assert_eq!(answer["status"], "placed");
    }

    async fn ours(&self) {
        let answer: Value = self.ours.post("/orders", &order()).await.expect("an answer");
        assert_eq!(answer["status"], "placed");
    }

    /// Calls in the way of that number.
    async fn cost(&self, way: usize, senders: u32) -> Cost {
        match way {
            0 => calls(senders, || Self::bare(&self.bare)).await,
            1 => calls(senders, || self.by_hand()).await,
            2 => calls(senders, || self.ours()).await,
            _ => calls(senders, || Self::bare(&self.through)).await,
        }
    }
}

#[tokio::main]
async fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let guard = telemetry("warn").await;
    let rounds: usize = std::env::var("BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(9);
    let ways = Ways::new().await;
    if let Ok(name) = std::env::var("BENCH_WAY") {
        let way = NAMES.iter().position(|known| *known == name).expect("bare, by-hand, toolkit or gateway");
        for _ in 0..rounds {
            let Cost { wall, cpu } = ways.cost(way, SENDERS).await;
            println!("{SENDERS} at a time: {name} {wall:>6.1} µs a call, CPU {cpu:>6.1} µs");
        }
        return guard.shutdown().await;
    }
    for senders in [1, SENDERS] {
        let mut costs: [Vec<Cost>; 4] = Default::default();
        for round in 0..=rounds {
            for (way, costs) in costs.iter_mut().enumerate() {
                let cost = ways.cost(way, senders).await;
                // The first round warms up.
                if round > 0 {
                    costs.push(cost);
                }
            }
        }
        let of = |at: usize, part: fn(&Cost) -> f64| median(&costs[at], part);
        let (bare_wall, bare_cpu) = (of(0, |c| c.wall), of(0, |c| c.cpu));
        println!(
            "{senders} at a time: bare axum and reqwest {bare_wall:>6.1} µs a call, CPU {bare_cpu:>6.1} µs"
        );
        for (at, name) in [
            (1, "the same traced by hand"),
            (2, "toolkit's client and server"),
            (3, "bare, through the gateway"),
        ] {
            let (wall, cpu) = (of(at, |c| c.wall), of(at, |c| c.cpu));
            println!(
                "  {name:<28} {wall:>6.1} µs a call ({:>+5.1} %), CPU {cpu:>6.1} µs ({:>+5.1} %, {:>+5.1} µs)",
                (wall / bare_wall - 1.0) * 100.0,
                (cpu / bare_cpu - 1.0) * 100.0,
                cpu - bare_cpu,
            );
        }
        // What spans, metrics and their export take in any case is not the toolkit's: decision 42.
        let over = of(2, |c| c.cpu) / of(1, |c| c.cpu);
        println!("  toolkit over what is traced by hand: {}", verdict((over - 1.0) * 100.0, 15.0, "% CPU"));
    }
    guard.shutdown().await;
}
