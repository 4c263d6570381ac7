//! The toolkit in one process: a request that arrives over HTTP, a call it leads to, a message that follows.
//!
//! ```text
//! cargo run --example toolkit --no-default-features --features comms -- http://127.0.0.1:4317
//! ```
//!
//! With a dashboard at that address, the trace shows all three under the correlation ID that is printed.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::http::{ServiceHttpClient, instrument};
use throughline::comms::queue::{
    Broker, Consumer, EmbeddedBroker, Failure, Message, Publisher, QueueSpec, Received,
};
use throughline::telemetry;
use tokio_util::sync::CancellationToken;

async fn greet(State(publisher): State<Publisher>, Path(name): Path<String>) -> Json<Value> {
    let message = Message::json("greeted", 1, &json!({ "name": name })).expect("plain JSON");
    if let Err(error) = publisher.publish("greetings", "greeted", message).await {
        tracing::error!(%error, "nobody will hear of it");
    }
    Json(json!({ "greeting": format!("Hello, {name}") }))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = telemetry::init(&telemetry::Settings {
        otlp_endpoint: std::env::args().nth(1),
        log_filter: "info,sqlx=warn".into(),
        ..telemetry::Settings::new("greeter", "1.0.0")
    })?;

    // Messages: an exchange, a queue, a handler that fails once to show a retry.
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open("sqlite://greetings.db").await?);
    broker.declare_exchange("greetings").await?;
    broker.declare_queue(&QueueSpec::durable("letters")).await?;
    broker.bind("greetings", "#", "letters").await?;
    let stop = CancellationToken::new();
    let done = stop.clone();
    let letters = Consumer::new(Arc::clone(&broker), "letters").run(stop.clone(), move |got: Received| {
        let done = done.clone();
        async move {
            if got.number == 1 {
                return Err(Failure::transient("no_ink", "the pen is empty"));
            }
            tracing::info!(delivery = got.number, "letter written");
            done.cancel();
            Ok(())
        }
    });
    let letters = tokio::spawn(letters);

    // A service, and a client that calls it on behalf of a correlation ID.
    let routes = Router::new().route("/greetings/{name}", get(greet));
    let routes = routes.with_state(Publisher::new(Arc::clone(&broker)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let client = ServiceHttpClient::new(&format!("http://{}", listener.local_addr()?), "visitor")?;
    let stopped = stop.clone().cancelled_owned();
    let server = tokio::spawn(async move {
        axum::serve(listener, instrument(routes, "greeter")).with_graceful_shutdown(stopped).await
    });
    let id = CorrelationId::generate("visitor");
    let answer: Value = correlation::scope(id.clone(), client.get("/greetings/Ada")).await?;
    println!("{answer} under correlation ID {id}; its letter follows");

    letters.await??;
    server.await??;
    broker.close().await;
    telemetry.shutdown().await;
    Ok(())
}
