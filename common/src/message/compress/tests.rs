//! Compressed bodies of every kind, bombs and damaged streams.

use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

const LZ4: u32 = sysflag::COMPRESSED | sysflag::COMPRESSION_LZ4;
const ZSTD: u32 = sysflag::COMPRESSED | sysflag::COMPRESSION_ZSTD;
const ZLIB: u32 = sysflag::COMPRESSED | sysflag::COMPRESSION_ZLIB;

fn lz4(body: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn of_each_kind(body: &[u8]) -> [(u32, Bytes); 4] {
    let zlib = compress_zlib(body).unwrap();
    [
        (sysflag::COMPRESSED, zlib.clone()),
        (ZLIB, zlib),
        (LZ4, lz4(body).into()),
        (ZSTD, compress_to_vec(body, CompressionLevel::Fastest).into()),
    ]
}

#[test]
fn plain_bodies_pass() {
    let body = Bytes::from_static(b"plain");
    assert_eq!(decompress(&body, 0, 1).unwrap(), body);
}

#[test]
fn bombs_stop_at_the_limit() {
    for (flag, packed) in of_each_kind(&vec![0; 4 << 20]) {
        assert!(packed.len() < 1 << 20);
        assert!(matches!(decompress(&packed, flag, 1 << 20), Err(CompressError::Limit(_))), "{flag:#x}");
        assert_eq!(decompress(&packed, flag, 4 << 20).unwrap().len(), 4 << 20, "{flag:#x}");
    }
}

#[test]
fn unknown_kinds_and_damage_are_told() {
    let body = Bytes::from_static(b"not compressed at all");
    assert!(matches!(decompress(&body, sysflag::COMPRESSED | 5 << 8, 99), Err(CompressError::Kind(5))));
    for flag in [ZLIB, LZ4, ZSTD] {
        assert!(matches!(decompress(&body, flag, 99), Err(CompressError::Damaged { .. })), "{flag:#x}");
    }
    let zlib = compress_zlib(b"some text that is longer than a few bytes").unwrap();
    assert!(decompress(&zlib.slice(..zlib.len() - 6), ZLIB, 999).is_err());
}

proptest! {
    #[test]
    fn packed_is_unpacked(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for (flag, packed) in of_each_kind(&body) {
            prop_assert_eq!(&decompress(&packed, flag, body.len()).unwrap()[..], &body[..]);
        }
    }

    #[test]
    fn garbage_is_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), flag in any::<u32>()) {
        let bytes = Bytes::from(bytes);
        let _ = decompress(&bytes, flag, 1 << 16);
        for (kind, packed) in of_each_kind(&bytes) {
            let _ = decompress(&packed.slice(..packed.len() / 2), kind, 1 << 16);
        }
    }
}
