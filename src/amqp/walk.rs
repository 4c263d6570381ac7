//! The fields of AMQP's frames, walked over in place: bytes that are no UTF-8 become `?` in short strings, and tables that
//! are nested too deep become byte arrays, which have the same form.
//!
//! Frames are those of AMQP 0-9-1 §2.3.5; fields of tables are RabbitMQ's (<https://www.rabbitmq.com/amqp-0-9-1-errata>).

/// A method that brings a message, by class and method, and how its arguments begin.
pub(super) enum Method {
    /// `basic.deliver`: consumer tag, delivery tag, whether it was delivered before, exchange, routing key.
    Deliver,
    /// `basic.get-ok`: delivery tag, whether it was delivered before, exchange, routing key.
    Got,
    /// `basic.return`: code, text, exchange, routing key.
    Returned,
}

impl Method {
    /// Reads the begin of a method's payload.
    pub fn of(payload: &[u8]) -> Option<Self> {
        match payload.first_chunk::<4>()? {
            [0, 60, 0, 60] => Some(Method::Deliver),
            [0, 60, 0, 71] => Some(Method::Got),
            [0, 60, 0, 50] => Some(Method::Returned),
            _ => None,
        }
    }
}

/// Makes a method's short strings harmless; gives whether it changed anything. Where it ends too early, what was cleaned
/// before stays so: what is wrong then is the library's to say.
pub(super) fn clean_method(method: &Method, payload: &mut [u8]) -> bool {
    let mut walk = Walk { bytes: payload, at: 4, altered: false };
    let _ = walk.method(method);
    walk.altered
}

/// Makes the properties of `basic` harmless, from their flags on; gives whether it changed anything.
pub(super) fn clean_properties(bytes: &mut [u8]) -> bool {
    let mut walk = Walk { bytes, at: 0, altered: false };
    let _ = walk.properties();
    walk.altered
}

/// How deep tables may be nested: deeper than anybody means to, and a third of what a debug build survived on a thread of 2 MiB.
pub(super) const DEPTH: usize = 64;

/// Walks over bytes and changes some of them. Where they end too early it stops: what is wrong then is the library's to say.
struct Walk<'a> {
    bytes: &'a mut [u8],
    at: usize,
    altered: bool,
}

impl Walk<'_> {
    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn long(&mut self) -> Option<usize> {
        let bytes = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
    }

    /// A short string: what is no UTF-8 in it becomes `?`.
    fn short(&mut self) -> Option<()> {
        let length = usize::from(self.byte()?);
        let text = self.bytes.get_mut(self.at..self.at + length)?;
        let mut from = 0;
        while let Err(error) = std::str::from_utf8(&text[from..]) {
            let bad = from + error.valid_up_to();
            let end = error.error_len().map_or(length, |count| bad + count);
            text[bad..end].fill(b'?');
            self.altered = true;
            from = end;
        }
        self.skip(length)
    }

    /// The value of a field of this type, which stands at `place`.
    fn value(&mut self, kind: u8, place: usize, depth: usize) -> Option<()> {
        match kind {
            b't' | b'b' | b'B' => self.skip(1),
            b's' | b'U' | b'u' => self.skip(2),
            b'I' | b'i' | b'f' => self.skip(4),
            b'L' | b'l' | b'd' | b'T' => self.skip(8),
            b'D' => self.skip(5),
            b'V' => Some(()),
            b'S' | b'x' => {
                let length = self.long()?;
                self.skip(length)
            }
            b'F' | b'A' if depth >= DEPTH => {
                self.bytes[place] = b'x';
                self.altered = true;
                let length = self.long()?;
                self.skip(length)
            }
            b'F' => self.table(depth + 1),
            b'A' => {
                let length = self.long()?;
                let end = self.at.checked_add(length)?;
                while self.at < end {
                    let place = self.at;
                    let kind = self.byte()?;
                    self.value(kind, place, depth + 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn method(&mut self, method: &Method) -> Option<()> {
        match method {
            Method::Deliver => {
                self.short()?;
                self.skip(9)?;
            }
            Method::Got => self.skip(9)?,
            Method::Returned => {
                self.skip(2)?;
                self.short()?;
            }
        }
        self.short()?;
        self.short()
    }

    fn properties(&mut self) -> Option<()> {
        let flags = u16::from_be_bytes([self.byte()?, self.byte()?]);
        for bit in (2..=15).rev().filter(|bit| flags & (1 << *bit) != 0) {
            match bit {
                13 => self.table(0)?,
                11 | 12 => self.skip(1)?,
                6 => self.skip(8)?,
                _ => self.short()?,
            }
        }
        Some(())
    }

    fn table(&mut self, depth: usize) -> Option<()> {
        let length = self.long()?;
        let end = self.at.checked_add(length)?;
        while self.at < end {
            self.short()?;
            let place = self.at;
            let kind = self.byte()?;
            self.value(kind, place, depth)?;
        }
        Some(())
    }
}
