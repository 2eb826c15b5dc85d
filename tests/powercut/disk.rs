//! The disk that loses power: what is surely on it, what is not, and what may be left of that.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

use crate::record::Op;

const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// Files by name, as they are found after a cut.
pub type Image = BTreeMap<String, Arc<Vec<u8>>>;

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Directory,
    File(usize),
}

/// One step of a directory's history: what names lead to from then on. It survives as a whole or not at all.
type Naming = Vec<(String, Option<Target>)>;

/// A change of a file's content that was not flushed.
#[derive(Debug, Clone)]
enum Change {
    Write(usize, Arc<[u8]>),
    Length(usize),
    Zero(usize, usize),
}

#[derive(Debug, Clone, Default)]
struct Content {
    safe: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

/// The disk behind a number of changes.
#[derive(Debug, Clone, Default)]
pub struct Platter {
    files: Vec<Content>,
    names: BTreeMap<String, Target>,
    safe_names: BTreeMap<String, Target>,
    pending_names: Vec<Naming>,
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Platter {
    /// A disk on which everything is safe.
    pub fn of(image: &Image) -> Self {
        let mut platter = Self::default();
        for (name, bytes) in image {
            let mut dir = parent(name);
            while !dir.is_empty() {
                platter.names.insert(dir.to_owned(), Target::Directory);
                dir = parent(dir);
            }
            platter.names.insert(name.clone(), Target::File(platter.files.len()));
            platter.files.push(Content { safe: Arc::clone(bytes), pending: Vec::new() });
        }
        platter.safe_names = platter.names.clone();
        platter
    }

    /// One change more.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::MakeDir(name) => self.make_dir(name),
            Op::Create(name) => {
                if !self.names.contains_key(name) {
                    self.make_dir(parent(name));
                    self.files.push(Content::default());
                    self.put(vec![(name.clone(), Some(Target::File(self.files.len() - 1)))]);
                }
            }
            Op::Write(name, at, bytes) => self.change(name, Change::Write(*at, Arc::clone(bytes))),
            Op::Length(name, len) => self.change(name, Change::Length(*len)),
            Op::Zero(name, at, len) => self.change(name, Change::Zero(*at, *len)),
            Op::SyncData(name) => {
                if let Some(content) = self.content(name) {
                    content.settle();
                }
            }
            Op::SyncDir(dir) => self.settle_names(|name| parent(name) == dir),
            Op::SyncAll => {
                self.files.iter_mut().for_each(Content::settle);
                self.settle_names(|_| true);
            }
            Op::Rename(from, to) => {
                if let Some(target) = self.names.get(from).copied() {
                    self.put(vec![(from.clone(), None), (to.clone(), Some(target))]);
                }
            }
            Op::Remove(name) => self.put(vec![(name.clone(), None)]),
            Op::Promise(_) | Op::Cut(_) => {}
        }
    }

    fn make_dir(&mut self, name: &str) {
        if !name.is_empty() && !self.names.contains_key(name) {
            self.make_dir(parent(name));
            self.put(vec![(name.to_owned(), Some(Target::Directory))]);
        }
    }

    fn put(&mut self, naming: Naming) {
        assign(&mut self.names, &naming);
        self.pending_names.push(naming);
    }

    fn content(&mut self, name: &str) -> Option<&mut Content> {
        match self.names.get(name) {
            Some(Target::File(number)) => self.files.get_mut(*number),
            _ => None,
        }
    }

    fn change(&mut self, name: &str, change: Change) {
        if let Some(content) = self.content(name) {
            content.pending.push(change);
        }
    }

    fn settle_names(&mut self, is_meant: impl Fn(&str) -> bool) {
        let (settled, pending): (Vec<_>, _) = std::mem::take(&mut self.pending_names)
            .into_iter()
            .partition(|naming| naming.iter().any(|(name, _)| is_meant(name)));
        settled.iter().for_each(|naming| assign(&mut self.safe_names, naming));
        self.pending_names = pending;
    }

    /// What may be found when the power is back.
    pub fn cut(&self, chance: &mut Rng) -> Image {
        let names = self.names_after_cut(chance);
        let unit = if chance.bool() { SECTOR } else { PAGE };
        let mut image = Image::new();
        for (name, target) in &names {
            let Target::File(number) = target else { continue };
            // What lies in a directory of which the name was lost is lost with it.
            let mut dir = parent(name);
            while !dir.is_empty() && names.get(dir) == Some(&Target::Directory) {
                dir = parent(dir);
            }
            if dir.is_empty() {
                image.insert(name.clone(), self.files[*number].after_cut(unit, chance));
            }
        }
        image
    }

    /// A journal keeps a beginning of what was not flushed; without one, each name may have stopped at any of its steps.
    fn names_after_cut(&self, chance: &mut Rng) -> BTreeMap<String, Target> {
        let mut names = self.safe_names.clone();
        let journal = chance.bool();
        let kept = match chance.u8(0..4) {
            0 => 0,
            1 => self.pending_names.len(),
            _ => chance.usize(0..=self.pending_names.len()),
        };
        let mut lost: Vec<&str> = Vec::new();
        for (number, naming) in self.pending_names.iter().enumerate() {
            let survives = if journal { number < kept } else { chance.u8(0..4) > 0 };
            if survives && !naming.iter().any(|(name, _)| lost.contains(&name.as_str())) {
                assign(&mut names, naming);
            } else {
                lost.extend(naming.iter().map(|(name, _)| name.as_str()));
            }
        }
        names
    }
}

fn assign(names: &mut BTreeMap<String, Target>, naming: &Naming) {
    for (name, target) in naming {
        match target {
            Some(target) => names.insert(name.clone(), *target),
            None => names.remove(name),
        };
    }
}

impl Content {
    fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let bytes = Arc::make_mut(&mut self.safe);
        for change in self.pending.drain(..) {
            change.apply(bytes, &mut |_| true);
            change.set_length(bytes);
        }
    }

    /// Each unit holds what it held at some moment since the last flush; the length too, but at another moment.
    fn after_cut(&self, unit: usize, chance: &mut Rng) -> Arc<Vec<u8>> {
        let all = self.pending.len();
        let luck = chance.u8(0..5);
        if all == 0 || luck == 0 {
            return Arc::clone(&self.safe);
        }
        let mut bytes = self.safe.to_vec();
        let longest = self.pending.iter().map(Change::end).max().unwrap_or(0).max(bytes.len());
        let moment = |chance: &mut Rng| match if luck == 1 { 1 } else { chance.u8(0..4) } {
            0 => 0,
            1 => all,
            _ => chance.usize(0..=all),
        };
        let moments: Vec<usize> = (0..=longest / unit).map(|_| moment(chance)).collect();
        let length_at = moment(chance);
        let mut len = bytes.len();
        for (number, change) in self.pending.iter().enumerate() {
            change.apply(&mut bytes, &mut |at| number < moments[at / unit]);
            if number < length_at {
                len = change.length_after(len);
            }
        }
        bytes.resize(len, 0);
        Arc::new(bytes)
    }
}

impl Change {
    /// Offset behind the last byte that it touches.
    fn end(&self) -> usize {
        match self {
            Self::Write(at, bytes) => at + bytes.len(),
            Self::Length(len) => *len,
            Self::Zero(at, len) => at + len,
        }
    }

    fn length_after(&self, len: usize) -> usize {
        if let Self::Length(len) = self { *len } else { len.max(self.end()) }
    }

    fn set_length(&self, bytes: &mut Vec<u8>) {
        bytes.resize(self.length_after(bytes.len()), 0);
    }

    /// Changes bytes in sectors for which `survives` says so; the length only grows.
    fn apply(&self, bytes: &mut Vec<u8>, survives: &mut dyn FnMut(usize) -> bool) {
        if bytes.len() < self.end() {
            bytes.resize(self.end(), 0);
        }
        let (from, to) = match self {
            Self::Write(at, data) => (*at, at + data.len()),
            Self::Length(len) => (*len, bytes.len()),
            Self::Zero(at, len) => (*at, at + len),
        };
        let mut at = from;
        while at < to {
            let end = to.min((at / SECTOR + 1) * SECTOR);
            if survives(at) {
                match self {
                    Self::Write(start, data) => bytes[at..end].copy_from_slice(&data[at - start..end - start]),
                    _ => bytes[at..end].fill(0),
                }
            }
            at = end;
        }
    }
}

/// Writes files below a directory, sparse where they are empty.
pub fn lay_out(image: &Image, to: &Path) {
    let mut made = "";
    for (name, bytes) in image {
        let path = to.join(name);
        if made != parent(name) || made.is_empty() {
            made = parent(name);
            std::fs::create_dir_all(to.join(made)).expect("a directory in memory");
        }
        let file = File::create(path).expect("a file in memory");
        file.set_len(bytes.len() as u64).expect("a length");
        for (number, page) in bytes.chunks(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                file.write_all_at(page, (number * PAGE) as u64).expect("space in memory");
            }
        }
    }
}

/// Reads the files below a directory.
pub fn take_in(root: &Path) -> Image {
    let mut image = Image::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a listing") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
                image.insert(name, Arc::new(std::fs::read(&path).expect("a readable file")));
            }
        }
    }
    image
}
