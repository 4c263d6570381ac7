//! Frames that come at once, in pieces and byte by byte.

use super::super::walk::DEPTH;
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

/// A method that brings the message of the header behind it.
fn method(kind: u16, arguments: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 60];
    out.extend(kind.to_be_bytes());
    out.extend(arguments);
    frame(METHOD, &out)
}

const DELIVER: u16 = 60;
const GET_OK: u16 = 71;
const RETURN: u16 = 50;
const DELIVERED: &[u8] = b"\x01c\0\0\0\0\0\0\0\x01\0\x01e\x01k";

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
fn passed(most: u64, input: &[u8]) -> (Vec<u8>, Vec<Passed>) {
    let run = |pieces: usize| {
        let how = Passing::told(most);
        let mut screen = Screen::new(how.clone());
        let mut out = Vec::new();
        for piece in input.chunks(pieces) {
            screen.pass(piece, &mut out).expect("frames");
        }
        (out, std::iter::from_fn(|| how.next()).collect::<Vec<_>>())
    };
    let whole = run(input.len().max(1));
    assert_eq!(whole, run(1));
    assert_eq!(whole, run(7));
    whole
}

#[test]
fn bodies_are_cut_and_their_sizes_told() {
    let of = |size: u64, first: &[u8], second: &[u8]| {
        [
            frame(METHOD, b"\0\x0a\0\x0aanything"),
            method(DELIVER, DELIVERED),
            header(size, &nested(0), b"m1"),
            frame(BODY, first),
            frame(BODY, second),
            frame(HEARTBEAT, b""),
            method(GET_OK, &DELIVERED[2..]),
            header(3, &nested(0), b"m2"),
            frame(BODY, b"abc"),
            method(DELIVER, DELIVERED),
            header(0, &[], b"m3"),
        ]
        .concat()
    };
    let input = of(10, b"012345", b"6789");
    let (out, told) = passed(8, &input);
    assert_eq!(out, of(8, b"012345", b"67"));
    let told: Vec<(u64, bool)> = told.iter().map(|of| (of.size, of.altered)).collect();
    assert_eq!(told, [(10, false), (3, false), (0, false)]);
    let (out, _) = passed(0, &input);
    assert!(!out.windows(3).any(|window| window == b"abc"), "nothing of any body");
    assert_eq!(passed(u64::MAX, &input).0, input, "whole bodies are not touched");
}

#[test]
fn deep_tables_become_bytes_and_that_is_told() {
    let deep = nested(9_000);
    let input = [method(DELIVER, DELIVERED), header(1, &deep, b"id")].concat();
    let (out, told) = passed(8, &input);
    assert_eq!((out.len(), told), (input.len(), vec![Passed { size: 1, altered: true }]));
    let bytes = out.windows(3).position(|window| window == b"\x01nx").expect("it ends in bytes");
    assert_eq!(out[..bytes].windows(3).filter(|window| window == b"\x01nF").count(), DEPTH);
    let list = [vec![1, b'l', b'A', 0, 0, 0, 7, b'F', 0, 0, 0, 2], vec![0, b'V']].concat();
    let harmless = [method(DELIVER, DELIVERED), header(0, &list, b"m")].concat();
    assert_eq!(passed(8, &harmless), (harmless, vec![Passed { size: 0, altered: false }]));
}

#[test]
fn bad_texts_become_question_marks_wherever_a_message_comes_from() {
    for (kind, before) in [
        (DELIVER, &b"\x01c\0\0\0\0\0\0\0\x01\0"[..]),
        (GET_OK, &b"\0\0\0\0\0\0\0\x01\0"[..]),
        (RETURN, &b"\x01\x38\x02\xffx"[..]),
    ] {
        let input =
            [method(kind, &[before, b"\x02e\xff\x02\xc3\xa9"].concat()), header(1, &[], b"m")].concat();
        let (out, told) = passed(8, &input);
        assert!(out.windows(6).any(|window| window == b"\x02e?\x02\xc3\xa9"), "{kind}: {out:?}");
        let taken = vec![Passed { size: 1, altered: true }];
        assert_eq!(told, if kind == RETURN { Vec::new() } else { taken }, "{kind}");
    }
    let (out, told) = passed(8, &[method(DELIVER, DELIVERED), header(1, &[], b"a\xff\xc3")].concat());
    assert!(out.windows(3).any(|window| window == b"a??"));
    assert!(told[0].altered);
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
    let mut screen = Screen::new(Passing::told(8));
    let huge = [HEADER, 0, 1, 0xff, 0xff, 0xff, 0xff];
    assert!(screen.pass(&huge, &mut Vec::new()).is_err());
}
