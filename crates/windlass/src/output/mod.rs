//! What is printed: on standard output, in a file, on the terminal.

pub(crate) mod age;
pub(crate) mod log;
pub(crate) mod objects;
pub(crate) mod progress;
pub(crate) mod result_file;
pub(crate) mod terminal;
