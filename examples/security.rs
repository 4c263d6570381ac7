//! Two services that know each other: certificates of one authority, a token with a scope, a key that is changed, and what is
//! said to who has neither.
//!
//! ```text
//! cargo run --example security --no-default-features --features comms
//! ```

use std::net::SocketAddr;

use axum::routing::get;
use axum::serve::ListenerExt as _;
use axum::{Extension, Router};
use throughline::comms::http::{ServiceHttpClient, Transport, instrument};
use throughline::comms::resilience::Policy;
use throughline::comms::security::{
    AccessLayer, Authority, Credentials, Principal, SigningKey, Tls, TlsListener, TokenSource, Tokens,
};

fn certificate(of: &Authority, name: &str) -> anyhow::Result<Tls> {
    let made = of.issue(name, &[])?;
    Tls::from_pem(of.certificate().as_bytes(), made.certificate.as_bytes(), made.key.as_bytes())
}

fn client(url: &str, tls: Tls, credentials: Option<Credentials>) -> anyhow::Result<ServiceHttpClient> {
    let transport = Transport { tls: Some(tls), ..Transport::default() };
    let client = ServiceHttpClient::with_transport(url, "orders", Policy::default(), transport)?;
    Ok(credentials.into_iter().fold(client, ServiceHttpClient::with_credentials))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Payments: over mutual TLS, and only for who may charge.
    let authority = Authority::new(1)?;
    let key = SigningKey::generate("orders")?;
    let tokens = Tokens::new("payments", [key.public()]);
    let charge =
        async |Extension(caller): Extension<Principal>| format!("\"charged for {}\"", caller.subject);
    let routes = Router::new().route("/charge", get(charge));
    let routes = routes.layer(AccessLayer::scope(tokens.clone(), "payments:write"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://{}", listener.local_addr()?);
    let listener = TlsListener::new(listener, &certificate(&authority, "payments")?)?.tap_io(|_| ());
    let service = instrument(routes, "payments").into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });

    // Orders.
    let own = certificate(&authority, "orders")?;
    let source = TokenSource::new(key.clone());
    let may = source.for_audience("payments", &["payments:write"]);
    let orders = client(&url, own.clone(), Some(may))?;
    println!("with both:          {}", orders.get::<String>("/charge").await?);
    let show = |error: anyhow::Error| error.to_string().chars().take(160).collect::<String>();
    let denied = client(&url, own.clone(), None)?.get::<String>("/charge").await;
    println!("without a token:    {}", show(denied.expect_err("401").into()));
    let wrong = source.for_audience("payments", &["payments:read"]);
    let denied = client(&url, own, Some(wrong))?.get::<String>("/charge").await;
    println!("without the scope:  {}", show(denied.expect_err("403").into()));
    let stranger = certificate(&Authority::new(1)?, "orders")?;
    let refused = client(&url, stranger, None)?.get::<String>("/charge").await;
    println!("another authority:  {}", show(refused.expect_err("no handshake").into()));

    // A new key signs, and the old one is taken away, without a gap.
    let next = SigningKey::generate("orders")?;
    tokens.add(next.public());
    source.rotate(next);
    println!("with a new key:     {}", orders.get::<String>("/charge").await?);
    server.abort();
    Ok(())
}
