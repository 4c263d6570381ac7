//! Trace and span IDs: 16 and 8 bytes, lower-case hex as text (W3C Trace Context §3.2.2).

use std::fmt;

/// Says why a text is not an ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("an ID is {expected} hexadecimal digits, this has {found}")]
    Length { expected: &'static str, found: usize },
    #[error("an ID has only the digits 0-9 and a-f")]
    Digit,
    #[error("an ID of zeros only is not valid")]
    Zero,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Takes exactly the ID's number of bytes, not all zero; else `None`.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                let id: [u8; $bytes] = bytes.try_into().ok()?;
                (id != [0; $bytes]).then_some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A trace's ID. A 64-bit ID (Zipkin, old Jaeger) is kept with eight zero bytes before it.
    TraceId,
    16
);
id!(
    /// A span's ID, unique within its trace only.
    SpanId,
    8
);

impl TraceId {
    /// Reads 32 hex digits, or 16 for a 64-bit ID; upper and lower case.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut id = [0; 16];
        match text.len() {
            32 => hex(text, &mut id)?,
            16 => hex(text, &mut id[8..])?,
            found => return Err(IdError::Length { expected: "32 or 16", found }),
        }
        Self::from_slice(&id).ok_or(IdError::Zero)
    }
}

impl SpanId {
    /// Reads 16 hex digits in either case.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut id = [0; 8];
        if text.len() != 16 {
            return Err(IdError::Length { expected: "16", found: text.len() });
        }
        hex(text, &mut id)?;
        Self::from_slice(&id).ok_or(IdError::Zero)
    }
}

/// Fills `out` from twice as many hex digits.
fn hex(text: &str, out: &mut [u8]) -> Result<(), IdError> {
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or(IdError::Digit);
    for (pair, byte) in text.as_bytes().chunks_exact(2).zip(out) {
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_lengths_and_cases_and_writes_lower_case() {
        let long = TraceId::parse("4BF92F3577B34DA6A3CE929D0E0E4736").unwrap();
        assert_eq!(long.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let short = TraceId::parse("a3ce929d0e0e4736").unwrap();
        assert_eq!(short.to_string(), "0000000000000000a3ce929d0e0e4736");
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(TraceId::parse("abc"), Err(IdError::Length { expected: "32 or 16", found: 3 }));
        assert_eq!(TraceId::parse(&"0".repeat(32)), Err(IdError::Zero));
        assert_eq!(SpanId::parse("zzzzzzzzzzzzzzzz"), Err(IdError::Digit));
        assert_eq!(SpanId::parse("ééééćććć"), Err(IdError::Digit));
    }
}
