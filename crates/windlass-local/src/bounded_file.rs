//! Reads files that somebody else may have made of any size, or without an end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The text of a file of at most so many bytes; `FileTooLarge` for a longer one.
pub fn read(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("is larger than {most} bytes"),
        ));
    }
    Ok(text)
}
