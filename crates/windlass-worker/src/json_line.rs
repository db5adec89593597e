//! What is said over sockets: JSON, a line for each value.

use serde::Serialize;

/// A value as one line of JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = Vec::new();
    // What is said in lines always serializes, and a vector always takes it.
    serde_json::to_writer(&mut line, value).unwrap_or_default();
    line.push(b'\n');
    line
}
