//! What tells series apart, made of a resource and of a point's attributes, within bounds.

use xxhash_rust::xxh3::Xxh3Default;

use super::super::super::span::Resource;
use super::super::super::value::Attributes;

/// Attributes of a series that are kept apart; a hash stands for the others.
pub const MAX_ATTRIBUTES: usize = 16;
/// Bytes of a key, a value, a name that are kept.
pub const MAX_KEY: usize = 128;
pub const MAX_TEXT: usize = 256;
/// The key under which a hash stands for what was cut off, so that two series do not become one by it.
pub const CUT: &str = "…";

/// Which process of its service sent it, as far as the resource says.
pub fn instance(resource: &Resource) -> String {
    cut(&resource.instance(), MAX_TEXT).0
}

/// A point's attributes as a series has them.
pub fn plain(attributes: Attributes) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> =
        attributes.into_iter().map(|(key, value)| (key, value.to_text())).collect();
    all.sort_unstable();
    all.dedup_by(|a, b| a.0 == b.0);
    let mut whole = Xxh3Default::new();
    let mut is_cut = all.len() > MAX_ATTRIBUTES;
    let mut kept = Vec::with_capacity(all.len().min(MAX_ATTRIBUTES + 1));
    for (key, value) in all {
        for text in [&key, &value] {
            whole.update(&(text.len() as u64).to_le_bytes());
            whole.update(text.as_bytes());
        }
        if kept.len() < MAX_ATTRIBUTES {
            let ((key, key_cut), (value, value_cut)) = (cut(&key, MAX_KEY), cut(&value, MAX_TEXT));
            is_cut |= key_cut || value_cut;
            kept.push((key, value));
        }
    }
    if is_cut {
        kept.push((CUT.to_owned(), format!("{:016x}", whole.digest())));
        kept.sort_unstable();
        kept.dedup_by(|a, b| a.0 == b.0);
    }
    kept
}

/// A name, as text and within bounds.
pub fn text(bytes: &[u8]) -> String {
    cut(&String::from_utf8_lossy(bytes), MAX_TEXT).0
}

/// The first `most` bytes of a text, and whether that cuts it.
pub fn cut(text: &str, most: usize) -> (String, bool) {
    (text[..text.floor_char_boundary(most)].to_owned(), text.len() > most)
}
