//! The entries of the fuzzer in the normal test run: any bytes, the captured frames and records, and damaged ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

mod entries;

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use entries::{message, recovery, wire};

/// Contents of the files below a folder of golden bytes.
fn golden(folder: &str) -> Vec<Vec<u8>> {
    fn read(dir: &Path, all: &mut Vec<Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { read(&path, all) } else { all.push(std::fs::read(path).unwrap()) }
        }
    }
    let mut all = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(folder), &mut all);
    assert!(all.len() > 5);
    all
}

fn captured_frames() -> &'static [Vec<u8>] {
    static FRAMES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FRAMES.get_or_init(|| golden("frames"))
}

fn captured_logs() -> &'static [Vec<u8>] {
    static LOGS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    LOGS.get_or_init(|| golden("records"))
}

/// The conditions that Apache RocketMQ has judged.
fn conditions() -> &'static [Vec<u8>] {
    static CONDITIONS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CONDITIONS.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/filters/expressions");
        std::fs::read_to_string(path).unwrap().lines().map(|line| line.as_bytes().to_vec()).collect()
    })
}

/// Some sound bytes with a few changes: overwritten, cut, or a piece of them again.
fn damaged(sound: &'static [Vec<u8>]) -> impl Strategy<Value = Vec<u8>> {
    let changes = vec((0_u8..4, any::<Index>(), any::<Index>(), any::<u8>()), 0..6);
    (select(sound), changes).prop_map(|(mut bytes, changes)| {
        for (kind, from, to, value) in changes {
            if bytes.is_empty() {
                break;
            }
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            match kind {
                0 => bytes[to] = value,
                1 => bytes[to] ^= 1 << (value % 8),
                2 if value % 4 == 0 => bytes.truncate(to),
                _ => {
                    let piece = bytes[from..(from + usize::from(value)).min(bytes.len())].to_vec();
                    bytes.iter_mut().skip(to).zip(piece).for_each(|(byte, new)| *byte = new);
                }
            }
        }
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..400)
}

/// The body of a captured frame.
fn body(frame: &[u8]) -> &[u8] {
    let header = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
    &frame[8 + header..]
}

#[test]
fn captured_bytes_pass_every_entry() {
    for frame in captured_frames() {
        wire::frame(frame);
        wire::headers(frame);
        wire::body(body(frame));
        message::batch(body(frame));
        message::record(body(frame));
    }
    for log in captured_logs() {
        message::record(log);
        message::properties(log);
    }
    for condition in conditions() {
        message::filter(condition);
    }
}

proptest! {
    #[test]
    fn frames(data in prop_oneof![any_bytes(), damaged(captured_frames())]) {
        wire::frame(&data);
    }

    #[test]
    fn headers(data in damaged(captured_frames())) {
        wire::headers(&data);
    }

    #[test]
    fn bodies(data in prop_oneof![any_bytes(), damaged(captured_frames()).prop_map(|frame| frame.get(8..).unwrap_or_default().to_vec())]) {
        wire::body(&data);
    }

    #[test]
    fn properties(data in prop_oneof![any_bytes(), "([a-c]{0,2}[\u{1}\u{2}]?){0,9}".prop_map(String::into_bytes)]) {
        message::properties(&data);
    }

    #[test]
    fn batches(data in any_bytes(), sound in vec((any::<i32>(), vec(any::<u8>(), 0..9)), 0..5), at in any::<Index>(), value in any::<u8>()) {
        message::batch(&data);
        let entries = sound.iter().map(|(flag, body)| orbitmq_common::message::batch::BatchEntry { flag: *flag, body, properties: "a\u{1}b\u{2}" });
        let mut data = orbitmq_common::message::batch::encode(entries).unwrap().to_vec();
        message::batch(&data);
        if !data.is_empty() {
            let at = at.index(data.len());
            data[at] = value;
            message::batch(&data);
        }
    }

    #[test]
    fn filters(data in prop_oneof![any_bytes(), damaged(conditions())]) {
        message::filter(&data);
    }

    #[test]
    fn records(data in prop_oneof![any_bytes(), damaged(captured_logs())]) {
        message::record(&data);
    }
}

/// Threads of the store end in silence when they panic; this notices.
fn watch_panics() -> &'static AtomicBool {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("store-")) {
                PANICKED.store(true, Ordering::SeqCst);
            }
            before(info);
        }));
    });
    &PANICKED
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_stores(choice in any::<u8>(), changes in vec(any::<[u8; 9]>(), 0..6)) {
        let panicked = watch_panics();
        recovery::recovery(&[&[choice][..], changes.concat().as_slice()].concat());
        prop_assert!(!panicked.load(Ordering::SeqCst), "a thread of the store panicked");
    }
}
