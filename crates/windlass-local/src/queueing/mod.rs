//! Who may wait, and who may start. No I/O.

pub(crate) mod admission;
pub(crate) mod backlog;
