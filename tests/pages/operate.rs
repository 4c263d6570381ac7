//! Acting on messages of a real RabbitMQ: looks, redrives, copies, purges; who may what, and what is written down of it.
mod embedded;
mod hostile;
mod kill;
mod support;

use crate::common::rabbitmq::Server;
use crate::common::{Running, client, eventually, keys};
use reqwest::Method;
use serde_json::{Value, json};
use support::{Rabbit, at, audit, ended, post, settings, text};

#[tokio::test]
async fn dead_letters_of_a_classic_queue_are_looked_at_and_redriven_to_where_they_came_from() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    rabbit.dead_lettering("classic").await;
    for number in 0..6 {
        let reason = if number < 4 { "card declined" } else { "no stock" };
        rabbit
            .publish("orders", "order.placed", &format!("m-{number}"), &json!({ "n": number, "why": reason }))
            .await;
    }
    rabbit.refuse("work", 6).await;
    rabbit.holds("dead", 6).await;
    let server = Running::with(|it| settings(it, &rabbit, "eu")).await;
    support::known(&server, &rabbit, "dead").await;

    // A look gives back what it takes.
    let (status, looked) = post(&server, &at(&rabbit, "eu", "dead", "peek"), json!({ "count": 3 })).await;
    assert_eq!(status, 200, "{looked}");
    let messages = looked["messages"].as_array().expect("a list");
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0]["properties"]["message_id"], "m-0");
    assert_eq!(messages[0]["origin"], json!({ "exchange": "orders", "routingKey": "order.placed" }));
    assert_eq!((&messages[0]["diedIn"], &messages[0]["reason"]), (&json!("work"), &json!("rejected")));
    rabbit.holds("dead", 6).await;

    // A dry run says what would be done, and does not.
    let order = json!({ "text": "Card Declined", "dryRun": true });
    let (status, job) = post(&server, &at(&rabbit, "eu", "dead", "redrive"), order).await;
    assert_eq!(status, 202, "{job}");
    let job = ended(&server, &job).await;
    assert_eq!((&job["state"], &job["meant"], &job["sent"]), (&json!("done"), &json!(4), &json!(4)), "{job}");
    assert_eq!(job["results"][0]["outcome"], "would_be_sent");
    rabbit.holds("dead", 6).await;

    // All that match go; the others keep their order.
    let order = json!({ "text": "card declined", "set": { "x-note": "again" } });
    let (_, job) = post(&server, &at(&rabbit, "eu", "dead", "redrive"), order).await;
    let job = ended(&server, &job).await;
    assert_eq!((&job["sent"], &job["kept"], &job["lookedAt"]), (&json!(4), &json!(0), &json!(6)), "{job}");
    rabbit.holds("work", 4).await;
    rabbit.holds("dead", 2).await;
    let came = rabbit.take("work", 4).await;
    let ids: Vec<&str> =
        came.iter().map(|one| one["properties"]["message_id"].as_str().expect("an ID")).collect();
    assert_eq!(ids, ["m-0", "m-1", "m-2", "m-3"]);
    let headers = &came[0]["properties"]["headers"];
    assert_eq!(headers["x-note"], "again");
    assert_eq!(headers["x-throughline-redrive"], format!("{}/1", job["id"]));
    assert_eq!(headers["x-throughline-redriven-by"], "somebody without a key");
    assert!(headers["x-throughline-redriven-at"].as_str().is_some_and(|at| at.ends_with('Z')), "{headers}");
    assert_eq!(headers["x-death"][0]["queue"], "work", "the story of its death stays: {headers}");
    assert_eq!(came[0]["properties"]["app_id"], "shop", "and so do its properties");

    // One by its mark, edited, to a queue of one's own choice.
    let (_, looked) = post(&server, &at(&rabbit, "eu", "dead", "peek"), json!({})).await;
    let mark = looked["messages"][1]["mark"].clone();
    let order =
        json!({ "marks": [mark], "to": "other", "exchange": "", "key": "other", "body": "{\"n\":50}" });
    let (_, job) = post(&server, &at(&rabbit, "eu", "dead", "redrive"), order).await;
    assert_eq!(ended(&server, &job).await["sent"], 1);
    let came = rabbit.take("other", 1).await;
    assert_eq!(
        (&came[0]["payload"], &came[0]["properties"]["message_id"]),
        (&json!("{\"n\":50}"), &json!("m-5"))
    );

    // A copy leaves the original.
    let (_, looked) = post(&server, &at(&rabbit, "eu", "dead", "peek"), json!({})).await;
    let copy = json!({ "peek": looked["peek"], "marks": [looked["messages"][0]["mark"]], "to": "queue" });
    let (status, sent) = post(&server, &at(&rabbit, "eu", "dead", "republish"), copy).await;
    assert_eq!(status, 200, "{sent}");
    assert_eq!(rabbit.take("work", 1).await[0]["properties"]["message_id"], "m-4");
    rabbit.holds("dead", 1).await;

    // What fails again says after which redrive it did; a dry run is done in earnest by a button.
    let (_, dry) =
        post(&server, &at(&rabbit, "eu", "dead", "redrive"), json!({ "all": true, "dryRun": true })).await;
    ended(&server, &dry).await;
    let form = client().post(server.page(&format!("/redrives/{}/go", dry["id"])));
    let page = form.send().await.expect("an answer");
    assert_eq!(page.status(), 200);
    let earnest = json!({ "id": page.url().path().rsplit('/').next().and_then(|id| id.parse::<u64>().ok()) });
    assert_eq!(ended(&server, &earnest).await["sent"], 1);
    rabbit.refuse("work", 1).await;
    rabbit.holds("dead", 1).await;
    let (_, looked) = post(&server, &at(&rabbit, "eu", "dead", "peek"), json!({})).await;
    let messages = at(&rabbit, "eu", "dead", "messages").replace("/api", "");
    let page = text(&server, &format!("{messages}?peek={}", looked["peek"])).await;
    assert!(page.contains(&format!("again, after redrive {}", earnest["id"])), "{page}");

    // All of it is written down, the newest first.
    let rows = audit(&server, "").await;
    let actions: Vec<&str> = rows.iter().map(|row| row["action"].as_str().expect("an action")).collect();
    assert_eq!(
        actions,
        ["peek", "redrive", "dry-run", "republish", "peek", "redrive", "peek", "redrive", "dry-run", "peek"]
    );
    assert!(rows.iter().all(|row| row["done"] == true && row["role"] == "operator"), "{rows:?}");
    assert_eq!((&rows[7]["messages"], &rows[7]["queue"]), (&json!(4), &json!("dead")));
    let page = text(&server, "/audit?action=redrive").await;
    assert!(page.contains("4 sent, 0 kept where they were") && !page.contains("dry run of"), "{page}");
}

#[tokio::test]
async fn what_cannot_be_sent_stays_where_it_is_and_says_why() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    rabbit.dead_lettering("classic").await;
    rabbit.publish("orders", "order.placed", "lost", &json!({})).await;
    rabbit.refuse("work", 1).await;
    rabbit.publish("", "dead", "untold", &json!({})).await;
    rabbit.holds("dead", 2).await;
    // Nobody wants the key any more.
    rabbit.ask(Method::DELETE, &rabbit.path("bindings", "e/orders/q/work/order.placed"), Value::Null).await;
    let server = Running::with(|it| settings(it, &rabbit, "eu")).await;
    support::known(&server, &rabbit, "dead").await;
    let redrive = at(&rabbit, "eu", "dead", "redrive");
    for (order, why) in [
        (json!({ "all": true }), "no queue is bound to exchange “orders” for the key “order.placed”"),
        (
            json!({ "all": true, "to": "other", "exchange": "gone", "key": "k" }),
            "there is no exchange “gone”",
        ),
        (json!({ "all": true, "to": "other", "exchange": "", "key": "gone" }), "there is no queue “gone”"),
    ] {
        let (_, job) = post(&server, &redrive, order).await;
        let job = ended(&server, &job).await;
        assert_eq!(
            (&job["sent"], &job["kept"], &job["state"]),
            (&json!(0), &json!(2), &json!("done")),
            "{job}"
        );
        assert_eq!(job["results"][0]["why"], why, "{job}");
        rabbit.holds("dead", 2).await;
    }
    let (_, job) = post(&server, &redrive, json!({ "all": true })).await;
    let told = ended(&server, &job).await["results"][1]["why"].clone();
    assert!(told.as_str().is_some_and(|why| why.contains("do not tell where it came from")), "{told}");
    let rows = audit(&server, "?trouble=1").await;
    assert_eq!(rows.len(), 4);
    assert!(rows[0]["outcome"].as_str().is_some_and(|why| why.contains("no queue is bound")), "{rows:?}");
    let page = text(&server, &format!("/redrives/{}", job["id"])).await;
    assert!(page.contains("kept here: no queue is bound to exchange “orders”"), "{page}");

    // A copy that nobody wants is refused with 409; the original stays.
    let (_, looked) = post(&server, &at(&rabbit, "eu", "dead", "peek"), json!({})).await;
    let copy = json!({ "peek": looked["peek"], "marks": [looked["messages"][0]["mark"]] });
    let (status, error) = post(&server, &at(&rabbit, "eu", "dead", "republish"), copy).await;
    assert_eq!(status, 409, "{error}");
    rabbit.holds("dead", 2).await;
}

#[tokio::test]
async fn a_look_into_a_quorum_queue_is_refused_where_it_counts_and_loses_nothing_where_it_may() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    let limited = json!({ "x-queue-type": "quorum", "x-delivery-limit": 2 });
    rabbit.declare("limited", limited).await;
    for number in 0..3 {
        rabbit.publish("", "limited", &format!("m-{number}"), &json!({})).await;
    }
    rabbit.holds("limited", 3).await;
    let server = Running::with(|it| settings(it, &rabbit, "eu")).await;
    support::known(&server, &rabbit, "limited").await;
    let peek = at(&rabbit, "eu", "limited", "peek");
    let (status, refused) = post(&server, &peek, json!({})).await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["error"].as_str().is_some_and(|why| why.contains("delivery limit of 2")), "{refused}");
    // With a limit of two the third return would lose them.
    for look in 0..6 {
        let (status, looked) = post(&server, &peek, json!({ "acceptCount": true })).await;
        assert_eq!(
            (status, looked["messages"].as_array().map(Vec::len)),
            (200, Some(3)),
            "look {look}: {looked}"
        );
    }
    rabbit.holds("limited", 3).await;
    // What does not match is given back, and counts too.
    for _ in 0..4 {
        let (_, job) =
            post(&server, &at(&rabbit, "eu", "limited", "redrive"), json!({ "text": "nobody" })).await;
        assert_eq!(ended(&server, &job).await["meant"], 0);
    }
    rabbit.holds("limited", 3).await;
    let order = json!({ "all": true, "to": "other", "exchange": "amq.topic", "key": "nobody" });
    let (_, job) = post(&server, &at(&rabbit, "eu", "limited", "redrive"), order).await;
    assert_eq!(ended(&server, &job).await["kept"], 3);
    rabbit.holds("limited", 3).await;
    let rows = audit(&server, "?trouble=1&action=peek").await;
    assert_eq!(rows.len(), 1, "the refused look is written down too: {rows:?}");

    // A stream is read and gives nothing away.
    rabbit.declare("log", json!({ "x-queue-type": "stream" })).await;
    rabbit.publish("", "log", "s-1", &json!({})).await;
    support::known(&server, &rabbit, "log").await;
    let (status, looked) =
        post(&server, &at(&rabbit, "eu", "log", "peek"), json!({ "offset": "first" })).await;
    assert_eq!((status, looked["messages"].as_array().map(Vec::len)), (200, Some(1)), "{looked}");
    let (_, job) = post(&server, &at(&rabbit, "eu", "log", "redrive"), json!({ "all": true })).await;
    let job = ended(&server, &job).await;
    assert!(job["why"].as_str().is_some_and(|why| why.contains("a stream keeps its messages")), "{job}");
}

#[tokio::test]
async fn a_wrong_password_odd_hosts_and_a_queue_that_is_gone_are_told_apart() {
    let shared = Server::shared().await;
    for name in ["/", "team/a b"] {
        let rabbit = Rabbit::of(&shared, name).await;
        let queue = "odd/größe <b>";
        rabbit.declare(queue, json!({})).await;
        rabbit.publish("", queue, "m-1", &json!({ "html": "<script>alert(1)</script>" })).await;
        rabbit.holds(queue, 1).await;
        let server = Running::with(|it| settings(it, &rabbit, "eu")).await;
        support::known(&server, &rabbit, queue).await;
        let (status, looked) = post(&server, &at(&rabbit, "eu", queue, "peek"), json!({})).await;
        assert_eq!((status, looked["messages"].as_array().map(Vec::len)), (200, Some(1)), "{name}: {looked}");
        let messages = at(&rabbit, "eu", queue, "messages").replace("/api", "");
        let page = text(&server, &format!("{messages}?peek={}", looked["peek"])).await;
        assert!(page.contains("odd/größe &lt;b&gt;") && !page.contains("<script>alert"), "{page}");
        // It is deleted while the page is open.
        rabbit.ask(Method::DELETE, &rabbit.path("queues", &support::segment(queue)), Value::Null).await;
        let (status, gone) = post(&server, &at(&rabbit, "eu", queue, "peek"), json!({})).await;
        assert_eq!(status, 404, "{gone}");
        let (_, job) = post(&server, &at(&rabbit, "eu", queue, "redrive"), json!({ "all": true })).await;
        let job = ended(&server, &job).await;
        assert_eq!(job["state"], "failed");
        assert!(job["why"].as_str().is_some_and(|why| why.contains("there is no queue")), "{job}");
        let page = text(&server, &format!("{messages}?peek={}", looked["peek"])).await;
        assert!(page.contains("m-1"), "what was seen can still be read");
    }
    let rabbit = Rabbit::of(&shared, "/").await;
    // Where nobody tells of what kind queues are, one that is not there is not there all the same.
    let untold = Running::with(|it| {
        it.hands = support::hands(&format!("eu=amqp://guest:guest@127.0.0.1:{}", rabbit.server.port()));
    })
    .await;
    let (status, gone) = post(&untold, &at(&rabbit, "eu", "nowhere", "peek"), json!({})).await;
    assert_eq!(status, 404, "{gone}");
    for (login, host, says) in [
        ("guest:secretguess", "/", "refuses the login of “guest”"),
        ("guest:guest", "nowhere", "does not let “guest” into virtual host “nowhere”"),
    ] {
        let server = Running::with(|it| {
            it.hands = support::hands(&format!("eu=amqp://{login}@127.0.0.1:{}", rabbit.server.port()));
        })
        .await;
        let path = format!("/api/queues/eu/{}/q/peek", support::segment(host));
        let (status, told) = post(&server, &path, json!({ "acceptCount": true })).await;
        let error = told["error"].as_str().expect("an error");
        assert!(status == 502 && error.contains(says) && error.contains("--rabbitmq-amqp"), "{told}");
        assert!(!told.to_string().contains("secretguess"));
        let rows = audit(&server, "").await;
        assert!(
            rows[0]["done"] == false && rows[0]["outcome"].as_str().is_some_and(|why| why.contains(says)),
            "{rows:?}"
        );
    }
    // A broker that is in no setting, and one that is somewhere else, cannot be reached by any address.
    let server = Running::start().await;
    let (status, told) = post(&server, "/api/queues/127.0.0.1:15672/%2F/q/peek", json!({})).await;
    assert!(
        status == 404 && told["error"].as_str().is_some_and(|why| why.contains("--rabbitmq-amqp")),
        "{told}"
    );
}

#[tokio::test]
async fn a_body_of_128_mib_is_shown_by_its_begin_and_redriven_whole() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    rabbit.dead_lettering("classic").await;
    rabbit.publish_large("dead", 128 << 20).await;
    rabbit.holds("dead", 1).await;
    let server = Running::with(|it| settings(it, &rabbit, "eu")).await;
    support::known(&server, &rabbit, "dead").await;
    let (status, looked) = post(&server, &at(&rabbit, "eu", "dead", "peek"), json!({})).await;
    let message = &looked["messages"][0];
    assert_eq!((status, &message["bytes"], &message["bodyCut"]), (200, &json!(128 << 20), &json!(true)));
    let copy = json!({ "peek": looked["peek"], "marks": [message["mark"]], "to": "other", "key": "other" });
    let (status, refused) = post(&server, &at(&rabbit, "eu", "dead", "republish"), copy).await;
    assert!(
        status == 409 && refused["error"].as_str().is_some_and(|why| why.contains("nly the begin")),
        "{refused}"
    );
    let order = json!({ "marks": [message["mark"]], "to": "other", "exchange": "", "key": "other" });
    let (_, job) = post(&server, &at(&rabbit, "eu", "dead", "redrive"), order).await;
    let job = ended(&server, &job).await;
    assert_eq!(job["sent"], 1, "{job}");
    rabbit.holds("other", 1).await;
    assert_eq!(rabbit.size_of_first("other").await, 128 << 20);
}

/// What each role may do, with keys and without: the action, and the role it takes.
#[tokio::test]
async fn each_deed_takes_its_role() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    rabbit.declare("q", json!({})).await;
    let here = |what: &str| at(&rabbit, "eu", "q", what);
    let form = |what: &str| here(what).replace("/api", "");
    // 1 takes an operator, 2 an admin. What is allowed is not always possible: anything but 401 and 403 is a yes.
    let deeds: Vec<(Method, String, u8)> = vec![
        (Method::POST, here("peek"), 1),
        (Method::POST, here("redrive"), 1),
        (Method::POST, here("republish"), 1),
        (Method::POST, here("purge"), 2),
        (Method::POST, form("peek"), 1),
        (Method::POST, form("reveal"), 1),
        (Method::POST, form("redrive"), 1),
        (Method::POST, form("purge"), 2),
        (Method::GET, form("messages.json"), 1),
        (Method::GET, form("messages.csv"), 1),
        (Method::GET, form("messages"), 0),
        (Method::GET, "/redrives/1".to_owned(), 1),
        (Method::POST, "/redrives/1/stop".to_owned(), 1),
        (Method::POST, "/redrives/1/go".to_owned(), 1),
        (Method::GET, "/api/redrives/1".to_owned(), 1),
        (Method::POST, "/api/redrives/1/stop".to_owned(), 1),
        (Method::GET, "/audit".to_owned(), 0),
        (Method::GET, "/api/audit".to_owned(), 0),
    ];
    let all_keys = |it: &mut throughline::dashboard::serve::Settings| {
        it.ingest_keys = keys(&["sends"]);
        it.read_keys = keys(&["reads"]);
        it.operator_keys = keys(&["operates"]);
        it.admin_keys = keys(&["administers"]);
    };
    let guarded = Running::with(|it| {
        settings(it, &rabbit, "eu");
        all_keys(it);
    })
    .await;
    let alone = Running::with(|it| settings(it, &rabbit, "eu")).await;
    let named = Running::with(|it| {
        settings(it, &rabbit, "eu");
        it.hosts = vec!["traces.example".into()];
    })
    .await;
    let beyond = Running::with(|it| {
        settings(it, &rabbit, "eu");
        it.listen = "0.0.0.0:0".parse().expect("an address");
        it.allow_remote = true;
    })
    .await;
    let some = Running::with(|it| {
        settings(it, &rabbit, "eu");
        it.operator_keys = keys(&["operates"]);
    })
    .await;
    for (server, key, role) in [
        (&guarded, None, None),
        (&guarded, Some("sends"), None),
        (&guarded, Some("wrong"), None),
        (&guarded, Some("reads"), Some(0)),
        (&guarded, Some("operates"), Some(1)),
        (&guarded, Some("administers"), Some(2)),
        // Nobody else reaches it: who sits here is an operator.
        (&alone, None, Some(1)),
        // It is reached by another name, or from other machines: who shows nothing only looks.
        (&named, None, Some(0)),
        (&beyond, None, Some(0)),
        (&some, None, Some(0)),
        (&some, Some("wrong"), None),
        (&some, Some("operates"), Some(1)),
    ] {
        for (method, path, takes) in &deeds {
            let port = server.dashboard.listen.port();
            let mut request = client().request(method.clone(), format!("http://127.0.0.1:{port}{path}"));
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            let answer = request.send().await.expect("an answer");
            let (status, body) = (answer.status().as_u16(), answer.text().await.expect("a text"));
            let is_let = !matches!(status, 401 | 403);
            assert_eq!(
                is_let,
                role.is_some_and(|role| role >= *takes),
                "{key:?} {method} {path}: {status} {body}"
            );
            if let (403, Some(_)) = (status, role) {
                let needs = if *takes == 2 { "--admin-key" } else { "--operator-key" };
                assert!(
                    body.contains("takes the role") && body.contains(needs),
                    "it says how one may: {body}"
                );
            }
        }
    }
    let refused = |rows: &[Value]| {
        let of = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let refused = rows.iter().filter(|row| of(row, "outcome").starts_with("refused"));
        let mut all: Vec<_> =
            refused.map(|row| (of(row, "role"), of(row, "action"), of(row, "outcome"))).collect();
        all.sort_unstable();
        all
    };
    let row = |role: &str, action: &str, takes: &str| {
        (role.to_owned(), action.to_owned(), format!("refused: it takes the role {takes}"))
    };
    let rows = audit(&alone, "").await;
    assert!(rows.iter().all(|row| row["role"] == "operator"), "{rows:?}");
    assert_eq!(refused(&rows), [row("operator", "purge", "admin")]);
    // By a form and by a program it is the same attempt.
    let rows = audit(&named, "").await;
    let by_viewers = ["peek", "purge", "redrive", "republish", "reveal"]
        .map(|action| row("viewer", action, if action == "purge" { "admin" } else { "operator" }));
    assert_eq!(refused(&rows), by_viewers, "{rows:?}");
    assert_eq!(rows.len(), by_viewers.len(), "nothing was done");

    // Forms of other sites do nothing, whoever is logged in.
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")] {
        let request = client().post(alone.page(&form("peek"))).header(name, value);
        assert_eq!(request.send().await.expect("an answer").status(), 403, "{name}");
    }
    // A purge wants the queue's name.
    for (typed, status, left) in [("Q", 400, 1), ("q", 200, 0)] {
        if left == 1 {
            rabbit.publish("", "q", "m", &json!({})).await;
            rabbit.holds("q", 1).await;
        }
        let request = client().post(guarded.page(&here("purge"))).bearer_auth("administers");
        let answer = request.json(&json!({ "confirm": typed })).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        rabbit.holds("q", left).await;
    }
}

#[tokio::test]
async fn a_login_has_the_role_of_its_key_and_a_name_for_the_audit() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    rabbit.declare("q", json!({})).await;
    let secret = json!({ "card": "4111111111111111", "password": "hunter2", "note": "x" });
    rabbit.publish("", "q", "m-1", &secret).await;
    rabbit.holds("q", 1).await;
    let server = Running::with(|it| {
        settings(it, &rabbit, "eu");
        it.operator_keys = keys(&["operates"]);
    })
    .await;
    support::known(&server, &rabbit, "q").await;
    let browser = support::browser();
    let form = |path: &str, body: &str| {
        browser
            .post(server.page(path))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.to_owned())
    };
    let answer =
        form("/login", "key=operates&name=%20alice%20%3Cb%3E&next=/").send().await.expect("an answer");
    assert_eq!(answer.status(), 303);
    let cookie =
        answer.headers()["set-cookie"].to_str().expect("ASCII").split(';').next().expect("a pair").to_owned();
    let here = at(&rabbit, "eu", "q", "").replace("/api", "");
    let looked =
        form(&format!("{here}peek"), "count=5").header("cookie", &cookie).send().await.expect("an answer");
    assert_eq!(looked.status(), 303);
    let to = looked.headers()["location"].to_str().expect("ASCII").to_owned();
    let read = async |path: &str| {
        let answer =
            browser.get(server.page(path)).header("cookie", &cookie).send().await.expect("an answer");
        answer.text().await.expect("a text")
    };
    let peek = to.split("peek=").nth(1).and_then(|rest| rest.split('&').next()).expect("a number").to_owned();
    let masked = read(&format!("{to}&m=1")).await;
    assert!(
        masked.contains("masked") && !masked.contains("hunter2") && !masked.contains("<textarea"),
        "{masked}"
    );
    for ending in ["json", "csv"] {
        let export = read(&format!("{here}messages.{ending}?peek={peek}")).await;
        assert!(export.contains("m-1") && !export.contains("hunter2"), "{ending}: {export}");
    }
    let shown = form(&format!("{here}reveal"), &format!("peek={peek}&m=1")).header("cookie", &cookie);
    let shown = shown.send().await.expect("an answer").text().await.expect("a text");
    assert!(shown.contains("hunter2") && shown.contains("<textarea"), "{shown}");
    let rows = audit(&server, "?who=ALICE").await;
    let actions: Vec<&str> = rows.iter().map(|row| row["action"].as_str().expect("an action")).collect();
    assert_eq!(actions, ["reveal", "peek"]);
    let who = rows[0]["who"].as_str().expect("a text");
    assert!(who.starts_with("alice <b>, key ") && rows[0]["session"].is_string(), "{rows:?}");
    assert!(!rows[0].to_string().contains("operates"));
    let page = text(&server, "/audit").await;
    assert!(page.contains("alice &lt;b&gt;") && !page.contains("alice <b>"), "{page}");
}

#[tokio::test]
async fn a_redrive_is_stopped_and_a_queue_has_one_at_a_time() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    rabbit.dead_lettering("classic").await;
    rabbit.publish_many("dead", 400, "").await;
    rabbit.holds("dead", 400).await;
    let server = Running::with(|it| settings(it, &rabbit, "eu")).await;
    let redrive = at(&rabbit, "eu", "dead", "redrive");
    let order = || json!({ "all": true, "to": "other", "exchange": "", "key": "other", "rate": 20 });
    let (_, job) = post(&server, &redrive, order()).await;
    let id = job["id"].as_u64().expect("a number");
    eventually("the first batch is sent", 20, async || {
        (support::get(&server, &format!("/api/redrives/{id}")).await["sent"].as_u64()? > 0).then_some(())
    })
    .await;
    let (status, refused) = post(&server, &redrive, order()).await;
    assert!(
        status == 409 && refused["error"].as_str().is_some_and(|why| why.contains("under way")),
        "{refused}"
    );
    let page = text(&server, &format!("/redrives/{id}")).await;
    assert!(
        page.contains("Redriving from dead")
            && page.contains("hx-trigger=\"refresh\"")
            && page.contains("/stop")
    );
    let (status, _) = post(&server, &format!("/api/redrives/{id}/stop"), json!({})).await;
    assert_eq!(status, 200);
    let job = ended(&server, &job).await;
    let sent = job["sent"].as_u64().expect("a number");
    assert!(job["state"] == "stopped" && sent > 0 && sent < 400, "{job}");
    rabbit.holds("other", sent).await;
    rabbit.holds("dead", 400 - sent).await;
    let rows = audit(&server, "").await;
    assert!(rows[0]["outcome"].as_str().is_some_and(|words| words.starts_with("stopped; ")), "{rows:?}");
}
