//! What a span says of its other side: a database, a queue, an address outside. Which attributes tell is asked when
//! spans come, in [`peer::tells`](crate::dashboard::model::otlp::peer::tells).

use crate::dashboard::model::answer::{self, HTTP_STATUS, RPC_STATUS};
use crate::dashboard::model::otlp::batch::{Batch, SpanRef};
use crate::dashboard::model::otlp::{key_value, span_field, text_of};
use crate::dashboard::model::proto::{Wire, fields};

/// Links of one span that are followed: a batch of messages has one for each.
const MAX_LINKS: usize = 64;

/// What attributes and links of one span say; texts are empty where they do not. In each group the first key that is
/// found in order of preference wins, wherever it stands in the span.
#[derive(Debug, Default)]
pub struct Peer<'a> {
    /// The peer by a name that somebody gave it.
    pub named: &'a [u8],
    pub address: Ranked<'a>,
    pub database: Ranked<'a>,
    pub namespace: Ranked<'a>,
    pub rpc: Ranked<'a>,
    pub messaging: &'a [u8],
    pub destination: Ranked<'a>,
    pub operation: Ranked<'a>,
    /// Whether the answer blames the request: then the call was refused and did not fail.
    pub refused: bool,
    /// Link targets: trace and span ID as they were sent.
    pub links: Vec<(&'a [u8], &'a [u8])>,
}

/// A text with the rank of the key that it was found under: a lower one is better.
#[derive(Debug, Default)]
pub struct Ranked<'a> {
    pub text: &'a [u8],
    rank: u8,
}

impl<'a> Ranked<'a> {
    fn offer(&mut self, rank: u8, text: &'a [u8]) {
        if !text.is_empty() && (self.text.is_empty() || rank < self.rank) {
            *self = Self { text, rank };
        }
    }
}

/// Reads what the walk found of the batch's span number `item`. What cannot be read was refused on arrival.
pub fn read<'a>(batch: &'a Batch, item: u32, span: &SpanRef) -> Peer<'a> {
    let mut peer = Peer::default();
    let from = batch.peers.partition_point(|(of, _)| *of < item);
    for (_, place) in batch.peers[from..].iter().take_while(|(of, _)| *of == item) {
        if let Ok((key, value)) = key_value(batch.at(place)) {
            peer.attribute(key, value, span.failed);
        }
    }
    if batch.links.binary_search_by_key(&item, |(of, _)| *of).is_ok() {
        peer.links(batch.at(&span.message));
    }
    peer
}

impl<'a> Peer<'a> {
    fn links(&mut self, message: &'a [u8]) {
        let links = fields(message).map_while(Result::ok).filter(|field| field.number == span_field::LINKS);
        for link in links.filter_map(|field| field.bytes().ok()).take(MAX_LINKS) {
            let bytes = |number: u32| {
                let field = fields(link).map_while(Result::ok).find(|field| field.number == number);
                field.and_then(|field| field.bytes().ok()).unwrap_or_default()
            };
            self.links.push((bytes(1), bytes(2)));
        }
    }

    fn attribute(&mut self, key: &'a [u8], value: &'a [u8], failed: bool) {
        let text = || text_of(value).ok().flatten().unwrap_or_default();
        match key {
            b"service.peer.name" | b"peer.service" => self.named = text(),
            b"server.address" => self.address.offer(0, text()),
            b"net.peer.name" => self.address.offer(1, text()),
            b"url.full" => self.address.offer(2, host(text())),
            b"http.url" => self.address.offer(3, host(text())),
            b"net.peer.ip" => self.address.offer(4, text()),
            b"network.peer.address" => self.address.offer(5, text()),
            b"db.system.name" => self.database.offer(0, text()),
            b"db.system" => self.database.offer(1, text()),
            b"db.namespace" => self.namespace.offer(0, text()),
            b"db.name" => self.namespace.offer(1, text()),
            b"rpc.service" => self.rpc.offer(0, text()),
            b"rpc.system.name" => self.rpc.offer(1, text()),
            b"rpc.system" => self.rpc.offer(2, text()),
            b"messaging.system" => self.messaging = text(),
            b"messaging.destination.name" => self.destination.offer(0, text()),
            b"messaging.destination" => self.destination.offer(1, text()),
            b"messaging.operation.type" => self.operation.offer(0, text()),
            b"messaging.operation" => self.operation.offer(1, text()),
            _ if failed => self.status(key, value),
            _ => {}
        }
    }

    fn status(&mut self, key: &[u8], value: &[u8]) {
        let one_of = |keys: &[&str]| keys.iter().any(|known| known.as_bytes() == key);
        let (http, rpc) = (one_of(&HTTP_STATUS), one_of(&RPC_STATUS));
        if !(http || rpc) {
            return;
        }
        let Some(Ok(field)) = fields(value).next() else { return };
        let text = || std::str::from_utf8(field.bytes().ok()?).ok();
        let number = match field.value {
            Wire::Varint(number) => Some(number as i64),
            _ => text().and_then(|text| text.parse().ok()),
        };
        self.refused |= match number {
            Some(number) if http => answer::http_refusal(number),
            Some(number) => answer::rpc_refusal(number),
            None => rpc && text().is_some_and(answer::rpc_refusal_named),
        };
    }

    /// The name of a database: its own where it has one that is more than a number (Redis counts them), else where
    /// it is.
    pub fn database_name(&self) -> &'a [u8] {
        let own = self.namespace.text;
        let says = !own.is_empty() && !own.iter().all(u8::is_ascii_digit);
        [self.named, if says { own } else { b"" }, self.address.text, own]
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default()
    }

    /// The name of any other peer; empty where it has none.
    pub fn outside_name(&self) -> &'a [u8] {
        [self.named, self.address.text, self.rpc.text]
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default()
    }

    /// Whether a CLIENT span sends a message, as the conventions allow; `None` where it is about no message.
    /// To receive one and to settle it are CLIENT spans too.
    pub fn sends(&self) -> Option<bool> {
        let about = !self.messaging.is_empty() || !self.destination.text.is_empty();
        about.then_some(matches!(self.operation.text, b"send" | b"publish" | b"create"))
    }
}

/// The host of a URL, without user, port and brackets.
fn host(url: &[u8]) -> &[u8] {
    let Some(scheme) = url.windows(3).position(|three| three == b"://") else { return b"" };
    let rest = &url[scheme + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => &authority[at + 1..],
        None => authority,
    };
    if let Some(inner) = host.strip_prefix(b"[") {
        let end = inner.iter().position(|byte| *byte == b']').unwrap_or(inner.len());
        return &inner[..end];
    }
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) => &host[..colon],
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_its_host_and_never_its_user() {
        for (url, expected) in [
            ("http://payments:8080/charge?x=1", "payments"),
            ("https://user:secret@api.example.com/v1", "api.example.com"),
            ("http://[::1]:4318/v1/traces", "::1"),
            ("amqp://broker", "broker"),
            ("/relative", ""),
            ("", ""),
        ] {
            assert_eq!(host(url.as_bytes()), expected.as_bytes(), "{url}");
        }
    }
}
