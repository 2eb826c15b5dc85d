//! Lengths that lie and readers that do not read take no memory to speak of.

use std::time::Duration;

use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::{Encoding, Frame};

use crate::servers::{Servers, TOPIC, send};
use crate::wire::Wire;

/// Memory of this process that is in use, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

const MIB: u64 = 1 << 20;

fn assert_grown_below(limit: u64, before: u64, what: &str) {
    let grown = resident().saturating_sub(before);
    assert!(grown < limit, "{what} took {} MiB", grown / MIB);
}

#[test]
fn two_hundred_claims_of_15_mib_take_little() {
    let servers = Servers::start();
    for address in [servers.broker, servers.nameserver] {
        let before = resident();
        let mut claims: Vec<_> = (0..200).map(|_| Wire::connect(address)).collect();
        for byte in 0..100_u8 {
            for wire in &mut claims {
                let piece = if byte == 0 { (15_u32 << 20).to_be_bytes().to_vec() } else { vec![0; 10] };
                wire.send_bytes(&piece).unwrap();
            }
        }
        // Answers on the same threads: what was sent before them has been read.
        let mut other = Wire::connect(address);
        for _ in 0..500 {
            assert_eq!(other.ask(Frame::request(9_999, Encoding::Json)).code, 3);
        }
        assert_grown_below(64 * MIB, before, "200 lying lengths");
        drop(claims);
        servers.serve_still();
    }
}

#[test]
fn a_reader_that_does_not_read_is_not_waited_for_in_memory() {
    let servers = Servers::start();
    // Runtime figures and topic lists are long; their requests are short.
    for (address, code) in
        [(servers.broker, request::GET_ALL_TOPIC_CONFIG), (servers.nameserver, request::GET_BROKER_CLUSTER_INFO)]
    {
        let before = resident();
        let mut deaf = Wire::connect(address);
        deaf.patience(Duration::from_millis(500));
        let mut bytes = bytes::BytesMut::new();
        for _ in 0..1_000 {
            orbitmq_common::protocol::codec::encode_frame(&Frame::request(code, Encoding::Json), &mut bytes);
        }
        // Until the server stops reading, at the latest after what would be gigabytes of answers.
        let written = (0..1_000).take_while(|_| deaf.send_bytes(&bytes).is_ok()).count();
        assert_grown_below(96 * MIB, before, &format!("{written} thousand unread answers"));
        drop(deaf);
        servers.serve_still();
    }
}

#[test]
fn large_messages_in_flight_are_limited() {
    let servers = Servers::start();
    let before = resident();
    let body = vec![b'x'; 4 << 20];
    let mut wires: Vec<_> = (0..8).map(|_| Wire::connect(servers.broker)).collect();
    for _ in 0..4 {
        for wire in &mut wires {
            wire.send(send(Encoding::MessagePack, TOPIC, &body));
        }
    }
    for wire in &mut wires {
        for _ in 0..4 {
            let answer = wire.next().expect("an answer");
            let busy = answer.code == 2 && answer.remark.as_deref().is_some_and(|remark| !remark.is_empty());
            assert!(answer.code == 0 || busy, "{}: {:?}", answer.code, answer.remark);
        }
    }
    drop(wires);
    servers.serve_still();
    // Buffers of the moment and mapped pages of the log, which the system takes back.
    assert_grown_below(600 * MIB, before, "32 messages of 4 MiB");
}
