//! Bodies that were compressed, inflated within a limit: a thousand bytes may become a billion.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Bytes that a body is inflated to.
pub const MOST: usize = 1 << 20;

/// What came out.
#[derive(Debug, PartialEq)]
pub struct Inflated {
    pub encoding: &'static str,
    pub bytes: Vec<u8>,
    /// Whether that is all: neither was the limit met nor did the body end too early.
    pub whole: bool,
}

/// Inflates what is encoded, by what its property says or by how it begins; `None` where it is not. An error is a sentence.
pub fn inflate(encoding: &str, bytes: &[u8]) -> Option<Result<Inflated, String>> {
    let said = encoding.trim().to_ascii_lowercase();
    let begins = |magic: &[u8]| bytes.starts_with(magic);
    let name = match said.as_str() {
        "gzip" | "x-gzip" => "gzip",
        "deflate" => "deflate",
        "zstd" => "zstd",
        "br" | "compress" | "snappy" | "lz4" => {
            return Some(Err(format!("Its content encoding is {said}, which is not read here.")));
        }
        _ if begins(&[0x1f, 0x8b, 8]) => "gzip",
        _ if begins(&[0x28, 0xb5, 0x2f, 0xfd]) => "zstd",
        _ => return None,
    };
    let read = match name {
        "gzip" => all(MultiGzDecoder::new(bytes)),
        "zstd" => match zstd::stream::read::Decoder::new(bytes) {
            Ok(decoder) => all(decoder),
            Err(error) => (Vec::new(), Some(error.to_string())),
        },
        // By RFC 9110 it is zlib; some send it bare.
        _ if bytes.first().is_some_and(|first| first & 0x0f == 8) => all(ZlibDecoder::new(bytes)),
        _ => all(DeflateDecoder::new(bytes)),
    };
    Some(match read {
        (bytes, Some(why)) if bytes.is_empty() => {
            Err(format!("It is said to be {name} and cannot be inflated: {why}."))
        }
        (bytes, why) => Ok(Inflated { encoding: name, whole: why.is_none() && bytes.len() < MOST, bytes }),
    })
}

/// As much as may be, and why it ended before its end.
fn all(decoder: impl Read) -> (Vec<u8>, Option<String>) {
    let mut out = Vec::new();
    let mut limited = decoder.take(MOST as u64);
    let mut piece = [0; 8 << 10];
    loop {
        match limited.read(&mut piece) {
            Ok(0) => return (out, None),
            Ok(count) => out.extend_from_slice(&piece[..count]),
            Err(error) => return (out, Some(error.to_string())),
        }
    }
}
