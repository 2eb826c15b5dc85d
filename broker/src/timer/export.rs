//! What waits, in the files of RocketMQ's timers, so that its broker goes on with this directory: written at every clean stop.
//!
//! ```text
//! timerlog/   units of 52 bytes: size 4 | unit before in its slot 8 | kind 4 | written at 8 | due so many ms later 4
//!             log offset 8 | size there 4 | hash of the topic 4 | 0 8
//! timerwheel  slots of 32 bytes, one a second of fourteen days: second 8 | first unit 8 | last unit 8 | units 4 | 0 4
//! config/timercheck  the answer to 60
//! ```
//! Everything is big endian. Its broker reads the timer queue on from behind the message of the last unit: so the last one is of the
//! queue's last message, waiting or not.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hashbrown::HashMap;

use crate::store::due::Kind;
use crate::timer::engine::Engine;
use crate::timer::load::Seen;

const UNIT: u64 = 52;
/// A file of RocketMQ's timer log.
const LOG_FILE: u64 = 100 << 20;
/// What a file must have left at its end.
const BLANK: u64 = 16;
const BLANK_MAGIC: u32 = 0xBBCC_DDEE ^ 1_880_681_594;
const SLOT: u64 = 32;
/// One a second of twice seven days.
const SLOTS: i64 = 2 * 7 * 86_400;
/// What is due later is looked at again then, ms.
const WINDOW: i64 = 2 * 86_400_000;
const CHECKPOINT: usize = 4_096;
const SECOND: i64 = 1_000;

/// Kinds of units, bits.
const PLAIN: u32 = 1;
const LATER: u32 = 2;
const RECALL: u32 = 4;

struct Slot {
    first: u64,
    last: u64,
    units: i32,
}

/// Writes the files below `dir` as of `now`, ms since the epoch; returns the checkpoint. `None`: no message ever waited here, and there is
/// nothing to write.
///
/// # Errors
/// A file cannot be written.
pub fn write(engine: &mut Engine, dir: &Path, now: i64) -> io::Result<Option<Vec<u8>>> {
    let (waiting, last) = engine.all_waiting();
    let Some(last) = last else { return Ok(None) };
    let earliest = waiting.iter().map(|seen| seen.key.due).min().unwrap_or(now);
    let from = earliest.min(now) / SECOND * SECOND;
    let logs = dir.join("timerlog");
    if logs.exists() {
        fs::remove_dir_all(&logs)?;
    }
    fs::create_dir_all(&logs)?;
    let mut log = Log { dir: &logs, file: None, at: 0 };
    let mut slots: HashMap<i64, Slot> = HashMap::new();
    for seen in &waiting {
        let later = seen.key.due - from >= WINDOW;
        let due = if later { from + WINDOW } else { seen.key.due };
        let recall = seen.key.kind() == Kind::Recall;
        let kind = PLAIN | if later { LATER } else { 0 } | if recall { RECALL } else { 0 };
        let slot = slots.entry(due / SECOND).or_insert(Slot { first: u64::MAX, last: u64::MAX, units: 0 });
        let at = log.put(slot.last, kind, from, due - from, seen)?;
        slot.first = if slot.first == u64::MAX { at } else { slot.first };
        slot.last = at;
        slot.units += if recall { -1 } else { 1 };
    }
    if waiting.last().is_none_or(|seen| seen.queue != last.queue) {
        // Of a time that is over: nobody looks at it there.
        log.put(u64::MAX, PLAIN, from - 10 * SECOND, 0, &last)?;
    }
    log.finish()?;
    write_wheel(&dir.join("timerwheel"), &slots)?;
    let queue = i64::try_from(last.queue + 1).unwrap_or(0);
    let mut checkpoint = [from, 0, queue, queue, 0, now, 1].map(i64::to_be_bytes).concat();
    checkpoint.resize(CHECKPOINT, 0);
    Ok(Some(checkpoint))
}

struct Log<'a> {
    dir: &'a Path,
    file: Option<BufWriter<File>>,
    at: u64,
}

impl Log<'_> {
    fn put(&mut self, before: u64, kind: u32, written: i64, wait: i64, seen: &Seen) -> io::Result<u64> {
        let rest = LOG_FILE - self.at % LOG_FILE;
        if rest < UNIT + BLANK {
            let blank = [&rest_of(rest)[..], &[0; 8], &BLANK_MAGIC.to_be_bytes()].concat();
            self.out()?.write_all(&blank)?;
            self.finish()?;
            self.at += rest;
        }
        let at = self.at;
        let mut unit = Vec::with_capacity(52);
        unit.extend(rest_of(UNIT));
        unit.extend(before.to_be_bytes());
        unit.extend(kind.to_be_bytes());
        unit.extend(written.to_be_bytes());
        unit.extend(i32::try_from(wait).unwrap_or(i32::MAX).to_be_bytes());
        unit.extend(seen.key.log_offset().to_be_bytes());
        unit.extend(seen.size.to_be_bytes());
        unit.extend([0; 12]);
        self.out()?.write_all(&unit)?;
        self.at += UNIT;
        Ok(at)
    }

    fn out(&mut self) -> io::Result<&mut BufWriter<File>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = File::create(self.dir.join(format!("{:020}", self.at / LOG_FILE * LOG_FILE)))?;
                file.set_len(LOG_FILE)?;
                BufWriter::with_capacity(1 << 20, file)
            }
        };
        Ok(self.file.insert(file))
    }

    fn finish(&mut self) -> io::Result<()> {
        match self.file.take() {
            Some(file) => file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn rest_of(bytes: u64) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

fn write_wheel(path: &Path, slots: &HashMap<i64, Slot>) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(SLOTS.unsigned_abs() * SLOT)?;
    for (second, slot) in slots {
        let parts = [second.cast_unsigned(), slot.first, slot.last].map(u64::to_be_bytes);
        let bytes = [parts.concat(), slot.units.to_be_bytes().to_vec(), vec![0; 4]].concat();
        let index = second.rem_euclid(SLOTS).unsigned_abs();
        file.write_all_at(&bytes, index * SLOT)?;
    }
    file.sync_all()
}
