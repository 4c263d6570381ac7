//! Asks the gateway of a demo shop which failures there are, and switches them.
//!
//! The gateway is an address from the settings, and may be away, slow, or somebody else: it has [`PATIENCE`] for an answer
//! of [`MOST_BYTES`], and what it says is text to be shown.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Method, Response};
use serde::Deserialize;

use super::view::{Scenario, Scenarios};

/// For a whole answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer that is read.
const MOST_BYTES: usize = 256 << 10;
/// Most scenarios of a list.
const MOST: usize = 100;

/// The gateway.
#[derive(Debug)]
pub struct Door {
    client: Client,
    /// `http://HOST:PORT`.
    url: String,
}

/// What it answers.
#[derive(Deserialize)]
struct Answer {
    scenarios: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    name: String,
    title: String,
    does: String,
    look: String,
    page: Option<String>,
    on: bool,
    until_ms: Option<u64>,
}

/// The answer to what it does not do.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Door {
    /// The gateway at `http://HOST:PORT`; nothing is asked yet.
    pub fn new(url: String) -> Result<Self, reqwest::Error> {
        // The client speaks plain HTTP here, and all the same wants a TLS provider to be chosen. One that is installed is kept.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        Ok(Self { client: client.build()?, url })
    }

    /// Sends a request and reads its answer, if it is a good one.
    async fn ask(&self, method: Method, path: &str) -> Result<Vec<u8>, String> {
        let sent = self.client.request(method, format!("{}{path}", self.url)).send().await;
        let answer = sent.map_err(|error| self.why(&error))?;
        let status = answer.status();
        let body = self.body(answer).await?;
        if !status.is_success() {
            let said =
                serde_json::from_slice::<Refusal>(&body).map(|refusal| format!(": {}", cut(&refusal.error)));
            return Err(format!("{} answered {status}{}.", self.who(), said.unwrap_or_default()));
        }
        Ok(body)
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| self.why(&error))? {
            if body.len() + part.len() > MOST_BYTES {
                let most = MOST_BYTES >> 10;
                return Err(format!(
                    "{} answered with more than {most} KiB, which is no list of scenarios.",
                    self.who()
                ));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    fn who(&self) -> String {
        format!("The gateway of the demo shop, {},", self.url)
    }

    fn why(&self, error: &reqwest::Error) -> String {
        let who = self.who();
        match () {
            () if error.is_timeout() => {
                format!("{who} gave no answer within {} seconds.", PATIENCE.as_secs())
            }
            () if error.is_connect() => format!("{who} cannot be reached. Is the demo still running?"),
            () => format!("{who} broke off, or does not speak HTTP."),
        }
    }
}

#[async_trait]
impl Scenarios for Door {
    async fn list(&self) -> Result<Vec<Scenario>, String> {
        let body = self.ask(Method::GET, "/scenarios").await?;
        read(&body).map_err(|why| format!("{} did not answer with a list of scenarios: {why}.", self.who()))
    }

    async fn switch(&self, name: &str, on: bool) -> Result<(), String> {
        if !Scenario::is_name(name) {
            return Err(format!("No scenario is called “{}”.", cut(name)));
        }
        let path = format!("/scenarios/{name}{}", if on { "" } else { "/off" });
        self.ask(Method::POST, &path).await.map(|_| ())
    }
}

/// Reads a list of scenarios.
fn read(body: &[u8]) -> Result<Vec<Scenario>, String> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| cut(&error.to_string()))?;
    if answer.scenarios.len() > MOST {
        return Err(format!("it has more than {MOST}"));
    }
    if let Some(odd) = answer.scenarios.iter().find(|one| !Scenario::is_name(&one.name)) {
        return Err(format!("“{}” is no name of one", cut(&odd.name)));
    }
    let scenario = |told: Told| Scenario {
        name: told.name,
        title: told.title,
        does: told.does,
        look: told.look,
        page: told.page,
        on: told.on,
        until: told.until_ms.map(|ms| ms.saturating_mul(1_000_000)),
    };
    Ok(answer.scenarios.into_iter().map(scenario).collect())
}

/// The begin of a text from outside.
fn cut(text: &str) -> String {
    text.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_anything_else_says_what_it_is() {
        let one = |name: &str| {
            format!(
                r#"{{"name":"{name}","title":"T","does":"d","look":"l","page":"/x","on":true,"since_ms":1,"until_ms":5}}"#
            )
        };
        let list = |ones: &[String]| format!(r#"{{"scenarios":[{}]}}"#, ones.join(","));
        let read = |text: &str| super::read(text.as_bytes());
        let found = read(&list(&[one("payment-outage")])).expect("a list");
        assert_eq!((found[0].on, found[0].until), (true, Some(5_000_000)));
        assert_eq!(read(&list(&[])), Ok(Vec::new()));
        for (text, says) in [
            ("<html>", "expected value"),
            ("[]", "invalid"),
            ("{}", "missing field `scenarios`"),
            (&list(&[one("a/../b")]), "“a/../b” is no name of one"),
            (&list(&[one("")]), "“” is no name of one"),
            (&list(&vec![one("a"); MOST + 1]), "more than 100"),
        ] {
            let why = read(text).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}
