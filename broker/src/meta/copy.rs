//! A checksummed copy of the metadata, made when they are closed: tells whether they changed at rest, and replaces them then.
//!
//! ```text
//! checksum of the rest 4 | rows: (name of the tree, key, value, each with its length 4 before it) …
//! ```
//! It lies beside the metadata as `orbitmq.copy`. While a broker runs it is called `orbitmq.copy.old`: then it says nothing any
//! more about what must be there, but is better than nothing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::meta::rows::{self, Opened, TreeRow};
use crate::meta::tree::Tree;

/// What was copied at an earlier stop, in the order of the trees' names and the keys.
#[derive(Debug, Default)]
struct Copied {
    rows: Vec<TreeRow>,
    /// Whether nobody has had the metadata open since.
    is_current: bool,
}

impl Copied {
    /// Whether rows may be what was left at the last stop.
    fn agrees_with(&self, rows: &[TreeRow]) -> bool {
        !self.is_current || self.rows == rows
    }
}

/// Opens metadata. sled does not notice every change at rest, and may panic over one: what does not open, or is not what was
/// closed, is set aside and made anew from the copy.
pub fn open(path: &Path) -> Result<Opened, String> {
    let copy = take(path);
    let attempt = || Opened::open(path).and_then(|opened| opened.all().map(|rows| (opened, rows)));
    let damage = match catch_unwind(AssertUnwindSafe(attempt)) {
        Ok(Ok((opened, rows))) if copy.agrees_with(&rows) => return Ok(opened),
        Ok(Ok(_)) => "they are not what was written at the last stop".to_owned(),
        // The directory cannot be used, or another process has it.
        Ok(Err(error @ sled::Error::Io(_))) => return Err(error.to_string()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "they cannot be read".to_owned(),
    };
    let aside = set_aside(path).map_err(|error| format!("{damage}; and cannot be set aside: {error}"))?;
    tracing::error!(
        damage, aside = %aside.display(), rows = copy.rows.len(), of_last_stop = copy.is_current,
        "metadata are damaged: they are set aside and made anew from the copy of an earlier stop; what the copy lacks comes \
         from the files in config and from the log"
    );
    let changes = copy.rows.into_iter().map(|(tree, key, value)| ((tree, key), Some(value))).collect();
    let renewed = Opened::open(path).and_then(|opened| opened.write(&changes).map(|()| opened));
    renewed.map_err(|error| error.to_string())
}

/// Copies metadata, then closes them.
pub fn close(path: &Path, opened: Opened) {
    let copied = opened.all().map_err(|error| error.to_string()).and_then(|rows| store(path, &rows));
    if let Err(error) = copied {
        tracing::warn!(
            error,
            "no copy of the metadata was made: the next start cannot tell whether they change at rest"
        );
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(ending);
    path.with_file_name(name)
}

/// Reads the copy of the metadata in `path`, and notes that they may change from now on.
fn take(path: &Path) -> Copied {
    let (current, old) = (beside(path, ".copy"), beside(path, ".copy.old"));
    match read(&current) {
        Some(rows) if fs::rename(&current, &old).is_ok() => Copied { rows, is_current: true },
        _ => Copied { rows: read(&old).unwrap_or_default(), is_current: false },
    }
}

fn store(path: &Path, rows: &[TreeRow]) -> Result<(), String> {
    let mut content = Vec::new();
    for (tree, key, value) in rows {
        for field in [tree.name().as_bytes(), &**key, &**value] {
            let len = u32::try_from(field.len()).map_err(|_| "a row is too long to be copied")?;
            content.extend_from_slice(&len.to_be_bytes());
            content.extend_from_slice(field);
        }
    }
    let (current, fresh) = (beside(path, ".copy"), beside(path, ".copy.new"));
    let written = File::create(&fresh).and_then(|mut file| {
        file.write_all(&crc32fast::hash(&content).to_be_bytes())?;
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&fresh, &current)?;
        current.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    });
    written.map_err(|error| error.to_string())
}

/// Gives damaged metadata another name, which is returned.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let aside = beside(path, &format!(".damaged-{}", now.as_millis()));
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn read(path: &Path) -> Option<Vec<TreeRow>> {
    let bytes = fs::read(path).ok()?;
    let rows = decode(&bytes);
    if rows.is_none() {
        tracing::warn!(path = %path.display(), "the copy of the metadata is damaged: it is not used");
    }
    rows
}

fn decode(bytes: &[u8]) -> Option<Vec<TreeRow>> {
    let (sum, mut rest) = bytes.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*sum) != crc32fast::hash(rest) {
        return None;
    }
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let name = field(&mut rest)?;
        let tree = std::str::from_utf8(name).ok().and_then(Tree::named)?;
        let (key, value) = (field(&mut rest)?, field(&mut rest)?);
        rows.push((tree, Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
    }
    rows::sort(&mut rows);
    Some(rows)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, behind) = rest.split_first_chunk::<4>()?;
    let (field, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
    *rest = behind;
    Some(field)
}
