//! The captured frames and what their file names say about them.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use orbitmq_common::protocol::codec::FrameCodec;
use orbitmq_common::protocol::frame::{Encoding, Frame};
use tokio_util::codec::Decoder;

/// One captured frame.
pub struct Sample {
    /// Name of its file.
    pub file: String,
    /// `request`, `response`, `push` or `reply`.
    pub direction: String,
    /// Code of the request, also for an answer.
    pub code: i32,
    /// RocketMQ's name of that code, in small letters.
    pub name: String,
    pub encoding: Encoding,
    pub bytes: Bytes,
    pub frame: Frame,
}

impl Sample {
    /// Sent by the capture's own program, not by Apache's client or daemons.
    pub fn is_odd(&self) -> bool {
        self.direction == "request" && self.frame.language == 7
    }
}

/// All captured frames, by file name.
pub fn all() -> Vec<Sample> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/frames");
    let mut all: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| read(&entry.unwrap().path())).collect();
    all.sort_by(|a, b| a.file.cmp(&b.file));
    assert!(all.len() > 200, "{} frames", all.len());
    all
}

fn read(path: &Path) -> Sample {
    let file = path.file_name().unwrap().to_str().unwrap().to_owned();
    let parts: Vec<_> = file.strip_suffix(".bin").unwrap().split('-').collect();
    let [direction, code, name, encoding, _] = parts[..] else { panic!("{file}") };
    let encoding = match encoding {
        "json" => Encoding::Json,
        "binary" => Encoding::Binary,
        other => panic!("{file}: {other}"),
    };
    let bytes = Bytes::from(std::fs::read(path).unwrap());
    let mut source = BytesMut::from(bytes.as_ref());
    let frame = FrameCodec::default().decode(&mut source).unwrap().unwrap_or_else(|| panic!("{file} is cut"));
    assert!(source.is_empty(), "{file} holds more than a frame");
    let (direction, name) = (direction.to_owned(), name.to_owned());
    Sample { direction, code: code.parse().unwrap(), name, encoding, bytes, frame, file }
}
