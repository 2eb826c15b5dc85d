//! Whole frames: there and back however the stream is cut, and frames that lie about themselves.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use super::fill::odd_text;
use super::table::HEADERS;
use crate::protocol::codec::{DecodeError, FrameCodec, MAX_FRAME, decode_frame, encode_frame, encode_head};
use crate::protocol::frame::{Encoding, Frame};
use crate::protocol::header::nameserver::KvResponse;
use crate::protocol::json::{language_code, language_name};

fn frame() -> impl Strategy<Value = Frame> {
    let header = (0_usize..3, any::<i16>(), 0_u8..14, any::<i16>(), any::<i32>(), any::<i32>());
    let remark = prop::option::of(vec(any::<u8>(), 1..20));
    let content = (0..HEADERS.len(), vec(any::<u8>(), 0..60), any::<bool>(), vec(any::<u8>(), 0..60));
    (header, remark, content).prop_map(|(fixed, remark, (kind, drawn, bare, body))| {
        let (encoding, code, language, version, opaque, flag) = fixed;
        let encoding = [Encoding::Json, Encoding::Binary, Encoding::MessagePack][encoding];
        let mut frame = (HEADERS[kind].filled)(&drawn, encoding);
        if bare {
            frame.raw_fields = Bytes::new();
        }
        frame.code = i32::from(code);
        frame.language = language;
        frame.version = i32::from(version);
        frame.opaque = opaque;
        frame.flag = flag;
        frame.remark = remark.map(|bytes| odd_text(&bytes));
        frame.with_body(body)
    })
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    encode_frame(frame, &mut out);
    out
}

fn decoded(codec: &mut FrameCodec, source: &mut BytesMut) -> Vec<Frame> {
    std::iter::from_fn(|| codec.decode(source).unwrap()).collect()
}

proptest! {
    #[test]
    fn a_frame_cut_anywhere_is_the_same_frame(frame in frame()) {
        let bytes = encoded(&frame);
        for cut in 0..=bytes.len() {
            let mut source = BytesMut::from(&bytes[..cut]);
            let mut codec = FrameCodec::default();
            let mut seen = decoded(&mut codec, &mut source);
            prop_assert_eq!(seen.len(), usize::from(cut == bytes.len()));
            source.extend_from_slice(&bytes[cut..]);
            seen.extend(decoded(&mut codec, &mut source));
            prop_assert_eq!(seen.as_slice(), std::slice::from_ref(&frame), "cut at {}", cut);
            prop_assert!(source.is_empty());
        }
    }

    #[test]
    fn a_stream_in_pieces_is_the_same_frames(frames in vec(frame(), 1..6), piece in 1_usize..40) {
        let bytes: Vec<u8> = frames.iter().flat_map(encoded).collect();
        let (mut source, mut codec, mut seen) = (BytesMut::new(), FrameCodec::default(), Vec::new());
        for chunk in bytes.chunks(piece) {
            source.extend_from_slice(chunk);
            seen.extend(decoded(&mut codec, &mut source));
        }
        prop_assert_eq!(seen, frames);
    }

    #[test]
    fn decoding_and_encoding_again_keeps_every_byte(frame in frame()) {
        let bytes = encoded(&frame);
        prop_assert_eq!(encoded(&decode_frame(bytes.clone().freeze().slice(4..)).unwrap()), bytes);
    }

    #[test]
    fn a_body_in_pieces_counts_as_one(mut frame in frame(), pieces in vec(vec(any::<u8>(), 0..9), 0..5)) {
        frame.more = pieces.into_iter().map(Bytes::from).collect();
        let (mut head, whole) = (BytesMut::new(), encoded(&frame));
        encode_head(&frame, &mut head);
        prop_assert_eq!(head.len() + frame.body_len(), whole.len());
        let read = decode_frame(whole.freeze().slice(4..)).unwrap();
        let body: Vec<u8> = std::iter::once(&frame.body).chain(&frame.more).flatten().copied().collect();
        prop_assert_eq!(read.body, body);
    }

    #[test]
    fn any_bytes_are_frames_or_refused_within_bounds(bytes in vec(any::<u8>(), 0..300), small in any::<bool>()) {
        let mut source = BytesMut::from(bytes.as_slice());
        if small && source.len() > 2 {
            // Else nearly every length is far too long.
            source[0] = 0;
            source[1] = 0;
        }
        let mut codec = FrameCodec::default();
        while let Ok(Some(_)) = codec.decode(&mut source) {}
        prop_assert!(source.capacity() < 600 * 1024, "{} bytes", source.capacity());
    }

    #[test]
    fn any_header_is_read_or_refused_in_few_words(
        header in vec(any::<u8>(), 0..200), kind in 0_u8..3, plausible in any::<bool>(),
    ) {
        let mut bytes = BytesMut::new();
        let start: &[u8] = match (plausible, kind) {
            (false, _) => b"",
            (true, 0) => br#"{"code":10,"remark":""#,
            (true, 1) => &[0, 10, 0, 1, 0x11, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0],
            (true, _) => &[0x96, 10, 0, 1, 9, 0],
        };
        bytes.put_u32(u32::from(kind) << 24 | (start.len() + header.len()) as u32);
        bytes.put_slice(start);
        bytes.put_slice(&header);
        if let Err(error) = decode_frame(bytes.freeze()) {
            let text = error.to_string();
            prop_assert!(!text.is_empty() && text.len() < 250, "{}", text);
        }
    }
}

fn refused(bytes: &[u8]) -> DecodeError {
    FrameCodec::default().decode(&mut BytesMut::from(bytes)).unwrap_err()
}

#[test]
fn lengths_that_cannot_be_are_refused_at_once() {
    for length in [MAX_FRAME as u32 + 1, 0x1603_0100, u32::from_be_bytes(*b"GET "), i32::MAX as u32, u32::MAX] {
        assert!(matches!(refused(&length.to_be_bytes()), DecodeError::TooLong { limit: MAX_FRAME, .. }), "{length}");
    }
    for length in 0_u32..4 {
        assert!(matches!(refused(&length.to_be_bytes()), DecodeError::LyingHeader { .. }), "{length}");
    }
    let text = refused(&u32::MAX.to_be_bytes()).to_string();
    assert!(text.contains("4294967295") && text.contains("16777216"), "{text}");
}

#[test]
fn the_longest_frame_is_still_read() {
    let frame = Frame::request(10, Encoding::Json);
    let head = encoded(&frame).len() - 4;
    let longest = frame.clone().with_body(vec![7; MAX_FRAME - head]);
    let mut source = encoded(&longest);
    assert_eq!(FrameCodec::default().decode(&mut source).unwrap(), Some(longest));
    let longer = frame.with_body(vec![7; MAX_FRAME - head + 1]);
    assert!(matches!(refused(&encoded(&longer)), DecodeError::TooLong { .. }));
}

#[test]
fn a_long_claim_alone_takes_no_memory() {
    let mut source = BytesMut::from(&(15_u32 << 20).to_be_bytes()[..]);
    let mut codec = FrameCodec::default();
    for _ in 0..100 {
        assert_eq!(codec.decode(&mut source).unwrap(), None);
        source.put_u8(0);
    }
    assert!(source.capacity() < 600 * 1024, "{} bytes", source.capacity());
}

#[test]
fn a_header_that_does_not_fit_is_replaced_by_an_error() {
    let value = KvResponse { value: "x".repeat(1 << 24).into() };
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::MessagePack] {
        let request = Frame { opaque: 9, ..Frame::request(101, encoding) };
        let answer = request.answer(0).with_fields(&value).with_body("body");
        let mut source = encoded(&answer);
        let read = FrameCodec::default().decode(&mut source).unwrap().unwrap();
        assert_eq!((read.code, read.opaque, read.is_answer(), read.body.as_ref()), (1, 9, true, &b"body"[..]));
        assert!(read.remark.unwrap().contains("ask for less") && source.is_empty());
        assert!(value.value.len() > read.raw_fields.len());
    }
}

#[test]
fn remarks_end_where_they_would_be_too_long() {
    let answer = Frame::request(1, Encoding::Json).refuse(29, "é".repeat(1 << 20));
    assert_eq!(answer.remark.map(|remark| (remark.len(), remark.chars().all(|c| c == 'é'))), Some((2048, true)));
}

#[test]
fn headers_longer_than_their_frame_are_refused() {
    for (length, header) in [(4_u32, 1_u32), (4, 0x00ff_ffff), (30, 27), (100, 97)] {
        let mut bytes = BytesMut::new();
        bytes.put_u32(length);
        bytes.put_u32(header);
        bytes.put_bytes(b' ', length as usize - 4);
        assert!(matches!(refused(&bytes), DecodeError::LyingHeader { .. }), "{length} {header}");
    }
}

#[test]
fn unknown_serialize_types_are_named() {
    for kind in 3..=255_u8 {
        let error = refused(&[0, 0, 0, 4, kind, 0, 0, 0]);
        assert!(matches!(error, DecodeError::UnknownEncoding(found) if found == kind));
        assert!(error.to_string().contains(&format!("type {kind} is unknown")));
    }
}

#[test]
fn headers_that_are_not_of_their_encoding_are_refused() {
    let bombs: [(u8, Vec<u8>); 9] = [
        (0, b"".to_vec()),
        (0, b"[]".to_vec()),
        (0, b"{}".to_vec()),
        (0, b"{\"code\":\"ten\"}".to_vec()),
        (0, format!("{{\"code\":{}1}}", "[".repeat(1 << 20)).into_bytes()),
        (1, vec![0; 20]),
        (1, [&[0; 13][..], &i32::MAX.to_be_bytes()[..], &[0; 4]].concat()),
        (2, vec![0x91; 1 << 20]),
        (2, vec![0x96, 10, 0, 1, 9, 0, 0xdb, 0xff, 0xff, 0xff, 0xff]),
    ];
    for (kind, header) in bombs {
        let mut bytes = BytesMut::new();
        bytes.put_u32(u32::from(kind) << 24 | header.len() as u32);
        bytes.put_slice(&header);
        let error = decode_frame(bytes.freeze()).expect_err("no header");
        assert!(matches!(error, DecodeError::Header(_)), "{error}");
        assert!(error.to_string().len() < 250, "{error}");
    }
}

#[test]
fn headers_of_foreign_clients_are_read() {
    let read = |header: &str| {
        let mut bytes = BytesMut::new();
        bytes.put_u32(header.len() as u32);
        bytes.put_slice(header.as_bytes());
        decode_frame(bytes.freeze()).unwrap()
    };
    let bare = read(r#"{"code":105}"#);
    assert_eq!((bare.code, bare.language, bare.version, bare.opaque, bare.flag), (105, 7, 0, 0, 0));
    let odd =
        read(r#" {"extFields" : null, "language":"KLINGON","remark":null,"code":1,"unknown":{"a":[1]},"flag":1} "#);
    assert!(odd.is_answer() && odd.remark.is_none() && odd.raw_fields.is_empty());
    let escaped = read(r#"{"code":1,"language":"\u0047O","remark":"\u00e9\ud83d\ude00\"","extFields":{}}"#);
    assert_eq!((escaped.language, escaped.remark.as_deref()), (9, Some("é😀\"")));
}

#[test]
fn languages_keep_their_numbers() {
    for code in 0..14 {
        assert_eq!(language_code(language_name(code)), code);
    }
    assert_eq!((language_code("RUST"), language_code("GO"), language_code("CPP")), (12, 9, 1));
    assert_eq!((language_name(200), language_code("")), ("OTHER", 7));
}
