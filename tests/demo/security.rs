//! The shop's services among themselves: nobody else is let in, without a token or without a certificate.

use crate::demo_support::story::{client, place, wait_for_status};
use crate::demo_support::{self, Demo, Receiver};
use serde_json::Value;
use throughline::comms::http::{ServiceHttpClient, Transport};
use throughline::comms::resilience::Policy;
use throughline::comms::security::{SigningKey, Tls, TokenSource};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_lets_in_who_has_a_token_for_it_with_the_scope() {
    let (receiver, otlp) = Receiver::start().await;
    let key = SigningKey::generate("test").expect("a key");
    let demo = Demo::start_with(otlp, &[format!("--trust-key={}", key.public())]);
    let [_, orders, _, payments, inventory, ..] = &demo.services[..] else { panic!("eight services") };
    for (method, url) in [
        ("GET", format!("http://{orders}/orders/o-1")),
        ("POST", format!("http://{orders}/orders")),
        ("POST", format!("http://{payments}/authorizations")),
        ("GET", format!("http://{inventory}/products")),
    ] {
        let answer =
            client().request(method.parse().expect("a method"), &url).send().await.expect("an answer");
        assert_eq!(answer.status(), 401, "{method} {url}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body: Value = answer.json().await.expect("a problem");
        assert!(body["detail"].as_str().is_some_and(|text| text.contains("Authorization")), "{body}");
    }
    let source = TokenSource::new(key);
    let ask = |audience: &str, scope: &str| {
        let client = ServiceHttpClient::with_policy(
            &format!("http://{inventory}"),
            "test",
            Policy::plain(demo_support::SOON),
        );
        client.expect("a client").with_credentials(source.for_audience(audience, &[scope]))
    };
    let products: Value = ask("inventory", "stock:read").get("/products").await.expect("it may");
    assert_eq!(products.as_array().map(Vec::len), Some(6));
    let error = ask("inventory", "stock:write").get::<Value>("/products").await.expect_err("403");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(403), "{error}");
    let error = ask("orders", "stock:read").get::<Value>("/products").await.expect_err("401");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(401), "{error}");
    // The shop's own calls go on, and say who makes them.
    let order = place(&demo, "test-token-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;
    let named = |spans: &[demo_support::Seen]| {
        ["users", "inventory", "payments"].iter().all(|service| {
            spans.iter().any(|seen| seen.service == *service && seen.text("enduser.id") == "orders")
        })
    };
    receiver.spans("test-token-1", named).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mutual_tls_an_order_is_placed_and_nobody_without_a_certificate_is_served() {
    let (_receiver, otlp) = Receiver::start().await;
    let data = tempfile::tempdir().expect("a folder");
    let flags = ["--mtls".to_owned(), format!("--shop-data={}", data.path().display())];
    let demo = Demo::start_with(otlp, &flags);
    let order = place(&demo, "test-mtls-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;

    let orders = &demo.services[1];
    assert!(client().get(format!("http://{orders}/readyz")).send().await.is_err(), "plain HTTP");
    let certs = data.path().join("certs");
    let ca = std::fs::read(certs.join("ca.pem")).expect("the authority");
    let ca = reqwest::Certificate::from_pem(&ca).expect("PEM");
    let stranger = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().expect("a client");
    assert!(stranger.get(format!("https://{orders}/readyz")).send().await.is_err(), "no certificate");
    let tls = Tls::load(&certs, "payments").expect("payments' own");
    let transport = Transport { tls: Some(tls), ..Transport::default() };
    let policy = Policy::plain(demo_support::SOON);
    let known = ServiceHttpClient::with_transport(&format!("https://{orders}"), "test", policy, transport);
    // A certificate is no token.
    let error = known.expect("a client").get::<Value>("/orders/o-1").await.expect_err("401");
    assert_eq!(error.status().map(|status| status.as_u16()), Some(401), "{error}");
}
