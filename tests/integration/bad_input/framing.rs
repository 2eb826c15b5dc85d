//! Streams that are no frames, half of one, or frames nobody asked for.

use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::codec::encode_frame;
use orbitmq_common::protocol::frame::{Encoding, Frame};

use crate::servers::{Servers, TOPIC, send};
use crate::wire::Wire;

fn with_header(kind: u8, header: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_u32(4 + header.len() as u32);
    bytes.put_u32(u32::from(kind) << 24 | header.len() as u32);
    bytes.put_slice(header);
    bytes.to_vec()
}

/// Streams after which nobody can know where the next frame begins.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("a length of nothing", vec![0; 4]),
        ("a length below the header's mark", vec![0, 0, 0, 3, 0, 0, 0]),
        ("a length of 2 GiB", vec![0x7f, 0xff, 0xff, 0xff]),
        ("a length of 4 GiB", vec![0xff; 8]),
        ("a length of 17 MiB", ((17_u32 << 20).to_be_bytes()).to_vec()),
        ("a header longer than its frame", vec![0, 0, 0, 8, 0, 0, 0, 5, 1, 2, 3, 4]),
        ("serialize type 3", with_header(3, b"{}")),
        ("serialize type 255", with_header(255, b"")),
        ("an empty JSON header", with_header(0, b"")),
        ("a JSON header without a code", with_header(0, b"{}")),
        ("a JSON header with a code in words", with_header(0, br#"{"code":"ten"}"#)),
        ("a JSON header that is cut", with_header(0, br#"{"code":10,"flag""#)),
        ("a JSON header that nests", with_header(0, &[&br#"{"code":"#[..], &[b'['; 100_000]].concat())),
        ("a binary header that is cut", with_header(1, &[0; 20])),
        ("a MessagePack header that is none", with_header(2, b"hello")),
        ("a MessagePack header that nests", with_header(2, &[0x91; 100_000])),
    ];
    let mut lying = vec![0; 13];
    lying.extend_from_slice(&i32::MAX.to_be_bytes());
    lying.extend_from_slice(&[0; 8]);
    all.push(("a binary header with a lying remark", with_header(1, &lying)));
    all
}

fn closed_after(address: SocketAddr) {
    for (what, bytes) in broken() {
        let mut wire = Wire::connect(address);
        // The other end may be gone before everything is written.
        let _ = wire.send_bytes(&bytes);
        wire.assert_closed(what);
    }
}

#[test]
fn what_is_no_frame_closes_its_connection_alone() {
    let servers = Servers::start();
    let mut bystander = Wire::connect(servers.broker);
    closed_after(servers.broker);
    closed_after(servers.nameserver);
    assert_eq!(bystander.ask(send(Encoding::Json, TOPIC, b"still here")).code, 0);
    servers.serve_still();
}

#[test]
fn answers_to_whole_frames_come_before_the_end() {
    let servers = Servers::start();
    for (what, bytes) in broken() {
        let mut wire = Wire::connect(servers.nameserver);
        let mut stream = BytesMut::new();
        encode_frame(&Frame { opaque: 77, ..Frame::request(9_999, Encoding::Json) }, &mut stream);
        stream.put_slice(&bytes);
        let _ = wire.send_bytes(&stream);
        // A reset may overtake the answer.
        if let Some(answer) = wire.next() {
            assert_eq!((answer.opaque, answer.code), (77, 3), "{what}");
        }
        if wire.next().is_some() {
            panic!("{what}: more than one answer");
        }
    }
    servers.serve_still();
}

#[test]
fn frames_that_end_in_the_middle_leave_nothing_behind() {
    let servers = Servers::start();
    let mut whole = BytesMut::new();
    encode_frame(&send(Encoding::MessagePack, TOPIC, b"cut"), &mut whole);
    for length in 0..whole.len() {
        let mut wire = Wire::connect(servers.broker);
        wire.send_bytes(&whole[..length]).unwrap();
    }
    servers.serve_still();
}

#[test]
fn a_frame_byte_by_byte_is_a_frame() {
    let servers = Servers::start();
    let mut whole = BytesMut::new();
    encode_frame(&Frame { opaque: 5, ..send(Encoding::Binary, TOPIC, b"slow") }, &mut whole);
    let mut wire = Wire::connect(servers.broker);
    for byte in whole {
        wire.send_bytes(&[byte]).unwrap();
    }
    let answer = wire.next().unwrap();
    assert_eq!((answer.opaque, answer.code), (5, 0), "{:?}", answer.remark);
}

#[test]
fn answers_nobody_asked_for_are_ignored() {
    let servers = Servers::start();
    for address in [servers.broker, servers.nameserver] {
        let mut wire = Wire::connect(address);
        for flag in [1, 3, i32::MIN | 1, -1] {
            for opaque in [0, 1, -1, i32::MAX] {
                let mut bytes = BytesMut::new();
                encode_frame(&Frame { flag, opaque, ..Frame::request(0, Encoding::Json) }, &mut bytes);
                wire.send_bytes(&bytes).unwrap();
            }
        }
        assert_eq!(wire.ask(Frame::request(9_999, Encoding::Json)).code, 3);
    }
}

#[test]
fn nothing_is_said_to_those_who_want_no_answer() {
    let servers = Servers::start();
    for address in [servers.broker, servers.nameserver] {
        let mut wire = Wire::connect(address);
        for code in (0..=1010).filter(|code| *code != request::UPDATE_NAMESRV_CONFIG) {
            wire.send(Frame::request(code, Encoding::Json).oneway());
        }
        let opaque = wire.send(Frame::request(9_999, Encoding::Json));
        let first = wire.next().unwrap();
        assert_eq!(first.opaque, opaque, "{first:?}");
    }
    servers.serve_still();
}
