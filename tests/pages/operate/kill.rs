//! The dashboard killed in the middle of a redrive: no message is lost, and what may be there twice is told.

use std::collections::{HashMap, HashSet};
use std::process::Command;

use lapin::options::BasicGetOptions;
use serde_json::{Value, json};

use super::support::{Rabbit, segment};
use crate::common::rabbitmq::Server;
use crate::common::{client, eventually};
use crate::process::Dashboard;

const MESSAGES: usize = 6_000;

async fn ask(base: &str, path: &str) -> Value {
    let answer = client().get(format!("{base}{path}")).send().await.expect("an answer");
    answer.json().await.expect("JSON")
}

/// Takes all messages of a queue and gives how often each ID is there.
async fn drain(rabbit: &Rabbit, queue: &str) -> HashMap<String, usize> {
    let (_connection, channel) = rabbit.channel().await;
    let mut ids = HashMap::new();
    while let Some(got) =
        channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.expect("an answer")
    {
        let id = got.delivery.properties.message_id().clone().expect("an ID").as_str().to_owned();
        *ids.entry(id).or_default() += 1;
    }
    ids
}

#[tokio::test]
async fn killed_in_the_middle_no_message_is_lost_and_what_may_be_there_twice_is_told() {
    for kind in ["classic", "quorum"] {
        let rabbit = Rabbit::own_host(&Server::shared().await).await;
        rabbit.dead_lettering(kind).await;
        rabbit.publish_many("dead", MESSAGES, "m-").await;
        rabbit.holds("dead", MESSAGES as u64).await;
        let folder = tempfile::tempdir().expect("a folder");
        let amqp = format!("eu=amqp://guest:guest@127.0.0.1:{}", rabbit.server.port());
        let start = || Dashboard::with(folder.path(), &["--rabbitmq-amqp", &amqp]);
        let path = format!("/api/queues/eu/{}/dead/redrive", segment(&rabbit.host));
        let order = json!({ "all": true, "to": "other", "exchange": "", "key": "other" });

        let dashboard = start();
        let request = client().post(format!("{}{path}", dashboard.pages)).json(&order);
        let job: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        let id = job["id"].as_u64().unwrap_or_else(|| panic!("no redrive: {job}"));
        eventually("some are sent", 60, async || {
            let job = ask(&dashboard.pages, &format!("/api/redrives/{id}")).await;
            (job["sent"].as_u64()? >= 512).then_some(())
        })
        .await;
        let killed = Command::new("kill").args(["-KILL", &dashboard.process.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()), "it was running");
        drop(dashboard);

        // All are ready again, somewhere; at most a batch is there twice.
        let all = eventually("what was on its way is back", 60, async || {
            let (dead, other) = (rabbit.ready("dead").await, rabbit.ready("other").await);
            (dead + other >= MESSAGES as u64).then_some((dead, other))
        })
        .await;
        assert!(all.0 > 0, "it was killed before the end: {all:?}");

        // The row was written first, and has no end.
        let dashboard = start();
        let rows = ask(&dashboard.pages, "/api/audit").await;
        assert_eq!((&rows["rows"][0]["id"], &rows["rows"][0]["ended"]), (&json!(id), &Value::Null), "{rows}");
        let page = client().get(format!("{}/audit", dashboard.pages)).send().await.expect("an answer");
        let page = page.text().await.expect("a text");
        assert!(page.contains("Throughline ended in the middle"), "{page}");

        // The next one takes the rest, and marks what the broker had given out.
        let request = client().post(format!("{}{path}", dashboard.pages)).json(&order);
        let job: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        let job = eventually("it ends", 120, async || {
            let job = ask(&dashboard.pages, &format!("/api/redrives/{}", job["id"])).await;
            (!job["ended"].is_null()).then_some(job)
        })
        .await;
        assert_eq!((&job["state"], &job["kept"]), (&json!("done"), &json!(0)), "{job}");
        rabbit.holds("dead", 0).await;
        let came = drain(&rabbit, "other").await;
        assert_eq!(came.len(), MESSAGES, "{kind}: every message is there");
        let twice: HashSet<&str> =
            came.iter().filter(|(_, times)| **times > 1).map(|(id, _)| id.as_str()).collect();
        assert!(twice.len() <= 128, "a batch at most: {}", twice.len());
        let results = job["results"].as_array().expect("a list");
        let told: HashSet<&str> = results
            .iter()
            .filter(|row| row["outcome"] == "sent_perhaps_twice")
            .filter_map(|row| row["messageId"].as_str())
            .collect();
        assert!(twice.is_subset(&told), "each that is there twice is told: {twice:?}");
        println!("{kind}: {} there twice, {} told", twice.len(), told.len());
    }
}
