//! The interfaces of the shop: two versions side by side, what is said of them to programs, and GraphQL over the same
//! services. The dashboard leads to all of it.

use crate::demo_support::story::{client, count, place};
use crate::demo_support::{self, Demo, Receiver, Whole, eventually};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn versions_stand_side_by_side_and_tell_programs_what_they_are() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let gateway = demo.gateway();
    let order = json!({ "user_id": "u-7", "items": [{ "sku": "lamp-brass", "quantity": 2 }] });
    for (version, ends) in [("/v1", true), ("/v2", false), ("", true)] {
        let url = format!("{gateway}{version}/orders");
        let placed = client().post(&url).json(&order).send().await.expect("an answer");
        assert_eq!(placed.status(), 201, "{version}");
        assert_eq!(placed.headers().contains_key("deprecation"), ends, "{version}");
        let placed: Value = placed.json().await.expect("an order");
        let id = placed["id"].as_str().expect("an ID");
        let amount = if ends { &placed["amount"] } else { &placed["total"]["amount"] };
        assert_eq!(amount, 12_800, "{version}: {placed}");
        let shown = client().get(format!("{url}/{id}")).send().await.expect("an answer");
        assert_eq!(shown.headers().contains_key("sunset"), ends, "{version}");
        if ends {
            let link = shown.headers()["link"].to_str().expect("text").to_owned();
            assert_eq!(link, format!("</v2/orders/{id}>; rel=\"successor-version\""));
        } else {
            let shown: Value = shown.json().await.expect("an order");
            assert!(shown["placed_at_ms"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{shown}");
        }
    }
    let wrong = json!({ "user_id": "u-7", "items": [{ "sku": "lamp-brass", "quantity": 0 }] });
    let refused = client().post(format!("{gateway}/v2/orders")).json(&wrong).send().await.expect("an answer");
    assert_eq!(refused.status(), 422);
    let told: Value = refused.json().await.expect("a problem");
    assert_eq!(told["errors"][0]["pointer"], "/items/0/quantity", "{told}");

    // Every service with REST tells of itself, and the gateway of all.
    for (name, path) in [
        ("gateway", "/v2/orders"),
        ("orders", "/v1/orders/{id}"),
        ("payments", "/authorizations"),
        ("inventory", "/products/{sku}"),
        ("analytics", "/counts"),
        ("bank", "/v1/captures"),
    ] {
        let at = demo_support::NAMES.iter().position(|known| *known == name).expect("a service");
        let own = format!("http://{}/openapi.json", demo.services[at]);
        let own: Value = client().get(own).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(own["openapi"], "3.1.0", "{name}");
        assert!(own["paths"].get(path).is_some(), "{name}: {own}");
        let through = format!("{gateway}/documents/{name}");
        let through: Value =
            client().get(through).send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(through, own, "{name}");
    }
    let orders = client().get(format!("{gateway}/documents/orders")).send().await.expect("an answer");
    let orders: Value = orders.json().await.expect("JSON");
    assert_eq!(orders["paths"]["/v1/orders"]["post"]["deprecated"], true);
    assert!(orders["paths"]["/v2/orders"]["post"].get("deprecated").is_none_or(|mark| mark == false));
    assert_eq!(
        client().get(format!("{gateway}/documents/users")).send().await.expect("an answer").status(),
        404
    );
    let messages = client().get(format!("{gateway}/asyncapi.json")).send().await.expect("an answer");
    let messages: Value = messages.json().await.expect("JSON");
    assert_eq!(messages["asyncapi"], "3.0.0");
    assert_eq!(messages["channels"]["order.placed"]["address"], "order.placed");
    assert_eq!(messages["operations"]["payments.charge.receives.order.placed"]["action"], "receive");
}

/// What is at an address, which answers 200.
async fn read(url: &str) -> String {
    let answer = client().get(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{url}");
    answer.text().await.expect("text")
}

/// The links to documents on a page of the dashboard: titles and addresses.
fn documents(page: &str) -> Vec<(String, String)> {
    let list = page.split_once("<dt>Documents</dt><dd>").map_or("", |(_, rest)| rest);
    let list = list.split_once("</dd>").map_or("", |(list, _)| list);
    let links = list.split("<a href=\"").skip(1).map(|link| {
        let (url, rest) = link.split_once("\">").expect("an address");
        (rest.split_once("</a>").expect("a title").0.to_owned(), url.to_owned())
    });
    links.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboards_pages_of_services_lead_to_their_documents() {
    let demo = Whole::start(&["--rate=5"]);
    for (service, titles) in [
        ("orders", &["OpenAPI", "AsyncAPI"][..]),
        ("notifications", &["AsyncAPI"]),
        ("gateway", &["OpenAPI", "GraphQL schema"]),
        ("users", &[]),
    ] {
        let url = format!("{}/services/{service}", demo.pages);
        let page = eventually(&url, || async {
            let answer = client().get(&url).send().await.ok()?;
            if answer.status() == 200 { answer.text().await.ok() } else { None }
        })
        .await;
        let links = documents(&page);
        assert_eq!(links.iter().map(|(title, _)| title.as_str()).collect::<Vec<_>>(), titles, "{service}");
        for (title, url) in links {
            let text = read(&url).await;
            match title.as_str() {
                "OpenAPI" => {
                    let document: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(document["openapi"], "3.1.0");
                    assert_eq!(document["info"]["title"], format!("Throughline demo shop: {service}"));
                }
                "AsyncAPI" => {
                    let document: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(document["asyncapi"], "3.0.0");
                    let operations = document["operations"].as_object().expect("operations");
                    let own = format!("{service}.");
                    assert!(
                        operations.keys().any(|name| name.starts_with(&own)),
                        "{service} has a part in it"
                    );
                }
                _ => assert!(text.contains("type Query"), "{text}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_answers_is_as_its_document_says() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let gateway = demo.gateway();
    let document: Value =
        serde_json::from_str(&read(&format!("{gateway}/openapi.json")).await).expect("a document");
    let assert_fits = |path: &str, method: &str, answer: &Value| {
        let schema = document["paths"][path][method]["responses"]["200"]["content"].get("application/json");
        let schema = &schema.expect("what it answers")["schema"];
        let whole = json!({ "allOf": [schema], "components": document["components"] });
        let validator = jsonschema::validator_for(&whole).expect("a schema");
        let faults: Vec<_> = validator.iter_errors(answer).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{path}: {faults:?} in {answer}");
        assert!(!validator.is_valid(&json!({})), "{path}: anything would fit");
    };
    let order = place(&demo, "test-document-1", "tok_visa").await;
    let page: Value =
        serde_json::from_str(&read(&format!("{gateway}/pages/order/{order}")).await).expect("JSON");
    assert!(page["catalog"].as_array().is_some_and(|products| !products.is_empty()), "{page}");
    assert_fits("/pages/order/{id}", "get", &page);
    for (query, fails) in [("{ orders { id } }", false), ("{ nonsense }", true)] {
        let answer = ask(&gateway, "test-document-2", query).await;
        assert_eq!(answer.get("errors").is_some(), fails, "{answer}");
        assert_fits("/graphql", "post", &answer);
    }
}

async fn ask(gateway: &str, correlation: &str, query: &str) -> Value {
    let request = client().post(format!("{gateway}/graphql")).header("x-correlation-id", correlation);
    let answer = request.json(&json!({ "query": query })).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{query}");
    answer.json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_asks_users_once_for_a_list_and_refuses_what_costs_too_much() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let gateway = demo.gateway();
    for number in 0..3 {
        place(&demo, &format!("test-graph-order-{number}"), "tok_visa").await;
    }
    let list = "query Front { orders(limit: 10) { id status amount user { id name } } product(sku: \"lamp-brass\") { inStock } }";
    let answer = ask(&gateway, "test-graph-1", list).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    let orders = answer["data"]["orders"].as_array().expect("orders");
    assert_eq!(orders.len(), 3);
    assert!(orders.iter().all(|order| order["user"]["id"] == "u-7" && order["amount"] == 12_800), "{answer}");
    let spans = receiver
        .spans("test-graph-1", |spans| {
            count(spans, "user.UserService/GetUsers") == 2
                && spans.iter().any(|seen| seen.span.name == "POST /graphql")
                && spans
                    .iter()
                    .any(|seen| seen.span.name == "GET /products/{sku}" && seen.service == "inventory")
        })
        .await;
    assert_eq!(count(&spans, "user.UserService/GetUser"), 0, "all of them together");
    let door = spans.iter().find(|seen| seen.span.name == "POST /graphql").expect("the gateway's");
    let traces: std::collections::BTreeSet<_> = spans.iter().map(|seen| &seen.span.trace_id).collect();
    assert_eq!((door.service.as_str(), traces.len()), ("gateway", 1));

    let placed = ask(
        &gateway,
        "test-graph-2",
        "mutation { placeOrder(order: { userId: \"u-8\", items: [{ sku: \"rug-wool\", quantity: 1 }] }) { id status user { name } } }",
    )
    .await;
    assert_eq!(placed["data"]["placeOrder"]["status"], "placed", "{placed}");
    assert!(placed["data"]["placeOrder"]["user"]["name"].is_string(), "{placed}");

    let nothing = ask(
        &gateway,
        "test-graph-3",
        "{ order(id: \"o-0\") { id } product(sku: \"../x\") { sku } user(id: \"u-999\") { id } }",
    )
    .await;
    assert!(nothing.get("errors").is_none() && nothing["data"]["order"].is_null(), "{nothing}");
    let many = (0..30).map(|n| format!("a{n}: orders(limit: 100) {{ id }}")).collect::<Vec<_>>().join(" ");
    let calls = |n: usize| {
        (0..n).map(|n| format!("a{n}: product(sku: \"rug-wool\") {{ sku }}")).collect::<Vec<_>>().join(" ")
    };
    let some = ask(&gateway, "test-graph-5", &format!("{{ {} }}", calls(30))).await;
    assert_eq!(some["data"]["a29"]["sku"], "rug-wool", "{some}");
    for (query, code, says) in [
        (format!("{{ {many} }}"), "BAD_QUERY", "complex"),
        (format!("{{ {} }}", calls(60)), "BAD_QUERY", "complex"),
        ("{ orders(limit: 101) { id } }".to_owned(), "BAD_QUERY", "less than or equal to"),
        ("{ nonsense }".to_owned(), "BAD_QUERY", "nonsense"),
        ("{ __schema { types { fields { type { ofType { ofType { ofType { ofType { ofType { name } } } } } } } } } }".to_owned(), "BAD_QUERY", "deep"),
        ("mutation { placeOrder(order: { userId: \"u-999\", items: [{ sku: \"rug-wool\", quantity: 1 }] }) { id } }".to_owned(), "REFUSED", "not found"),
        ("mutation { placeOrder(order: { userId: \"u-8\", items: [] }) { id } }".to_owned(), "BAD_QUERY", "length is 0"),
    ] {
        let answer = ask(&gateway, "test-graph-4", &query).await;
        let error = &answer["errors"][0];
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(says), "{query}: {answer}");
        assert_eq!((&error["extensions"]["code"], &error["extensions"]["correlationId"]), (&json!(code), &json!("test-graph-4")), "{answer}");
    }
}
