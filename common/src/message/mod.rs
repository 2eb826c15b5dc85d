//! Messages as users see them and as bytes on disk and on the wire.

pub mod batch;
pub mod compress;
pub mod dead;
pub mod entry;
pub mod id;
#[expect(clippy::module_inception, reason = "a message is the file's subject, not its wrapper")]
pub mod message;
pub mod property;
pub mod recall;
pub mod receipt;
pub mod record;
pub mod sysflag;
pub mod trace;
