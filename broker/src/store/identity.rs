//! The number of a store: drawn when it is made, gone with its log. Who lost the one has lost the other.

use std::io;

use crate::store::error::OpenError;
use crate::store::io::write_all_at;
use crate::store::options::Options;

/// The file, a decimal number.
pub const FILE: &str = "orbitmq.store";

/// The number of the store in a directory, drawn now if it has none. Never 0.
pub fn of(options: &Options) -> Result<u64, OpenError> {
    let path = options.dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(number) if number > 0 => return Ok(number),
            _ => tracing::error!(file = %path.display(), "it holds no number: the store counts as a new one"),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(OpenError::io("read", &path)(error)),
    }
    let number = fastrand::u64(1..);
    let fresh = options.dir.join(format!("{FILE}.new"));
    let written = options.io.create(&fresh).and_then(|file| {
        let text = format!("{number}\n");
        options.io.set_len(&file, &fresh, 0)?;
        write_all_at(&*options.io, &file, &fresh, text.as_bytes(), 0)?;
        options.io.sync_data(&file, &fresh)?;
        options.io.rename(&fresh, &path)?;
        options.io.sync_dir(&options.dir)
    });
    written.map_err(OpenError::io("write", &path))?;
    Ok(number)
}
