//! What one span contributes: the operation that it is, and one side of a call.
//!
//! Read while a flush is packed, before it is committed and outside any lock; [`super::fold`] counts it.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::LazyLock;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::histogram::class;
use super::peer::{self, Peer};
use super::{BUCKET, Tag};
use crate::dashboard::model::otlp::Batch;
use crate::dashboard::model::otlp::batch::SpanRef;
use crate::dashboard::model::span::UNKNOWN_SERVICE;
use crate::dashboard::model::{EARLIEST, Kind, Nanos};

/// An end further ahead of arrival than this is not believed, nor one before [`EARLIEST`]: then the span counts when it
/// was received.
const FUTURE: Nanos = 24 * 3600 * 1_000_000_000;
/// Bytes of a name that tell it from others.
const MAX_NAME: usize = 256;

/// Keeps senders from choosing IDs whose keys fall together. Another one in each process changes no count.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));

/// The key of no span.
pub const NO_KEY: u64 = 0;

/// A text among a part's: its hash and where it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    pub hash: u64,
    pub place: Range<u32>,
}

/// Which side of what a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// None by itself; others may name it as their parent.
    Inside,
    /// Makes a call.
    Call,
    /// Answers one.
    Serve,
    /// Sends a message.
    Send,
    /// Takes one.
    Take,
}

/// One span, or one link of a span that takes several messages.
#[derive(Debug, Clone)]
pub struct Side {
    /// Stands for trace and span ID.
    pub key: u64,
    /// The parent, or the span that it is linked to; [`NO_KEY`] without.
    pub other: u64,
    /// When a message was sent: the end of what sends it. When it was taken: the begin of what takes it.
    pub at: Nanos,
    /// Number of the bucket that it ended in.
    pub bucket: u32,
    /// Index into [`Sides::services`].
    pub service: u32,
    /// Index into [`Sides::instances`]; of meaning where it is an operation.
    pub instance: u32,
    pub peer: Option<Text>,
    /// Its name where it is an operation.
    pub operation: Option<Text>,
    pub class: u16,
    pub role: Role,
    /// False for what has a part in a join but is no call by itself.
    pub counts: bool,
    /// Has the status ERROR.
    pub error: bool,
    /// The same, but not because the request was refused.
    pub failed: bool,
    /// Without a parent or link.
    pub alone: bool,
    /// Tied to its other half by more than a parent: takes messages by links, which are sides of their own; or serves
    /// a call whose span has the same ID.
    pub linked: bool,
}

/// The sides that a flush brought; the memory is used again for the next one.
#[derive(Debug, Default)]
pub struct Sides {
    pub received: Nanos,
    pub sides: Vec<Side>,
    pub services: Vec<Text>,
    /// Version and instance of those that sent operations.
    pub instances: Vec<Text>,
    pub texts: Vec<u8>,
}

/// The key of a span. Zero is kept free.
fn key(trace: &[u8], span: &[u8]) -> u64 {
    let mut id = [0; 24];
    if trace.len() != 16 || span.len() != 8 {
        return NO_KEY;
    }
    id[..16].copy_from_slice(trace);
    id[16..].copy_from_slice(span);
    xxh3_64_with_seed(&id, *SEED).max(1)
}

impl Sides {
    /// Those of a stored block.
    pub fn of_block(received: Nanos, batch: &Batch) -> Self {
        let mut sides = Self::default();
        sides.begin(received);
        batch.spans.iter().for_each(|span| sides.span(batch, span));
        sides
    }

    /// Begins anew with what is received at `received`.
    pub fn begin(&mut self, received: Nanos) {
        self.received = received;
        self.sides.clear();
        self.services.clear();
        self.instances.clear();
        self.texts.clear();
    }

    /// Adds a text; its hash tells texts of different tags apart.
    fn text(&mut self, tag: Tag, parts: [&[u8]; 2]) -> Text {
        let begin = self.texts.len();
        self.texts.push(tag as u8);
        for (index, part) in parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
            self.texts.extend_from_slice(&part[..part.len().min(MAX_NAME)]);
            if index == 0 && tag.has_system() {
                self.texts.push(0);
            }
        }
        let place = begin as u32..self.texts.len() as u32;
        Text { hash: xxh3_64(&self.texts[begin..]), place }
    }

    /// The index of a resource's service. A trace's spans come together, and those of a service with them.
    fn service(&mut self, batch: &Batch, resource: u32) -> u32 {
        let name = match batch.at(&batch.resources[resource as usize].service) {
            b"" => UNKNOWN_SERVICE.as_bytes(),
            name => name,
        };
        let same = |text: &Text| &self.texts[text.place.start as usize + 1..text.place.end as usize] == name;
        if !self.services.last().is_some_and(same) {
            let text = self.text(Tag::Service, [name, b""]);
            self.services.push(text);
        }
        self.services.len() as u32 - 1
    }

    /// The index of a resource's version and instance.
    fn instance(&mut self, batch: &Batch, resource: u32) -> u32 {
        let resource = &batch.resources[resource as usize];
        let before = self.texts.len();
        let text = self.text(Tag::Instance, [batch.at(&resource.version), batch.at(&resource.instance)]);
        if self.instances.last().is_some_and(|last| last.hash == text.hash) {
            self.texts.truncate(before);
        } else {
            self.instances.push(text);
        }
        self.instances.len() as u32 - 1
    }

    /// Takes in a span of the batch.
    pub fn span(&mut self, batch: &Batch, span: &SpanRef) {
        let kind = Kind::from_wire(u64::from(span.kind));
        let service = self.service(batch, span.resource);
        let believed = |time: Nanos| (EARLIEST..=self.received + FUTURE).contains(&time);
        let end = if believed(span.end) { span.end } else { self.received };
        let duration =
            if believed(span.end) && believed(span.start) { end.saturating_sub(span.start) } else { 0 };
        let own = key(&span.trace_id.0, &span.span_id.0);
        let parent = span.parent.map_or(NO_KEY, |parent| key(&span.trace_id.0, &parent.0));
        let is_operation = matches!(kind, Kind::Server | Kind::Consumer) || !span.has_parent;
        let operation = is_operation.then(|| self.text(Tag::Name, [batch.at(&span.name), b""]));
        let instance = if is_operation { self.instance(batch, span.resource) } else { 0 };
        let mut side = Side {
            key: own,
            // A span that is its own parent has no other side, but for a server that shares the client's ID.
            other: if parent == own { NO_KEY } else { parent },
            role: Role::Inside,
            counts: false,
            error: span.failed,
            failed: span.failed,
            alone: !span.has_parent,
            linked: false,
            bucket: (end / BUCKET) as u32,
            class: class(duration),
            at: end,
            service,
            instance,
            peer: None,
            operation,
        };
        match kind {
            Kind::Server => {
                (side.role, side.counts, side.linked) = (Role::Serve, true, parent == own);
            }
            Kind::Client | Kind::Producer | Kind::Consumer => {
                let name = batch.at(&span.name);
                return self.with_peer(side, (kind, name), end - duration, &peer::read(batch, span));
            }
            Kind::Internal | Kind::Unspecified => {}
        }
        self.sides.push(side);
    }

    fn with_peer(&mut self, mut side: Side, (kind, name): (Kind, &[u8]), start: Nanos, peer: &Peer<'_>) {
        let sends = match kind {
            Kind::Client => peer.sends(),
            _ => Some(true),
        };
        side.counts = sends != Some(false);
        side.peer = match (sends, peer.database.text) {
            (Some(true), _) if kind == Kind::Consumer => {
                Some(self.text(Tag::Destination, [peer.messaging, &peer.taken_from(name)]))
            }
            (Some(true), _) => Some(self.text(Tag::Destination, [peer.messaging, peer.destination.text])),
            (Some(false), _) => None,
            (None, b"") if peer.outside_name().is_empty() => None,
            (None, b"") => Some(self.text(Tag::Outside, [peer.outside_name(), b""])),
            (None, system) => Some(self.text(Tag::Database, [system, peer.database_name()])),
        };
        match kind {
            Kind::Consumer => return self.take(side, start, peer),
            Kind::Client if sends.is_none() => {
                side.role = Role::Call;
                side.failed &= !peer.refused;
            }
            _ => side.role = Role::Send,
        }
        if !side.counts {
            side.role = Role::Inside;
        }
        self.sides.push(side);
    }

    /// A span that takes messages: one by its parent, or one for each link.
    fn take(&mut self, mut side: Side, start: Nanos, peer: &Peer<'_>) {
        (side.role, side.at) = (Role::Take, start);
        let links: Vec<u64> =
            peer.links.iter().map(|(trace, span)| key(trace, span)).filter(|it| *it != NO_KEY).collect();
        (side.linked, side.counts) = (!links.is_empty(), links.is_empty());
        let of_link = Side { operation: None, counts: true, alone: false, linked: false, ..side.clone() };
        self.sides.push(side);
        for (other, number) in links.into_iter().zip(1..) {
            self.sides.push(Side { key: of_link.key.wrapping_add(number).max(1), other, ..of_link.clone() });
        }
    }
}
