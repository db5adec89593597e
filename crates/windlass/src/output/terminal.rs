//! Texts of jobs for a terminal, without what could steer it.

use std::io::{self, Write, stderr};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Whether a character could steer a terminal or turn the order of what it shows: control characters but for line ends
/// and tabs, the marks of writing direction and of how digits are drawn, and what ends a line or a paragraph otherwise.
pub(crate) fn steers(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => {
            true
        }
        c => c.is_control(),
    }
}

/// Text of a job without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !steers(*c)).collect()
}

/// The same on one line.
pub(crate) fn line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// Passes on text without what could steer a terminal, whatever the bytes are and however they are cut.
pub(crate) struct Printable<W> {
    to: W,
    /// The beginning of a character whose end has not come: at most three bytes.
    begun: Vec<u8>,
}

impl<W: Write> Printable<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, begun: Vec::new() }
    }
}

impl<W: Write> Write for Printable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = std::mem::take(&mut self.begun);
        all.extend_from_slice(bytes);
        let mut text = String::with_capacity(all.len());
        let mut chunks = all.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.extend(chunk.valid().chars().filter(|c| !steers(*c)));
            let invalid = chunk.invalid();
            // Only at the end of all may the rest of a character be still to come.
            let is_begun = chunks.peek().is_none()
                && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if is_begun {
                self.begun = invalid.to_vec();
            } else if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.to.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Longest time for what is in the pipe to standard error, once nobody writes to it any more.
const DRAIN: Duration = Duration::from_secs(1);

/// What comes out of a pipe, on standard error, without what could steer a terminal.
pub(crate) struct Calmed(mpsc::Receiver<()>);

impl Calmed {
    /// And the pipe's end for those who write.
    pub(crate) fn stderr() -> io::Result<(Self, OwnedFd)> {
        let (mut reader, writer) = io::pipe()?;
        let (alive, over) = mpsc::channel();
        thread::spawn(move || {
            // When nobody can read it, nobody misses it.
            io::copy(&mut reader, &mut Printable::new(stderr())).unwrap_or_default();
            drop(alive);
        });
        Ok((Self(over), writer.into()))
    }

    /// Returns when all was shown. The writers are gone; one that has hidden is not waited for.
    pub(crate) fn finish(self) {
        self.0.recv_timeout(DRAIN).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_of_direction_is_left_out_and_what_words_need_stays() {
        let marks = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2028}\u{2029}\u{2066}\u{2069}\u{206a}\u{206f}";
        assert_eq!(printable(marks), "");
        let words = "a\u{200d}b\u{200c}c\u{ad}d\u{200b}e \u{5d0}";
        assert_eq!(printable(words), words);
    }

    #[test]
    fn what_could_steer_a_terminal_is_left_out_however_it_is_cut() {
        let bytes = b"a\x1b[31mb\r\n\xc3\xa4\xff\xc2\x9b2J\xe2\x80\xaec\td\x07";
        for size in 1..=bytes.len() {
            let mut shown = Printable::new(Vec::new());
            bytes.chunks(size).for_each(|piece| shown.write_all(piece).unwrap());
            let text = String::from_utf8(shown.to).unwrap();
            assert_eq!(text, "a[31mb\n\u{e4}\u{fffd}2Jc\td", "{size}");
        }
    }
}
