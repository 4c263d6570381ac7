//! HTTP/2 frames made by hand (RFC 9113), for peers that no library would be.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a peer waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header as HPACK without tables and without Huffman (RFC 7541, 6.2.2), names up to 126 bytes.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        match text.len() {
            short @ 0..127 => out.push(short as u8),
            long => {
                let mut rest = long - 127;
                out.push(127);
                while rest >= 128 {
                    out.push((rest % 128 + 128) as u8);
                    rest /= 128;
                }
                out.push(rest as u8);
            }
        }
        out.extend(text.as_bytes());
    }
    out
}

/// The header block of a gRPC call.
pub fn call(path: &str) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    headers.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// A connection over which frames go by hand.
pub struct Peer {
    stream: TcpStream,
    /// Received and not looked at yet.
    received: Vec<u8>,
    /// Kinds of the frames received, by stream.
    seen: Vec<(u8, u8, u32)>,
    closed: bool,
}

impl Peer {
    /// Connects and says the preface with empty settings.
    pub fn connect(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(PREFACE).expect("the preface");
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).expect("the settings");
        stream.set_nonblocking(true).expect("a socket");
        Self { stream, received: Vec::new(), seen: Vec::new(), closed: false }
    }

    /// Sends all bytes, reading what comes meanwhile; false where the other end has closed.
    pub fn send(&mut self, mut bytes: &[u8]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !bytes.is_empty() && !self.closed {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                Err(_) => self.closed = true,
            }
            self.read();
            assert!(Instant::now() < deadline, "neither taken nor closed");
        }
        !self.closed
    }

    /// Kinds of the frames that answer a stream, once it has ended.
    pub fn answer(&mut self, stream: u32) -> Vec<u8> {
        let ends = |seen: &(u8, u8, u32)| {
            seen.2 == stream && (seen.0 == RST_STREAM || (seen.0 != CONTINUATION && seen.1 & END_STREAM != 0))
        };
        self.until("an answer", |peer| peer.closed || peer.seen.iter().any(ends));
        self.seen.iter().filter(|seen| seen.2 == stream).map(|seen| seen.0).collect()
    }

    /// Asks for a sign of life; gives whether the connection was or is being closed instead.
    pub fn end(mut self) -> bool {
        let mark = frame(PING, 0, 0, b"the last");
        self.send(&mark);
        let before = self.seen.len();
        self.until("a sign of life", |peer| {
            let goes = peer.seen.iter().any(|seen| seen.0 == GOAWAY);
            let lives = peer.seen[before.min(peer.seen.len())..].iter().any(|seen| seen.0 == PING);
            peer.closed || goes || lives
        });
        self.closed || self.seen.iter().any(|seen| seen.0 == GOAWAY)
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "no {what}; there came {:?}", self.seen);
            self.wait();
            self.read();
        }
    }

    /// Lets the other end do something.
    fn wait(&self) {
        std::thread::sleep(Duration::from_millis(1));
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(read) => {
                    self.received.extend(&buffer[..read]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.closed = true,
            }
            break;
        }
        let mut at = 0;
        while let Some(head) = self.received.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if self.received.len() < at + 9 + length {
                break;
            }
            self.seen.push((head[3], head[4], stream));
            at += 9 + length;
        }
        self.received.drain(..at);
    }
}
