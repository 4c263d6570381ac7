//! Hashes that stand for an attribute: its key, the type of its value, and the value.
//!
//! An index holds them instead of texts; whoever finds something by one looks whether it really has the
//! attribute. What is hashed is the `KeyValue` message in the one encoding that every SDK uses (fields in order,
//! shortest numbers); a message in another encoding is put into that one first. The elements of an array stand
//! for themselves; maps and bytes have no hash. Part of the stored format: the hash must never change.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Value;
use super::proto::{WireError, fields, put_bytes, put_fixed64, put_uint, put_varint};

/// Keeps attributes apart from all else that is hashed for an index.
const SEED: u64 = 9;

/// The hash of an attribute with a value of a simple type; `None` for arrays, maps, bytes and empty values.
pub fn of(key: &str, value: &Value) -> Option<u32> {
    let mut inner = Vec::new();
    match value {
        Value::Text(text) => put_bytes(&mut inner, 1, text.as_bytes()),
        Value::Bool(truth) => put_uint(&mut inner, 2, u64::from(*truth)),
        Value::Int(number) => put_uint(&mut inner, 3, *number as u64),
        Value::Double(number) => put_fixed64(&mut inner, 4, number.to_bits()),
        _ => return None,
    }
    let mut message = Vec::new();
    put_bytes(&mut message, 1, key.as_bytes());
    put_bytes(&mut message, 2, &inner);
    Some(of_message(&message))
}

/// The hash of a `KeyValue` message that is in the common encoding.
#[inline]
fn of_message(message: &[u8]) -> u32 {
    (xxh3_64_with_seed(message, SEED) >> 32) as u32
}

/// A short attribute in the common encoding with a value of a simple type.
pub struct Common<'a> {
    pub hash: u32,
    pub key: &'a [u8],
    /// The `AnyValue` message.
    pub value: &'a [u8],
    /// The value where it is a text.
    pub text: Option<&'a [u8]>,
}

/// Reads a `KeyValue` that is in the common encoding, as nearly all are.
#[inline]
pub fn common(message: &[u8]) -> Option<Common<'_>> {
    let [0x0a, key_length @ 0..=0x7f, rest @ ..] = message else { return None };
    let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
    let [0x12, value_length @ 0..=0x7f, value @ ..] = rest else { return None };
    if value.len() != usize::from(*value_length) {
        return None;
    }
    let text = match value {
        [0x0a, length, text @ ..] if text.len() == usize::from(*length) => Some(text),
        [0x10, 0 | 1] => None,
        [0x18, number @ ..] if is_shortest(number) => None,
        [0x21, number @ ..] if number.len() == 8 => None,
        _ => return None,
    };
    Some(Common { hash: of_message(message), key, value, text })
}

/// Whether it is one varint in its shortest form.
fn is_shortest(number: &[u8]) -> bool {
    let Some((last, before)) = number.split_last() else { return false };
    number.len() <= 10
        && *last < 0x80
        && (*last != 0 || before.is_empty())
        && before.iter().all(|byte| *byte >= 0x80)
}

/// Appends the hashes of an attribute in any encoding.
pub fn any(key: &[u8], value: &[u8], hashes: &mut Vec<u32>) -> Result<(), WireError> {
    for field in fields(value) {
        let field = field?;
        let mut inner = Vec::new();
        match field.number {
            1 => put_bytes(&mut inner, 1, field.bytes()?),
            2 => put_uint(&mut inner, 2, u64::from(field.varint()? != 0)),
            3 => put_uint(&mut inner, 3, field.varint()?),
            4 => put_fixed64(&mut inner, 4, field.fixed64()?),
            5 => {
                for element in fields(field.bytes()?) {
                    let element = element?;
                    // An array in an array is no value of a span's attribute; it is not looked into.
                    if element.number == 1 && !holds_list(element.bytes()?) {
                        any(key, element.bytes()?, hashes)?;
                    }
                }
                continue;
            }
            _ => continue,
        }
        let mut message = Vec::with_capacity(key.len() + inner.len() + 8);
        put_bytes(&mut message, 1, key);
        put_varint(&mut message, 2 << 3 | 2);
        put_varint(&mut message, inner.len() as u64);
        message.extend_from_slice(&inner);
        hashes.push(of_message(&message));
    }
    Ok(())
}

fn holds_list(value: &[u8]) -> bool {
    fields(value).flatten().any(|field| matches!(field.number, 5 | 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: &str, value: &Value) -> Vec<u8> {
        let mut inner = Vec::new();
        match value {
            Value::Text(text) => put_bytes(&mut inner, 1, text.as_bytes()),
            Value::Bool(truth) => put_uint(&mut inner, 2, u64::from(*truth)),
            Value::Int(number) => put_uint(&mut inner, 3, *number as u64),
            Value::Double(number) => put_fixed64(&mut inner, 4, number.to_bits()),
            other => unreachable!("{other:?} is not tried here"),
        }
        let mut message = Vec::new();
        put_bytes(&mut message, 1, key.as_bytes());
        put_bytes(&mut message, 2, &inner);
        message
    }

    #[test]
    fn one_attribute_has_one_hash_whatever_its_encoding() {
        let long = "x".repeat(300);
        for value in [
            Value::Text("GET".into()),
            Value::Text(String::new()),
            Value::Text(long),
            Value::Bool(true),
            Value::Int(404),
            Value::Int(-1),
            Value::Double(0.5),
        ] {
            let wanted = of("http.method", &value).unwrap();
            let message = message("http.method", &value);
            if let Some(common) = common(&message) {
                assert_eq!((common.hash, common.key), (wanted, &b"http.method"[..]), "{value:?}");
            }
            let (key, inner) = super::super::otlp::key_value(&message).unwrap();
            let mut hashes = Vec::new();
            any(key, inner, &mut hashes).unwrap();
            assert_eq!(hashes, [wanted], "{value:?}");
        }
        // 404 with a needless last byte.
        let padded = [0x0a, 1, b'k', 0x12, 4, 0x18, 0x94, 0x83, 0];
        assert!(common(&padded).is_none());
        let mut hashes = Vec::new();
        any(b"k", &padded[5..], &mut hashes).unwrap();
        assert_eq!(hashes, [of("k", &Value::Int(404)).unwrap()]);
    }

    #[test]
    fn keys_types_and_values_are_told_apart_and_never_change() {
        let hashes: std::collections::BTreeSet<_> = [
            of("a", &Value::Text("1".into())),
            of("a", &Value::Int(1)),
            of("a", &Value::Bool(true)),
            of("b", &Value::Int(1)),
            of("a1", &Value::Text(String::new())),
        ]
        .into_iter()
        .collect();
        assert_eq!(hashes.len(), 5);
        assert_eq!(of("http.request.method", &Value::Text("GET".into())), Some(853_756_198));
    }
}
