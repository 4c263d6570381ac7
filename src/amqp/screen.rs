//! What comes from a broker is made harmless before the client library parses it.
//!
//! Whoever may publish decides what is in a message, and the library trusts it: it holds whole bodies, gives a connection up
//! where a short string is not UTF-8, and follows nested tables as deep as they go, until its stack is at its end and the
//! process with it. So bodies are cut here where that is wanted, and fields cleaned (see [`super::walk`]). All else passes
//! as it is.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::walk::{Method, clean_method, clean_properties};

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Type, channel, size; and the sign at the end.
const BEFORE: usize = 7;
const BEHIND: usize = 1;
/// A method or a header is no longer than this: brokers send 128 KiB at most unless they are set otherwise.
const MOST_FRAME: usize = 4 << 20;

/// What the screen did to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Bytes of its whole body.
    pub size: u64,
    /// Whether a text or a header is not as it was sent: no exact copy can be made of what came.
    pub altered: bool,
}

/// What of messages passes on a connection, and what is told of each that is taken. A connection that is told of them takes
/// them on one channel.
#[derive(Debug, Clone)]
pub struct Passing {
    most: u64,
    noted: Option<Arc<Mutex<VecDeque<Passed>>>>,
}

impl Passing {
    /// All of every body; nothing is told.
    pub fn whole() -> Self {
        Self { most: u64::MAX, noted: None }
    }

    /// Of each body no more than so many bytes; of each message is told what was done to it, for [`Passing::next`].
    pub fn told(most: u64) -> Self {
        Self { most, noted: Some(Arc::default()) }
    }

    /// What was done to the next message, in the order in which they come.
    pub fn next(&self) -> Option<Passed> {
        self.noted.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn note(&self, passed: Passed) {
        if let Some(noted) = &self.noted {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push_back(passed);
        }
    }
}

/// What of a body's frame is still to come.
#[derive(Debug, Default)]
struct Partly {
    forward: usize,
    skip: usize,
    /// Whether the sign at its end passes too.
    end: bool,
}

/// Looks at the frames of a connection.
pub(super) struct Screen {
    how: Passing,
    /// Channels whose next header is that of a message that is taken, and whether its method was altered.
    taken: HashMap<u16, bool>,
    /// Of each channel's message, the bytes of its body that may still pass.
    left: HashMap<u16, u64>,
    /// A frame that is not whole yet.
    buffer: Vec<u8>,
    /// Within a body's frame.
    passing: Option<Partly>,
    /// What is sent is no AMQP: a broker of another version says so in plain text.
    is_other: bool,
}

impl Screen {
    pub fn new(how: Passing) -> Self {
        let (taken, left) = (HashMap::new(), HashMap::new());
        Self { how, taken, left, buffer: Vec::new(), passing: None, is_other: false }
    }

    /// Appends what passes of `input` to `out`.
    ///
    /// # Errors
    /// The broker sent a frame that no broker sends.
    pub fn pass(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
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
        if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) {
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
            METHOD => {
                if let Some(method) = Method::of(payload) {
                    let altered = clean_method(&method, payload);
                    match method {
                        Method::Deliver | Method::Got => drop(self.taken.insert(channel, altered)),
                        Method::Returned => {}
                    }
                }
            }
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
        let passes = size.min(self.how.most);
        field.copy_from_slice(&passes.to_be_bytes());
        self.left.insert(channel, passes);
        let altered = clean_properties(&mut payload[12..]);
        if let Some(before) = self.taken.remove(&channel) {
            self.how.note(Passed { size, altered: altered || before });
        }
    }

    fn begin_body(&mut self, mut before: [u8; BEFORE], channel: u16, size: usize, out: &mut Vec<u8>) {
        let left = self.left.entry(channel).or_default();
        let forward = usize::try_from(*left).unwrap_or(usize::MAX).min(size);
        *left -= forward as u64;
        if forward > 0 {
            before[3..].copy_from_slice(&(forward as u32).to_be_bytes());
            out.extend_from_slice(&before);
        }
        self.passing = Some(Partly { forward, skip: size - forward, end: forward > 0 });
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

#[cfg(test)]
mod tests;
