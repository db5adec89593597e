//! One text of a JSON document, checked while its bytes go by.

use std::hash::{DefaultHasher, Hasher as _};

/// A text, by the rule of texts, byte by byte.
#[derive(Default)]
pub(super) struct Text {
    /// How many bytes of it were read.
    pub(super) length: usize,
    /// Whether the rest is not passed on.
    pub(super) is_left_out: bool,
    /// Of that rest.
    pub(super) digest: DefaultHasher,
    /// An escape that is not whole yet, behind its backslash.
    escape: Option<Vec<u8>>,
    /// The first half of a surrogate pair was read last.
    half: bool,
    /// A character that is not whole yet.
    character: Vec<u8>,
}

impl Text {
    pub(super) fn is_in_escape(&self) -> bool {
        self.escape.is_some()
    }

    /// Whether no escape, pair or character is half read.
    pub(super) fn is_whole(&self) -> bool {
        self.escape.is_none() && !self.half && self.character.is_empty()
    }

    /// Whether this byte can be there.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.length += 1;
        if self.is_left_out {
            self.digest.write_u8(byte);
        }
        if self.escape.is_some() {
            return self.take_in_escape(byte);
        }
        if self.half && byte != b'\\' {
            self.half = false;
            return false;
        }
        match byte {
            0..0x20 => false,
            0x20..0x80 if !self.character.is_empty() => {
                self.character.clear();
                false
            }
            b'\\' => {
                self.escape = Some(Vec::new());
                true
            }
            0x20..0x80 => true,
            _ => {
                self.character.push(byte);
                let read = std::str::from_utf8(&self.character).map(drop);
                let is_wrong = read.is_err_and(|error| error.error_len().is_some());
                if is_wrong || read.is_ok() {
                    self.character.clear();
                }
                !is_wrong
            }
        }
    }

    fn take_in_escape(&mut self, byte: u8) -> bool {
        let mut escape = self.escape.take().unwrap_or_default();
        escape.push(byte);
        let unit = match escape.as_slice() {
            [b'u', digits @ ..] if digits.len() < 4 => {
                let is_right = digits.iter().all(u8::is_ascii_hexdigit);
                self.escape = is_right.then_some(escape);
                return is_right;
            }
            [b'u', digits @ ..] => {
                let text = std::str::from_utf8(digits).ok();
                text.and_then(|text| u16::from_str_radix(text, 16).ok())
            }
            [byte] if b"\"\\/bfnrt".contains(byte) => Some(0),
            _ => None,
        };
        let was_half = std::mem::take(&mut self.half);
        match unit {
            Some(0xd800..0xdc00) => {
                self.half = true;
                !was_half
            }
            Some(unit) => was_half == (0xdc00..0xe000).contains(&unit),
            None => false,
        }
    }
}
