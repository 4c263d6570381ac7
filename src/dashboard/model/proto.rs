//! Protocol Buffers wire format, read lazily and written by hand.
//!
//! The receiver and the store pass OTLP messages on as the bytes they came in; only what is needed is looked
//! at. A generated decoder would build a tree of each span first, at ten times the cost, and would refuse a
//! whole request for one text that is not UTF-8. Rules: <https://protobuf.dev/programming-guides/encoding/>.

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the message ends in the middle of a field")]
    Truncated,
    #[error("a number is longer than ten bytes")]
    Varint,
    #[error("field number 0 or a wire type that proto3 does not have")]
    Tag,
    #[error("field {0} has the wrong wire type")]
    WrongType(u32),
    #[error("values are nested more than {} deep", super::otlp::MAX_DEPTH)]
    TooDeep,
    #[error("more than {} resources, scopes, spans and logs at once", super::otlp::MAX_ITEMS)]
    TooMany,
}

/// A field's value as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Wire<'a>,
}

impl<'a> Field<'a> {
    /// The bytes of a text, bytes or message field.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Wire::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::WrongType(self.number)),
        }
    }

    /// The number of an integer, enum or bool field.
    #[inline]
    pub fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Wire::Varint(number) => Ok(number),
            _ => Err(WireError::WrongType(self.number)),
        }
    }

    /// The number of a `fixed64` or `double` field.
    #[inline]
    pub fn fixed64(&self) -> Result<u64, WireError> {
        match self.value {
            Wire::Fixed64(number) => Ok(number),
            _ => Err(WireError::WrongType(self.number)),
        }
    }

    /// The number of a `fixed32` field.
    #[inline]
    pub fn fixed32(&self) -> Result<u32, WireError> {
        match self.value {
            Wire::Fixed32(number) => Ok(number),
            _ => Err(WireError::WrongType(self.number)),
        }
    }
}

/// The fields of a message, one after the other.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// Reads a message's fields.
#[inline]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Fields<'a> {
    #[inline(always)]
    fn varint(&mut self) -> Result<u64, WireError> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0u64;
        for (index, &byte) in self.rest.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(number);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    // This loop is where the receiver spends its time: inlined, the compiler drops what a caller does not ask.
    #[inline(always)]
    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::Tag)?;
        if number == 0 {
            return Err(WireError::Tag);
        }
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken"))),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes were taken"))),
            _ => return Err(WireError::Tag),
        };
        Ok(Field { number, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends an integer, enum or bool field.
pub fn put_uint(out: &mut Vec<u8>, field: u32, number: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, number);
}

/// Appends a `fixed64` or `double` field.
pub fn put_fixed64(out: &mut Vec<u8>, field: u32, number: u64) {
    put_varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends a `fixed32` field.
pub fn put_fixed32(out: &mut Vec<u8>, field: u32, number: u32) {
    put_varint(out, u64::from(field) << 3 | 5);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends a text, bytes or message field.
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a message field that `fill` writes.
pub fn put_message(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    put_bytes(out, field, &inner);
}

/// Reads a varint off the front of `bytes`: for formats of our own that are built of the same parts.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut reader = fields(bytes);
    let number = reader.varint()?;
    *bytes = reader.rest;
    Ok(number)
}

/// Takes `count` bytes off the front.
pub fn take_bytes<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], WireError> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(WireError::Truncated)?;
    *bytes = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut message = Vec::new();
        put_uint(&mut message, 1, 300);
        put_bytes(&mut message, 2, b"text");
        put_fixed64(&mut message, 3, u64::MAX);
        put_fixed32(&mut message, 4, 7);
        put_uint(&mut message, 5, u64::MAX);
        let read: Vec<_> = fields(&message).map(|field| field.unwrap().value).collect();
        assert_eq!(
            read,
            [
                Wire::Varint(300),
                Wire::Bytes(b"text"),
                Wire::Fixed64(u64::MAX),
                Wire::Fixed32(7),
                Wire::Varint(u64::MAX)
            ]
        );
    }

    #[test]
    fn names_what_is_wrong() {
        for (bytes, error) in [
            (&[0x0a, 5, 1][..], WireError::Truncated),
            (&[0x80], WireError::Truncated),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], WireError::Varint),
            (&[0x00, 1], WireError::Tag),
            (&[0x0b], WireError::Tag),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], WireError::Truncated),
        ] {
            assert_eq!(fields(bytes).find_map(Result::err), Some(error), "{bytes:?}");
        }
        assert_eq!(fields(&[0x08, 1]).next().unwrap().unwrap().bytes(), Err(WireError::WrongType(1)));
    }
}
