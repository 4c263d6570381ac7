//! AMQP 0-9-1 by hand: a message with properties that no client library would send.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Type, channel and payload of a frame, in bytes.
fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(channel.to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(0xce);
    out
}

fn short(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short string");
    std::iter::once(length).chain(text.bytes()).collect()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    (bytes.len() as u32).to_be_bytes().into_iter().chain(bytes.iter().copied()).collect()
}

/// A connection with one channel that has confirms.
struct Line(TcpStream);

impl Line {
    /// Sends a method and its arguments.
    fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[Vec<u8>]) {
        let mut payload = class.to_be_bytes().to_vec();
        payload.extend(method.to_be_bytes());
        payload.extend(arguments.concat());
        self.0.write_all(&frame(1, channel, &payload)).expect("sent");
    }

    /// Waits for a method and gives its arguments.
    fn wait(&mut self, class: u16, method: u16) -> Vec<u8> {
        loop {
            let mut before = [0; 7];
            self.0.read_exact(&mut before).expect("a frame");
            let size = u32::from_be_bytes([before[3], before[4], before[5], before[6]]);
            let mut payload = vec![0; size as usize + 1];
            self.0.read_exact(&mut payload).expect("a whole frame");
            payload.pop();
            if before[0] == 1 {
                let came = (
                    u16::from_be_bytes([payload[0], payload[1]]),
                    u16::from_be_bytes([payload[2], payload[3]]),
                );
                assert!(came.0 != 10 || came.1 != 50, "closed: {}", String::from_utf8_lossy(&payload));
                if came == (class, method) {
                    return payload[4..].to_vec();
                }
            }
        }
    }
}

/// Publishes one message as `guest` and waits until it is confirmed. `properties` begin with their flags.
pub fn publish(port: u16, virtual_host: &str, (exchange, key): (&str, &str), properties: &[u8], body: &[u8]) {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    let mut line = Line(stream);
    line.0.write_all(b"AMQP\0\0\x09\x01").expect("sent");
    line.wait(10, 10);
    line.method(0, 10, 11, &[long(&[]), short("PLAIN"), long(b"\0guest\0guest"), short("en_US")]);
    let tune = line.wait(10, 30);
    line.method(0, 10, 31, &[tune[..6].to_vec(), vec![0, 0]]);
    line.method(0, 10, 40, &[short(virtual_host), short(""), vec![0]]);
    line.wait(10, 41);
    line.method(1, 20, 10, &[short("")]);
    line.wait(20, 11);
    line.method(1, 85, 10, &[vec![0]]);
    line.wait(85, 11);
    line.method(1, 60, 40, &[vec![0, 0], short(exchange), short(key), vec![0]]);
    let header = [&[0, 60, 0, 0][..], &(body.len() as u64).to_be_bytes(), properties].concat();
    line.0.write_all(&frame(2, 1, &header)).expect("sent");
    line.0.write_all(&frame(3, 1, body)).expect("sent");
    line.wait(60, 80);
    line.method(0, 10, 50, &[vec![0, 200], short("done"), vec![0; 4]]);
}

/// Properties that are nothing but a message ID and a header `deep`: tables in each other, so many levels down.
pub fn deep_headers(depth: usize, id: &str) -> Vec<u8> {
    let mut value = vec![1, b'k', b't', 1];
    for _ in 0..depth {
        value = [&[1, b'n', b'F'][..], &long(&value)].concat();
    }
    let table = [&short("deep")[..], b"F", &long(&value)].concat();
    [&(1_u16 << 13 | 1 << 7).to_be_bytes()[..], &long(&table), &short(id)].concat()
}
