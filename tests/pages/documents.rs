//! A service's page leads to where its interface is described, if the settings say where that is.

use crate::common::otlp::{request, span};
use crate::common::{Running, client};

#[tokio::test]
async fn a_services_page_leads_to_the_description_of_its_interface() {
    let url = "http://127.0.0.1:7080/documents/orders?a=1&b=\"2\"";
    let running = Running::with(|settings| {
        settings.documents.insert("orders".to_owned(), url.to_owned());
    })
    .await;
    for (number, service) in [(1, "orders"), (2, "users")] {
        let body = request(service, &[span(number, 1, "GET /", 1_000)]);
        let sent = client().post(running.otlp("/v1/traces")).header("content-type", "application/x-protobuf");
        assert_eq!(sent.body(body).send().await.expect("an answer").status(), 200);
    }
    for (service, linked) in [("orders", true), ("users", false)] {
        let page = client().get(running.page(&format!("/services/{service}"))).send().await.expect("a page");
        assert_eq!(page.status(), 200);
        let page = page.text().await.expect("text");
        assert_eq!(page.contains("Its interface"), linked, "{service}");
        let escaped = "href=\"http://127.0.0.1:7080/documents/orders?a=1&amp;b=&#34;2&#34;\"";
        assert_eq!(page.contains(escaped), linked, "{service}");
    }
}
