//! Time to write and to read a send request with 1 KiB of body, in each encoding, and its record.
#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orbitmq_common::message::record::{self, NewRecord, RecordView};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::codec::{FrameCodec, encode_head};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::send::SendRequestV2;
use tokio_util::codec::Decoder;

const BODY: usize = 1024;
const PROPERTIES: &str =
    "UNIQ_KEY\u{1}7F00000100002A9F5C8A4B1D2E3F0001\u{2}KEYS\u{1}order-4711\u{2}TAGS\u{1}paid\u{2}WAIT\u{1}true\u{2}";

fn header() -> SendRequestV2<'static> {
    SendRequestV2 {
        producer_group: "orders".into(),
        topic: "Orders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: 3,
        born_timestamp: 1_700_000_000_000,
        properties: Some(PROPERTIES.into()),
        broker_name: Some("broker-a".into()),
        ..SendRequestV2::default()
    }
}

fn send(encoding: Encoding, body: &Bytes) -> Frame {
    Frame::request(request::SEND_MESSAGE_V2, encoding).with_fields(&header()).with_body(body.clone())
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send request");
    let body = Bytes::from(vec![b'x'; BODY]);
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::MessagePack] {
        group.bench_function(format!("{encoding:?} write"), |bencher| {
            let mut out = BytesMut::with_capacity(4096);
            bencher.iter(|| {
                out.clear();
                encode_head(&send(encoding, &body), &mut out);
                black_box(out.len())
            });
        });
        let mut wire = BytesMut::new();
        encode_head(&send(encoding, &body), &mut wire);
        wire.extend_from_slice(&body);
        let wire = wire.freeze();
        group.bench_function(format!("{encoding:?} read"), |bencher| {
            let mut codec = FrameCodec::default();
            bencher.iter(|| {
                let mut source = BytesMut::from(wire.as_ref());
                let frame = codec.decode(&mut source).unwrap().unwrap();
                black_box(frame.fields::<SendRequestV2<'_>>().unwrap().queue_id)
            });
        });
    }
    group.finish();
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record");
    let (body, host) = (vec![b'x'; BODY], SocketAddr::from(([127, 0, 0, 1], 10_911)));
    let new = NewRecord {
        topic: "Orders",
        queue_id: 3,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_offset: 0,
        body: &body,
        properties: PROPERTIES.as_bytes(),
    };
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("write and seal", |bencher| {
        bencher.iter(|| {
            out.clear();
            new.encode_into(&mut out).unwrap();
            record::seal(&mut out, 1, 2, 3).unwrap();
            black_box(out.len())
        });
    });
    group.bench_function("read", |bencher| bencher.iter(|| black_box(RecordView::parse(&out).unwrap().queue_offset)));
    group.bench_function("read and check", |bencher| {
        bencher.iter(|| RecordView::parse(&out).unwrap().verify().unwrap());
    });
    group.finish();
}

criterion_group!(benches, frames, records);
criterion_main!(benches);
