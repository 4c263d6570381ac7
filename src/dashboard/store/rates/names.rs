//! Names as numbers, so that what is counted is small.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::side::Text;
use super::{Destination, Node, OTHERS, Tag};

/// Names kept; all further ones are [`Names::OTHERS`].
const MAX_NAMES: usize = 32_768;

/// Keys that are hashes already.
#[derive(Default)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed here")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// A map by hashes.
pub type ByHash<V> = HashMap<u64, V, BuildHasherDefault<Identity>>;

/// Names by number: a tag's byte and the text. The first numbers are no names.
#[derive(Default)]
pub struct Names {
    known: ByHash<u32>,
    texts: Vec<Box<[u8]>>,
}

impl Names {
    pub const NONE: u32 = 0;
    pub const UNKNOWN: u32 = 1;
    pub const USER: u32 = 2;
    pub const OTHERS: u32 = 3;
    /// The first that is a name.
    pub const FIRST: u32 = 4;

    /// The number of a name.
    #[inline]
    pub fn id(&mut self, text: &Text, texts: &[u8]) -> u32 {
        if let Some(known) = self.known.get(&text.hash) {
            return *known;
        }
        self.insert(text.hash, &texts[text.place.start as usize..text.place.end as usize])
    }

    fn insert(&mut self, hash: u64, text: &[u8]) -> u32 {
        if self.texts.len() >= MAX_NAMES {
            return Self::OTHERS;
        }
        let id = Self::FIRST + self.texts.len() as u32;
        self.texts.push(text.into());
        self.known.insert(hash, id);
        id
    }

    /// Whether a new start is due: half of the room is taken.
    pub fn are_many(&self) -> bool {
        self.texts.len() > MAX_NAMES / 2
    }

    /// The text of a number with its tag; empty for those that are no names.
    pub fn text(&self, id: u32) -> &[u8] {
        id.checked_sub(Self::FIRST).and_then(|index| self.texts.get(index as usize)).map_or(&[], |text| text)
    }
}

/// The plain text of a name of a service or operation.
pub fn plain(id: u32, text: &[u8]) -> String {
    if id < Names::FIRST { OTHERS.to_owned() } else { lossy(text.get(1..).unwrap_or_default()) }
}

/// The node that a name stands for.
pub fn node(id: u32, text: &[u8]) -> Node {
    let Some((tag, rest)) = text.split_first() else {
        return match id {
            Names::USER => Node::User,
            Names::OTHERS => Node::Others,
            _ => Node::Unknown,
        };
    };
    match *tag {
        tag if tag == Tag::Database as u8 => {
            let (system, name) = halves(rest);
            Node::Database { system, name }
        }
        tag if tag == Tag::Outside as u8 => Node::Outside(lossy(rest)),
        _ => Node::Service(lossy(rest)),
    }
}

/// The destination that a name stands for.
pub fn destination(id: u32, text: &[u8]) -> Option<Destination> {
    match id {
        Names::OTHERS => Some(Destination { system: String::new(), name: OTHERS.to_owned() }),
        id if id < Names::FIRST => None,
        _ => {
            let (system, name) = halves(text.get(1..).unwrap_or_default());
            Some(Destination { system, name })
        }
    }
}

/// Version and instance of a service.
pub fn instance(id: u32, text: &[u8]) -> (String, String) {
    match id {
        id if id < Names::FIRST => (String::new(), OTHERS.to_owned()),
        _ => halves(text.get(1..).unwrap_or_default()),
    }
}

/// System and name, with a zero between where there is a system.
fn halves(text: &[u8]) -> (String, String) {
    match text.iter().position(|byte| *byte == 0) {
        Some(zero) => (lossy(&text[..zero]), lossy(&text[zero + 1..])),
        None => (String::new(), lossy(text)),
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
