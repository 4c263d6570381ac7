//! A service's page leads to where its interface is described, if the settings say where that is.

use std::process::{Command, Stdio};

use throughline::dashboard::documents::{Document, Documents};

use crate::common::otlp::{request, span};
use crate::common::{Running, binary, client};

/// A dashboard whose settings name these documents, and which has heard of two services. Gives both their pages.
async fn pages(documents: &[&str]) -> [String; 2] {
    let all = documents.iter().map(|text| text.parse::<Document>().expect("a document"));
    let all = Documents::new(all).expect("different ones");
    let running = Running::with(|settings| settings.documents = all).await;
    let mut pages = [String::new(), String::new()];
    for (number, service) in ["orders", "users"].into_iter().enumerate() {
        let body = request(service, &[span(number as u64 + 1, 1, "GET /", 1_000)]);
        let sent = client().post(running.otlp("/v1/traces")).header("content-type", "application/x-protobuf");
        assert_eq!(sent.body(body).send().await.expect("an answer").status(), 200);
        let page = client().get(running.page(&format!("/services/{service}"))).send().await.expect("a page");
        assert_eq!(page.status(), 200);
        pages[number] = page.text().await.expect("text");
    }
    pages
}

#[tokio::test]
async fn a_services_page_leads_to_the_description_of_its_interface() {
    let [orders, users] = pages(&["orders=http://127.0.0.1:7080/documents/orders?a=1&b=\"2\""]).await;
    let escaped = "href=\"http://127.0.0.1:7080/documents/orders?a=1&amp;b=&#34;2&#34;\">Its interface</a>";
    assert!(orders.contains(escaped));
    assert!(!users.contains("Its interface") && !users.contains("Documents"));
}

#[tokio::test]
async fn a_services_page_leads_to_all_its_documents_by_their_titles() {
    let [orders, users] = pages(&[
        "orders=OpenAPI=http://h.example/orders",
        "users=https://h.example/users",
        "orders=AsyncAPI <2>=https://h.example/messages?of=orders",
        "orders=http://h.example/words",
    ])
    .await;
    let links = "<a href=\"http://h.example/orders\">OpenAPI</a>, \
                 <a href=\"https://h.example/messages?of=orders\">AsyncAPI &lt;2&gt;</a>, \
                 <a href=\"http://h.example/words\">Its interface</a>";
    assert!(orders.contains(links), "in the order of the settings");
    assert!(users.contains("<a href=\"https://h.example/users\">Its interface</a>"));
    assert!(!users.contains("OpenAPI"));
}

/// What the dashboard says of these settings, which it does not start with.
fn refused(flags: &[&str], variable: Option<&str>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binary());
    command.current_dir(folder.path()).arg("dashboard").args(flags).stdin(Stdio::null());
    command.args(["--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0", "--otlp-http=127.0.0.1:0"]);
    // Where it starts all the same, it ends at once.
    command.arg("--end-with-stdin").env_remove("THROUGHLINE_DOCUMENT");
    command.envs(variable.map(|value| ("THROUGHLINE_DOCUMENT", value)));
    let ended = command.output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success(), "{flags:?} {variable:?} is taken: {said}");
    said
}

#[test]
fn documents_that_are_none_are_refused_by_the_name_of_the_flag() {
    let form = "write SERVICE=URL or SERVICE=TITLE=URL";
    for (flags, variable, says) in [
        (&["--document=orders"][..], None, form),
        (&["--document=orders=OpenAPI=ftp://h"], None, form),
        (&["--document=orders==http://h"], None, "a title has 1 to 40 characters"),
        (&[], Some("orders=OpenAPI=http://h,users=nowhere"), form),
        (
            &["--document=orders=A=http://h/1", "--document=orders=A=http://h/2"],
            None,
            "names two documents \"A\" of \"orders\": write orders=TITLE=URL",
        ),
        (&[], Some("orders=http://h/1,orders=http://h/2"), "names two documents \"Its interface\""),
    ] {
        let said = refused(flags, variable);
        assert!(said.contains("--document") && said.contains(says), "{flags:?} {variable:?}: {said}");
    }
}

#[test]
fn the_variable_holds_several_documents_of_a_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binary());
    command.current_dir(folder.path()).arg("dashboard").stdin(Stdio::null());
    command.args(["--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0", "--otlp-http=127.0.0.1:0"]);
    command
        .env("THROUGHLINE_DOCUMENT", "orders=OpenAPI=http://h/1,orders=AsyncAPI=http://h/2,users=http://h/3");
    let ended = command.arg("--end-with-stdin").output().expect("it ends");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}
