//! What serves the REST server and the command line: core's trait `Jobs`, on the engine.

mod blobs;
mod changes;
pub(crate) mod estimates;
mod jobs;
mod logs;
mod stored_file;
mod submit;
