//! Looks into attribute values that stay bytes.

use super::super::TraceId;
use super::super::proto::{WireError, fields};
use super::MAX_DEPTH;

/// The key and the value message of a `KeyValue`.
#[inline]
pub fn key_value(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => key = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The text of an `AnyValue`; of an array its first text (captured headers are arrays of one).
pub fn text_of(value: &[u8]) -> Result<Option<&[u8]>, WireError> {
    for field in fields(value) {
        let field = field?;
        match field.number {
            1 => return field.bytes().map(Some),
            5 => {
                for element in fields(field.bytes()?) {
                    let element = element?;
                    if element.number == 1 {
                        return text_of(element.bytes()?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Checks an `AnyValue`'s wire types and that its nesting ends in time.
pub fn check_depth(value: &[u8], depth: usize) -> Result<(), WireError> {
    for field in fields(value) {
        let field = field?;
        match field.number {
            1 | 7 => drop(field.bytes()?),
            2 | 3 => drop(field.varint()?),
            4 => drop(field.fixed64()?),
            5 | 6 if depth >= MAX_DEPTH => return Err(WireError::TooDeep),
            5 => {
                for element in fields(field.bytes()?) {
                    check_depth(element?.bytes()?, depth + 1)?;
                }
            }
            6 => {
                for entry in fields(field.bytes()?) {
                    check_depth(key_value(entry?.bytes()?)?.1, depth + 1)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The trace that a link points to.
pub fn link_target(link: &[u8]) -> Result<Option<TraceId>, WireError> {
    for field in fields(link) {
        let field = field?;
        if field.number == 1 {
            return Ok(TraceId::from_slice(field.bytes()?));
        }
    }
    Ok(None)
}

/// The code of a `Status`.
pub fn status_code(status: &[u8]) -> Result<u64, WireError> {
    let mut code = 0;
    for field in fields(status) {
        let field = field?;
        match field.number {
            2 => drop(field.bytes()?),
            3 => code = field.varint()?,
            _ => {}
        }
    }
    Ok(code)
}
