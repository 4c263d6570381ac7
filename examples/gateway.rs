//! A gateway before two services, one of which fails: rewritten paths, a kept answer, a joined one, and what is told.
//!
//! ```text
//! cargo run --example gateway --no-default-features --features comms -- http://127.0.0.1:4317
//! ```
//!
//! With a dashboard at that address, each request is a trace from the gateway to the services behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use throughline::comms::gateway::{Aggregate, CacheRule, ClientLimit, Gateway, Route, Upstream};
use throughline::comms::http::instrument;
use throughline::telemetry;

async fn serve(router: Router) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // For as long as the example runs.
    drop(tokio::spawn(async move { axum::serve(listener, service).await }));
    Ok(format!("http://{address}"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = telemetry::init(&telemetry::Settings {
        otlp_endpoint: std::env::args().nth(1),
        ..telemetry::Settings::new("gateway", "1.0.0")
    })?;
    let ill = Arc::new(AtomicBool::new(false));
    let is_ill = Arc::clone(&ill);
    let stock = Router::new().route(
        "/products/{sku}",
        get(move |Path(sku): Path<String>| async move {
            if is_ill.load(Ordering::Relaxed) {
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
            ([("cache-control", "max-age=0"), ("etag", "\"1\"")], Json(json!({ "sku": sku, "left": 3 })))
                .into_response()
        }),
    );
    let orders = Router::new()
        .route("/orders/{id}", get(|Path(id): Path<String>| async move { Json(json!({ "id": id })) }));
    let stock = serve(instrument(stock, "stock")).await?;
    let orders = serve(instrument(orders, "orders")).await?;

    let gateway =
        Gateway::new("gateway")
            .upstream(Upstream::new("stock", &stock)?)
            .upstream(Upstream::new("orders", &orders)?)
            .route(Route::get("/catalog/{sku}").to("stock", "/products/{sku}").cached(CacheRule::default()))
            .aggregate(
                Aggregate::get("/pages/order/{id}/{sku}")
                    .required("order", "orders", "/orders/{id}")
                    .optional("product", "stock", "/products/{sku}"),
            )
            .limit(ClientLimit::new(1, 5));
    let door = serve(instrument(gateway.into_router()?, "gateway")).await?;

    let client = reqwest::Client::new();
    let show = async |path: &str| {
        let answer = client.get(format!("{door}{path}")).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let told = ["cache-status", "ratelimit", "retry-after"].map(|name| headers.get(name).cloned());
        println!("{path}: {status} {}\n    {told:?}", answer.text().await?);
        anyhow::Ok(())
    };
    show("/catalog/lamp").await?;
    ill.store(true, Ordering::Relaxed);
    show("/catalog/lamp").await?; // An old answer.
    show("/pages/order/o-1/lamp").await?; // A part is missing.
    show("/catalog/..%2fsecrets").await?;
    show("/elsewhere").await?;
    show("/catalog/lamp").await?; // One too many.
    telemetry.shutdown().await;
    Ok(())
}
