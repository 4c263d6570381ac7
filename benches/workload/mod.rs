//! The made-up spans that benchmarks send: 512 a request, 12 a trace and 10 attributes a span, of 12 services, about 440
//! bytes each.

use bytes::Bytes;
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};

pub const PER_REQUEST: u64 = 512;
pub const PER_TRACE: u64 = 12;
pub const SERVICES: u64 = 12;
#[allow(dead_code, reason = "not every benchmark asks for users")]
pub const USERS: u64 = 50_000;

/// When traces begin: the first, and how long each after the one before, in ns.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub begin: u64,
    pub apart: u64,
}

impl From<u64> for Pace {
    /// As they come at half a million spans a second.
    fn from(begin: u64) -> Self {
        Self { begin, apart: 23_000 }
    }
}

/// A request of 512 spans, about 440 bytes each, of whole traces that cross services.
pub fn request(number: u64, pace: impl Into<Pace>) -> Bytes {
    let pace = pace.into();
    let mut by_service: Vec<Vec<Vec<u8>>> = vec![Vec::new(); SERVICES as usize];
    for index in number * PER_REQUEST..(number + 1) * PER_REQUEST {
        by_service[(index % PER_TRACE % SERVICES) as usize].push(span(index, pace));
    }
    let mut out = Vec::new();
    for (service, spans) in by_service.iter().enumerate() {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| {
                text(out, 1, "service.name", &format!("service-{service}"));
                text(out, 1, "service.version", "1.4.2");
                text(out, 1, "host.name", &format!("host-{}", service % 4));
            });
            put_message(out, 2, |out| {
                put_message(out, 1, |out| put_bytes(out, 1, b"bench"));
                spans.iter().for_each(|span| put_bytes(out, 2, span));
            });
        });
    }
    out.into()
}

fn span(index: u64, pace: Pace) -> Vec<u8> {
    let (trace, place) = (index / PER_TRACE, index % PER_TRACE);
    let random = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let start = pace.begin + trace * pace.apart + place * 1_000_000;
    let mut out = Vec::with_capacity(460);
    put_bytes(&mut out, 1, &trace_id(trace));
    put_bytes(&mut out, 2, &(index.wrapping_mul(0xff51_afd7_ed55_8ccd) | 1).to_be_bytes());
    if place > 0 {
        put_bytes(
            &mut out,
            4,
            &((trace * PER_TRACE + (place - 1) / 2).wrapping_mul(0xff51_afd7_ed55_8ccd) | 1).to_be_bytes(),
        );
    }
    put_bytes(&mut out, 5, format!("GET /api/v1/resource-{}", place * 3 + trace % 3).as_bytes());
    put_uint(&mut out, 6, 2 + place % 2);
    put_fixed64(&mut out, 7, start);
    put_fixed64(&mut out, 8, start + (PER_TRACE - place) * 2_000_000 + random % 1_000_000);
    text(&mut out, 9, "http.request.method", "GET");
    text(&mut out, 9, "http.route", &format!("/api/v1/resource-{}", place * 3));
    text(&mut out, 9, "url.path", &format!("/api/v1/resource-{}/{}", place * 3, random % 100_000));
    text(&mut out, 9, "server.address", &format!("service-{}.shop.internal", place % SERVICES));
    text(&mut out, 9, "user_agent.original", "shop-client/2.1 (linux)");
    text(&mut out, 9, "user.id", &format!("user-{}", random % USERS));
    text(&mut out, 9, "shop.region", ["eu-central-1", "us-east-1", "ap-south-1"][(random % 3) as usize]);
    put_message(&mut out, 9, |out| {
        number(out, "http.response.status_code", if trace % 50 == 0 { 500 } else { 200 })
    });
    put_message(&mut out, 9, |out| number(out, "http.response.body.size", random % 20_000));
    if place == 0 {
        text(&mut out, 9, "correlation.id", &format!("order-{trace}"));
    } else {
        text(&mut out, 9, "order.ref", &format!("order-{trace}"));
    }
    if trace % 50 == 0 && place == PER_TRACE - 1 {
        put_message(&mut out, 15, |out| {
            put_bytes(out, 2, b"upstream answered 500");
            put_uint(out, 3, 2);
        });
    }
    out
}

pub fn trace_id(trace: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&trace.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(trace + 1).to_be_bytes());
    id
}

/// An ID as text.
#[allow(dead_code, reason = "not every benchmark asks for traces")]
pub fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
    });
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    put_bytes(out, 1, key.as_bytes());
    put_message(out, 2, |out| put_uint(out, 3, value));
}

/// Now, in ns since the epoch.
#[allow(dead_code, reason = "not every benchmark asks for it")]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}
