//! Between RabbitMQ and the client library: what comes from the broker is made harmless before it is parsed.
//!
//! Whoever may publish decides what is in a message, and the library trusts it: it holds whole bodies, gives a connection up
//! where a short string is not UTF-8, and follows nested tables as deep as they go, until its stack is at its end and the
//! process with it. So bodies are cut here, bytes that are no UTF-8 become `?` in short strings, and tables that are nested
//! too deep become byte arrays, which have the same form. All else passes as it is.
//!
//! Frames are those of AMQP 0-9-1 §2.3.5; fields of tables are RabbitMQ's (<https://www.rabbitmq.com/amqp-0-9-1-errata>).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
/// Type, channel, size; and the sign at the end.
const BEFORE: usize = 7;
const BEHIND: usize = 1;
/// Class and method of `basic.deliver`.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
/// A method or a header is no longer than this: brokers send 128 KiB at most unless they are set otherwise.
const MOST_FRAME: usize = 4 << 20;
/// How deep tables may be nested.
const DEPTH: usize = 16;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// Whole sizes of bodies, in the order of their messages.
#[derive(Debug, Clone, Default)]
pub struct Sizes(Arc<Mutex<VecDeque<u64>>>);

impl Sizes {
    /// The size of the next message's body.
    pub fn next(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, size: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(size);
    }
}

/// The way to a broker, for one connection.
pub struct Relay {
    listener: TcpListener,
    broker: TcpStream,
    screen: Screen,
}

impl Relay {
    /// Connects to the broker; of bodies no more than `most` bytes pass.
    ///
    /// # Errors
    /// The broker does not answer, or no address of ours is free.
    pub async fn open(host: &str, port: u16, most: usize, sizes: Sizes) -> io::Result<Self> {
        let broker = TcpStream::connect((host, port)).await?;
        broker.set_nodelay(true)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        Ok(Self { listener, broker, screen: Screen::new(most as u64, sizes) })
    }

    /// The port of this machine that leads to the broker, once.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Passes on until either side ends.
    ///
    /// # Errors
    /// A side failed, or the broker sent a frame that no broker sends.
    pub async fn run(self) -> io::Result<()> {
        let (client, _) = self.listener.accept().await?;
        client.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_broker, mut to_broker) = self.broker.into_split();
        let mut screen = self.screen;
        let down = async {
            let (mut piece, mut out) = (vec![0; PIECE], Vec::with_capacity(PIECE));
            loop {
                let count = from_broker.read(&mut piece).await?;
                if count == 0 {
                    return Ok(());
                }
                screen.pass(&piece[..count], &mut out)?;
                to_client.write_all(&out).await?;
                out.clear();
            }
        };
        tokio::select! {
            ended = down => ended,
            ended = tokio::io::copy(&mut from_client, &mut to_broker) => ended.map(drop),
        }
    }
}

/// What of a body's frame is still to come.
#[derive(Debug, Default)]
struct Passing {
    forward: usize,
    skip: usize,
    /// Whether the sign at its end passes too.
    end: bool,
}

/// Looks at the frames of a connection.
struct Screen {
    most: u64,
    sizes: Sizes,
    /// Of each channel's message, the bytes of its body that may still pass.
    left: HashMap<u16, u64>,
    /// A frame that is not whole yet.
    buffer: Vec<u8>,
    /// Within a body's frame.
    passing: Option<Passing>,
    /// What is sent is no AMQP: a broker of another version says so in plain text.
    is_other: bool,
}

impl Screen {
    fn new(most: u64, sizes: Sizes) -> Self {
        Self { most, sizes, left: HashMap::new(), buffer: Vec::new(), passing: None, is_other: false }
    }

    /// Appends what passes of `input` to `out`.
    fn pass(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        while !input.is_empty() {
            if self.is_other {
                out.extend_from_slice(input);
                return Ok(());
            }
            if self.passing.is_some() {
                input = self.body(input, out);
                continue;
            }
            input = self.frame(input, out)?;
        }
        Ok(())
    }

    /// Goes on with a frame that begins in the buffer; gives what is behind what it took.
    fn frame<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> io::Result<&'a [u8]> {
        let input = self.fill(input, BEFORE);
        let Some(before) = self.buffer.first_chunk::<BEFORE>().copied() else { return Ok(input) };
        let [kind, channel_high, channel_low, a, b, c, d] = before;
        if !matches!(kind, METHOD | HEADER | BODY | 8) {
            self.is_other = true;
            out.append(&mut self.buffer);
            return Ok(input);
        }
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        let channel = u16::from_be_bytes([channel_high, channel_low]);
        if kind == BODY {
            self.buffer.clear();
            self.begin_body(before, channel, size, out);
            return Ok(input);
        }
        if size > MOST_FRAME {
            return Err(io::Error::other(format!("the broker sent a frame of {size} bytes")));
        }
        let input = self.fill(input, BEFORE + size + BEHIND);
        if self.buffer.len() < BEFORE + size + BEHIND {
            return Ok(input);
        }
        let payload = &mut self.buffer[BEFORE..BEFORE + size];
        match kind {
            METHOD if payload.starts_with(&DELIVER) => clean_delivery(payload),
            HEADER => self.header(channel),
            _ => {}
        }
        out.append(&mut self.buffer);
        Ok(input)
    }

    /// Fills the buffer up to a length.
    fn fill<'a>(&mut self, input: &'a [u8], length: usize) -> &'a [u8] {
        let wanted = length.saturating_sub(self.buffer.len()).min(input.len());
        self.buffer.extend_from_slice(&input[..wanted]);
        &input[wanted..]
    }

    /// A content header that is whole in the buffer: notes the size and says a smaller one.
    fn header(&mut self, channel: u16) {
        let end = self.buffer.len() - BEHIND;
        let payload = &mut self.buffer[BEFORE..end];
        let Some(field) = payload.get_mut(4..12) else { return };
        let size = u64::from_be_bytes(field.try_into().expect("eight bytes"));
        let passed = size.min(self.most);
        field.copy_from_slice(&passed.to_be_bytes());
        self.sizes.push(size);
        self.left.insert(channel, passed);
        clean_properties(&mut payload[12..]);
    }

    fn begin_body(&mut self, mut before: [u8; BEFORE], channel: u16, size: usize, out: &mut Vec<u8>) {
        let left = self.left.entry(channel).or_default();
        let forward = usize::try_from(*left).unwrap_or(usize::MAX).min(size);
        *left -= forward as u64;
        if forward > 0 {
            before[3..].copy_from_slice(&(forward as u32).to_be_bytes());
            out.extend_from_slice(&before);
        }
        self.passing = Some(Passing { forward, skip: size - forward, end: forward > 0 });
    }

    fn body<'a>(&mut self, mut input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let Some(passing) = &mut self.passing else { return input };
        let forward = passing.forward.min(input.len());
        out.extend_from_slice(&input[..forward]);
        (passing.forward, input) = (passing.forward - forward, &input[forward..]);
        let skip = passing.skip.min(input.len());
        (passing.skip, input) = (passing.skip - skip, &input[skip..]);
        if passing.forward == 0
            && passing.skip == 0
            && let Some((sign, rest)) = input.split_first()
        {
            if passing.end {
                out.push(*sign);
            }
            self.passing = None;
            return rest;
        }
        input
    }
}

/// Walks over bytes and changes some of them. Where they end too early it stops: what is wrong then is the library's to say.
struct Walk<'a> {
    bytes: &'a mut [u8],
    at: usize,
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

    /// Consumer tag, delivery tag, whether it was delivered before, exchange, routing key.
    fn delivery(&mut self) -> Option<()> {
        self.short()?;
        self.skip(9)?;
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

/// `basic.deliver`.
fn clean_delivery(payload: &mut [u8]) {
    // Where it ends too early, what was cleaned before stays so.
    let _ = Walk { bytes: payload, at: DELIVER.len() }.delivery();
}

/// The properties of `basic`, from their flags on.
fn clean_properties(bytes: &mut [u8]) {
    let _ = Walk { bytes, at: 0 }.properties();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 0, 1];
        out.extend((payload.len() as u32).to_be_bytes());
        out.extend(payload);
        out.push(0xce);
        out
    }

    /// A content header with a table of headers and a message ID.
    fn header(size: u64, table: &[u8], id: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 60, 0, 0];
        out.extend(size.to_be_bytes());
        out.extend((1u16 << 13 | 1 << 7).to_be_bytes());
        out.extend((table.len() as u32).to_be_bytes());
        out.extend(table);
        out.push(id.len() as u8);
        out.extend(id);
        frame(HEADER, &out)
    }

    fn nested(depth: usize) -> Vec<u8> {
        let mut value = vec![b'k', b't', 1];
        value.insert(0, 1);
        for _ in 0..depth {
            let mut outer = vec![1, b'n', b'F'];
            outer.extend((value.len() as u32).to_be_bytes());
            outer.extend(&value);
            value = outer;
        }
        value
    }

    /// What passes, whether it comes at once or byte by byte.
    fn passed(most: u64, input: &[u8]) -> (Vec<u8>, Vec<u64>) {
        let run = |pieces: usize| {
            let mut screen = Screen::new(most, Sizes::default());
            let mut out = Vec::new();
            for piece in input.chunks(pieces) {
                screen.pass(piece, &mut out).expect("frames");
            }
            let sizes = std::iter::from_fn(|| screen.sizes.next()).collect();
            (out, sizes)
        };
        let whole = run(input.len().max(1));
        assert_eq!(whole, run(1));
        assert_eq!(whole, run(7));
        whole
    }

    #[test]
    fn bodies_are_cut_and_their_sizes_told() {
        let input = [
            frame(METHOD, b"\0\x0a\0\x0aanything"),
            header(10, &nested(0), b"m1"),
            frame(BODY, b"012345"),
            frame(BODY, b"6789"),
            frame(8, b""),
            header(3, &nested(0), b"m2"),
            frame(BODY, b"abc"),
            header(0, &[], b"m3"),
        ]
        .concat();
        let (out, sizes) = passed(8, &input);
        let expected = [
            frame(METHOD, b"\0\x0a\0\x0aanything"),
            header(8, &nested(0), b"m1"),
            frame(BODY, b"012345"),
            frame(BODY, b"67"),
            frame(8, b""),
            header(3, &nested(0), b"m2"),
            frame(BODY, b"abc"),
            header(0, &[], b"m3"),
        ]
        .concat();
        assert_eq!((out, sizes), (expected, vec![10, 3, 0]));
        let (out, _) = passed(0, &input);
        assert!(!out.windows(3).any(|window| window == b"abc"), "nothing of any body");
    }

    #[test]
    fn deep_tables_become_bytes_and_bad_texts_question_marks() {
        let deep = nested(9_000);
        let (out, _) = passed(8, &header(1, &deep, b"a\xff\xc3"));
        assert_eq!(out.len(), header(1, &deep, b"a\xff\xc3").len());
        assert!(out.windows(3).any(|window| window == b"a??"));
        let bytes = out.windows(3).position(|window| window == b"\x01nx").expect("it ends in bytes");
        assert_eq!(out[..bytes].windows(3).filter(|window| window == b"\x01nF").count(), DEPTH);
        let list = [vec![1, b'l', b'A', 0, 0, 0, 7, b'F', 0, 0, 0, 2], vec![0, b'V']].concat();
        assert_eq!(passed(8, &header(0, &list, b"m")).0, header(0, &list, b"m"), "what is harmless stays");
        let mut deliver = DELIVER.to_vec();
        deliver.extend(b"\x01c\0\0\0\0\0\0\0\x01\0\x02e\xff\x02\xc3\xa9");
        let (out, _) = passed(8, &frame(METHOD, &deliver));
        assert!(out.windows(6).any(|window| window == b"\x02e?\x02\xc3\xa9"), "{out:?}");
    }

    #[test]
    fn what_is_cut_or_no_amqp_passes_without_harm() {
        let whole = header(1, &nested(3), b"id");
        for end in 0..whole.len() {
            let mut broken = whole[BEFORE..whole.len() - BEHIND].to_vec();
            broken.truncate(end);
            let _ = passed(8, &frame(HEADER, &broken));
        }
        let odd = header(1, &[1, b'k', b'?', 0, 0], b"id");
        assert_eq!(passed(8, &odd).0, odd);
        assert_eq!(passed(8, b"AMQP\0\0\x09\x01").0, b"AMQP\0\0\x09\x01");
        let mut screen = Screen::new(8, Sizes::default());
        let huge = [HEADER, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert!(screen.pass(&huge, &mut Vec::new()).is_err());
    }
}
