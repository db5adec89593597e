//! The functions and queues that this machine knows: from manifests, kept up to date while the files
//! change.

mod holds;
mod library;
mod manifests;
mod reload;

pub use library::Library;
pub use manifests::{Functions, LoadError, documents};
pub(crate) use reload::watch;
