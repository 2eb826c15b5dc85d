//! Messages as users see them and as bytes on disk and on the wire.

// batch
// compress
// id
// message
pub mod property;
pub mod record;
// stored
pub mod sysflag;
