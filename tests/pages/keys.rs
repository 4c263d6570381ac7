//! Keys for reading and the login, against the running server: who gets in where, and what the others are told.

use crate::common::{self, Running, keys};
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, Method, RequestBuilder, Response, redirect};

const READ: &str = "read-key-1";
const SEND: &str = "ingest-key-1";
/// What is shown: a name for it, headers, and how it is refused.
type Case = (&'static str, &'static [(&'static str, &'static str)], Option<(u16, &'static str)>);
/// A session cookie that nobody was given.
const FORGED: &str = "throughline_session=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// What a browser says that it takes when a link is followed.
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

async fn guarded() -> Running {
    Running::with(|settings| {
        settings.ingest_keys = keys(&[SEND]);
        settings.read_keys = keys(&["read-key-0", READ]);
    })
    .await
}

/// A client that shows redirects instead of following them.
fn client() -> Client {
    // Chooses the TLS provider that the builder asks for.
    drop(common::client());
    Client::builder().redirect(redirect::Policy::none()).build().expect("a client")
}

fn with(request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value")));
    request.headers(pairs.collect::<HeaderMap>())
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

async fn log_in(server: &Running, key: &str, next: &str) -> Response {
    let form = serde_json::json!({ "key": key, "next": next });
    let body = form.as_object().unwrap().iter().map(|(name, value)| {
        let encoded: String = value.as_str().unwrap().bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("{name}={encoded}")
    });
    let request = client().post(server.page("/login")).body(body.collect::<Vec<_>>().join("&"));
    request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
}

/// Logs in and gives the cookie as a browser sends it back.
async fn session(server: &Running) -> String {
    let answer = log_in(server, READ, "/").await;
    assert_eq!(answer.status(), 303);
    header(&answer, "set-cookie").split(';').next().unwrap().to_owned()
}

/// Everything that is read, with the method it is asked by.
fn doors() -> Vec<(Method, String)> {
    let trace = "0".repeat(31) + "1";
    let paths =
        ["/", "/traces", "/status", "/search?q=x", "/correlations/x", "/nothing-here", "/metrics", "/live"];
    let mut doors: Vec<_> = paths.map(|path| (Method::GET, path.to_owned())).into();
    for path in ["/traces/new", "/logs", "/logs/new", "/logs/otlp.jsonl", &format!("/traces/{trace}")] {
        doors.push((Method::GET, path.to_owned()));
    }
    for name in ["otlp", "jaeger"] {
        doors.push((Method::GET, format!("/traces/{trace}/{name}.json")));
    }
    doors.push((Method::POST, "/test-trace".to_owned()));
    doors.push((Method::DELETE, "/traces".to_owned()));
    doors
}

#[tokio::test]
async fn a_program_needs_a_read_key_everywhere() {
    let server = guarded().await;
    let client = client();
    let cases: [Case; 9] = [
        ("nothing", &[], Some((401, "no valid key"))),
        ("a wrong key", &[("authorization", "Bearer read-key-2")], Some((401, "no valid key"))),
        ("no scheme", &[("authorization", READ)], Some((401, "no valid key"))),
        (
            "an ingest key",
            &[("authorization", "Bearer ingest-key-1")],
            Some((403, "this key is for sending")),
        ),
        ("a forged cookie", &[("cookie", FORGED)], Some((401, "no valid key"))),
        (
            "a forged cookie by script",
            &[("cookie", FORGED), BROWSER, ("hx-request", "true")],
            Some((401, "no valid key")),
        ),
        (
            "a wrong key with a browser's wishes",
            &[("authorization", "Bearer x"), BROWSER],
            Some((401, "no valid key")),
        ),
        ("a read key", &[("authorization", "Bearer read-key-1")], None),
        ("the read key before it", &[("authorization", "bearer read-key-0"), ("cookie", FORGED)], None),
    ];
    for (name, headers, refused) in cases {
        for (method, path) in doors() {
            let request = with(client.request(method.clone(), server.page(&path)), headers);
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let Some((expected, says)) = refused else {
                assert!(![401, 403].contains(&status), "{name}: {method} {path}: {status}");
                continue;
            };
            assert_eq!(status, expected, "{name}: {method} {path}");
            assert_eq!(header(&answer, "www-authenticate"), if status == 401 { "Bearer" } else { "" });
            assert!(header(&answer, "content-type").starts_with("text/plain"), "{name}: {method} {path}");
            let text = answer.text().await.unwrap();
            assert!(text.contains(says), "{name}: {method} {path}: {text}");
        }
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn what_has_to_be_open_is_open() {
    let server = guarded().await;
    let page = client().get(server.page("/login")).send().await.unwrap().text().await.unwrap();
    let style = page.split('"').find(|part| part.ends_with("/look.css")).expect("a stylesheet");
    for path in ["/livez", "/readyz", "/login", style] {
        let answer = client().get(server.page(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn a_browser_without_a_session_is_led_to_the_login() {
    let server = guarded().await;
    for (path, next) in [
        ("/", "/login?next=%2F"),
        ("/traces?last=24h&service=a%20b", "/login?next=%2Ftraces%3Flast%3D24h%26service%3Da%2520b"),
        ("/nothing-here", "/login?next=%2Fnothing-here"),
    ] {
        let answer = with(client().get(server.page(path)), &[BROWSER]).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, next), "{path}");
    }
    for path in ["/live", "/metrics", "/traces/new", "/logs/new", "/logs/otlp.jsonl"] {
        let answer = with(client().get(server.page(path)), &[BROWSER]).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path} is no page");
    }
    let forged = [BROWSER, ("cookie", FORGED)];
    let answer = with(client().get(server.page("/traces?last=6h")), &forged).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "www-authenticate")), (401, "Bearer"));
    let text = answer.text().await.unwrap();
    assert!(text.contains(r#"action="/login""#) && text.contains(r#"value="/traces?last=6h""#), "{text}");
    assert!(text.contains("The session is over") && !text.contains("/logout"));
    server.dashboard.stop().await;
}

#[tokio::test]
async fn a_session_reads_what_a_key_reads_until_it_is_ended() {
    let server = guarded().await;
    let answer = log_in(&server, "  read-key-1\n", "/traces?last=24h").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, "/traces?last=24h"));
    let cookie = header(&answer, "set-cookie").to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
    assert!(pair.len() == "throughline_session=".len() + 64 && !pair.contains(READ));
    let held = [BROWSER, ("cookie", pair)];
    for (method, path) in doors() {
        let answer = with(client().request(method.clone(), server.page(&path)), &held).send().await.unwrap();
        assert!(![401, 403].contains(&answer.status().as_u16()), "{method} {path}");
        assert!(!header(&answer, "location").starts_with("/login"), "{method} {path}");
    }
    let mut live = with(client().get(server.page("/live")), &held).send().await.unwrap();
    assert!(String::from_utf8_lossy(&live.chunk().await.unwrap().unwrap()).contains("event: changed"));
    drop(live);
    let page = with(client().get(server.page("/")), &held).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(r#"action="/logout""#));
    let again = with(client().get(server.page("/login?next=/status")), &held).send().await.unwrap();
    assert_eq!((again.status().as_u16(), header(&again, "location")), (303, "/status"));
    // A key that is shown decides, whatever the cookie.
    let both = [("authorization", "Bearer wrong"), ("cookie", pair)];
    assert_eq!(with(client().get(server.page("/")), &both).send().await.unwrap().status(), 401);
    // That of a proxy in front is none of ours.
    let proxied = [("authorization", "Basic dTpw"), ("cookie", pair)];
    assert_eq!(with(client().get(server.page("/")), &proxied).send().await.unwrap().status(), 200);
    let out = with(client().post(server.page("/logout")), &held).send().await.unwrap();
    assert_eq!((out.status().as_u16(), header(&out, "location")), (303, "/login"));
    assert!(header(&out, "set-cookie").starts_with("throughline_session=; Path=/; Max-Age=0;"));
    assert_eq!(with(client().get(server.page("/")), &held).send().await.unwrap().status(), 401);
    server.dashboard.stop().await;
}

#[tokio::test]
async fn a_login_leads_nowhere_else() {
    let server = guarded().await;
    for next in
        ["//evil.example", "/\\evil.example", "https://evil.example/", "/\t/evil.example", "/a\r\nX: y", ""]
    {
        let answer = log_in(&server, READ, next).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, "/"), "{next:?}");
    }
    let cookie = session(&server).await;
    for (next, leads) in [("//evil.example", "/"), ("%2F%09%2Fevil.example", "/"), ("/status", "/status")] {
        let request = client().get(server.page(&format!("/login?next={next}"))).header("cookie", &cookie);
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (303, leads), "{next:?}");
    }
    // After a link on another site the browser has kept the cookie back, so it is asked once more from here.
    for (site, again) in [("cross-site", "0;url=/status"), ("same-origin", ""), ("none", "")] {
        let request = client().get(server.page("/login?next=/status")).header("sec-fetch-site", site);
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "refresh")), (200, again), "{site}");
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn a_wrong_login_says_so_and_ten_are_enough() {
    let server = guarded().await;
    let hostile = "wrong\"><script>";
    let mut wrong = vec![(SEND, 403, "for sending telemetry"), ("", 401, "not valid")];
    wrong.extend([(hostile, 401, "not valid"); 8]);
    for (key, status, says) in wrong {
        let answer = log_in(&server, key, "/traces").await;
        assert_eq!(answer.status().as_u16(), status, "{key:?}");
        assert_eq!(header(&answer, "www-authenticate"), if status == 401 { "Bearer" } else { "" });
        assert_eq!(header(&answer, "set-cookie"), "");
        let text = answer.text().await.unwrap();
        assert!(text.contains(says) && text.contains(r#"value="/traces""#), "{text}");
        assert!(!text.contains("wrong") && !text.contains(SEND), "the key is not shown again");
    }
    let late = log_in(&server, READ, "/").await;
    assert_eq!(late.status(), 429);
    let wait: u64 = header(&late, "retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(late.text().await.unwrap().contains("Too many wrong keys. Try again in "));
    let key = with(client().get(server.page("/")), &[("authorization", "Bearer read-key-1")]);
    assert_eq!(key.send().await.unwrap().status(), 200, "programs go on");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn forms_from_other_sites_and_hosts_do_nothing() {
    let server = guarded().await;
    let cookie = session(&server).await;
    for (path, headers, status) in [
        ("/login", [("sec-fetch-site", "cross-site"), ("cookie", "a=b")], 403),
        ("/logout", [("sec-fetch-site", "cross-site"), ("cookie", &cookie)], 403),
        ("/logout", [("origin", "http://evil.example"), ("cookie", &cookie)], 403),
        ("/test-trace", [("sec-fetch-site", "same-site"), ("cookie", &cookie)], 403),
        ("/login", [("host", "evil.example"), ("cookie", &cookie)], 421),
        ("/login", [("content-type", "text/plain"), ("cookie", &cookie)], 400),
    ] {
        let request = with(client().post(server.page(path)).body("key=read-key-1"), &headers);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{path} {headers:?}");
    }
    let page = client().get(server.page("/")).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(page.status(), 200, "the session lives on");
    let large = log_in(&server, &"k".repeat(20_000), "/").await;
    assert_eq!(large.status(), 400);
    server.dashboard.stop().await;
}

#[tokio::test]
async fn without_read_keys_everybody_reads() {
    let server = Running::with(|settings| settings.ingest_keys = keys(&[SEND])).await;
    for (path, status, leads) in
        [("/", 200, ""), ("/metrics", 200, ""), ("/login", 303, "/"), ("/login?next=/status", 303, "/status")]
    {
        let answer = with(client().get(server.page(path)), &[BROWSER]).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (status, leads), "{path}");
    }
    let page = client().get(server.page("/")).send().await.unwrap().text().await.unwrap();
    assert!(!page.contains("/logout"));
    server.dashboard.stop().await;
}
