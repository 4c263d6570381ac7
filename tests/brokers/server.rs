//! The RabbitMQ that other tests run against: it is a real one, survives its own end, and leaves nothing behind.

use std::net::TcpStream;
use std::process::Command;

use crate::common::eventually;
use crate::common::rabbitmq::Server;
use serde_json::Value;

/// How many processes mention a text, beside the one that looks.
fn processes_of(text: &str) -> usize {
    let listed = Command::new("ps").args(["axeww", "-o", "args"]).output().expect("ps runs");
    String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.contains(text)).count()
}

#[tokio::test]
async fn it_is_real_comes_back_and_leaves_no_process_behind() {
    let server = Server::own().await;
    let overview = server.ask("/api/overview").await;
    assert!(overview["rabbitmq_version"].is_string(), "{overview}");
    let listeners = overview["listeners"].as_array().expect("a list");
    // What it says of its addresses is not always where it listens. Another address of the machine tells.
    for listener in listeners {
        let port: u16 = listener["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "{listener}");
        assert!(
            TcpStream::connect(("127.0.0.2", port)).is_err(),
            "on loopback's own address only: {listener}"
        );
    }
    let host = server.virtual_host().await;
    let node = overview["node"].as_str().expect("a name").to_owned();
    assert!(processes_of(&node) > 0, "its processes name their node");

    server.kill();
    eventually("they are gone", 10, async || (processes_of(&node) == 0).then_some(())).await;
    server.start().await;
    server.restart().await;
    let hosts = server.ask("/api/vhosts").await;
    let names: Vec<&Value> = hosts.as_array().expect("a list").iter().map(|host| &host["name"]).collect();
    assert!(names.contains(&&Value::from(host.name.as_str())), "{names:?}");
    drop((host, server));
    eventually("they are gone", 10, async || (processes_of(&node) == 0).then_some(())).await;
}

/// The shared one, by the name of its node. Run by itself it shows in the next test that it does not outlive its process.
#[tokio::test]
async fn the_shared_one_serves_all_that_ask() {
    let (one, other) = (Server::shared().await, Server::shared().await);
    assert_eq!(one.port(), other.port());
    println!("node {}", one.ask("/api/overview").await["node"].as_str().expect("a name"));
}

#[tokio::test]
async fn the_shared_one_ends_with_its_process() {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "server::the_shared_one_serves_all_that_ask", "--nocapture"])
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    let node = told.split("node ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("its name");
    eventually("it is gone", 20, async || (processes_of(node) == 0).then_some(())).await;
}
