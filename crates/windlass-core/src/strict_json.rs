//! One rule for JSON that goes through Windlass, inputs and results alike: every reader must read the same.
//!
//! Beyond the grammar (RFC 8259), I-JSON (RFC 7493) asks for three things that readers disagree about. No object
//! has a name twice. No text has half of a surrogate pair. No integer is outside of -2^63 to 2^63 - 1. Arrays and
//! objects are nested at most [`MAX_DEPTH`](crate::parse::MAX_DEPTH) deep.
//!
//! A result may be large, so it is read in pieces and never held whole.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Most memory for the names of open objects, in bytes. Names beyond it are not compared.
const MOST_NAMES_BYTES: usize = 64 << 20;
/// What a name takes beside its letters.
const NAME_OVERHEAD: usize = 48;

/// Whether bytes of this media type are JSON.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Why these bytes break the rule; `None` when they keep it. The error is that of the reader.
pub fn problem(reader: impl Read) -> io::Result<Option<String>> {
    let mut integers = Integers::new(io::BufReader::new(reader));
    let left = Cell::new(MOST_NAMES_BYTES);
    let mut document = serde_json::Deserializer::from_reader(&mut integers);
    let read = Walk { left: &left }.deserialize(&mut document).and_then(|()| document.end());
    match read {
        Err(error) if error.is_io() => Err(error.into()),
        Err(error) => Ok(Some(error.to_string())),
        Ok(()) => Ok(integers.finish()),
    }
}

/// The sentence about an integer that is too large.
pub(crate) fn wide_integer() -> String {
    format!("integers are from {} to {}; write others as texts", i64::MIN, i64::MAX)
}

/// Reads a value and keeps nothing of it.
#[derive(Clone, Copy)]
struct Walk<'a> {
    /// Bytes that are left for names.
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<(), D::Error> {
        document.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut names = BTreeSet::new();
        let before = self.left.get();
        while let Some(name) = fields.next_key::<String>()? {
            if names.contains(&name) {
                let name = crate::error::clip(name, 64);
                return Err(A::Error::custom(format!("the name {name:?} is there twice")));
            }
            if let Some(left) = self.left.get().checked_sub(name.len() + NAME_OVERHEAD) {
                self.left.set(left);
                names.insert(name);
            }
            fields.next_value_seed(self)?;
        }
        self.left.set(before);
        Ok(())
    }
}

/// Passes a document on, and looks at its integers as they are written: a reader of JSON makes floats of those
/// that are too large, without a word.
struct Integers<R> {
    inner: R,
    place: Place,
    has_wide: bool,
}

enum Place {
    Between,
    /// In a text, behind a backslash or not.
    Text(bool),
    /// In a number, of which this was read.
    Number(Vec<u8>),
}

/// More letters than any integer of 64 bits has.
const MOST_DIGITS: usize = 24;

impl<R> Integers<R> {
    fn new(inner: R) -> Self {
        Self { inner, place: Place::Between, has_wide: false }
    }

    fn look(&mut self, byte: u8) {
        let is_of_number = byte.is_ascii_digit() || b".eE+-".contains(&byte);
        match &mut self.place {
            Place::Text(escaped) => match (byte, *escaped) {
                (_, true) => *escaped = false,
                (b'\\', false) => *escaped = true,
                (b'"', false) => self.place = Place::Between,
                _ => {}
            },
            Place::Number(text) if is_of_number => {
                // A float may be long; its point or exponent must be seen.
                if text.len() < MOST_DIGITS || !byte.is_ascii_digit() {
                    text.push(byte);
                }
                text.truncate(2 * MOST_DIGITS);
            }
            _ => {
                self.end_number();
                self.place = match byte {
                    b'"' => Place::Text(false),
                    _ if is_of_number => Place::Number(vec![byte]),
                    _ => Place::Between,
                };
            }
        }
    }

    fn end_number(&mut self) {
        let Place::Number(text) = &self.place else { return };
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.iter().all(u8::is_ascii_digit) {
            let value = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
            self.has_wide |= value.is_none();
        }
    }

    /// The problem, at the document's end.
    fn finish(mut self) -> Option<String> {
        self.end_number();
        self.has_wide.then(wide_integer)
    }
}

impl<R: Read> Read for Integers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        for byte in buffer.iter().take(read) {
            self.look(*byte);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(text: &str) -> Option<String> {
        problem(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_every_reader_reads_alike_is_taken() {
        for good in [
            "null",
            " [1, -2.5e300, true, \"\\ud83d\\ude00\"] \n",
            r#"{"a": {"a": [{"a": 1}, {"a": 2}]}, "b": 9223372036854775807}"#,
            "-9223372036854775808",
            "18446744073709551616.0",
            "123456789012345678901234567890e-5",
            r#"{"text": "18446744073709551616", "quote": "\\\"18446744073709551616"}"#,
            &format!("{}1{}", "[".repeat(127), "]".repeat(127)),
        ] {
            assert_eq!(why(good), None, "{good}");
        }
    }

    #[test]
    fn what_readers_disagree_about_is_refused_with_words() {
        for (bad, word) in [
            ("", "EOF"),
            ("hello", "expected value"),
            ("{} {}", "trailing"),
            ("{\"a\": NaN}", "expected value"),
            (r#"{"a": 1, "b": {"c": 1, "c": 2}}"#, "\"c\" is there twice"),
            (r#"{"a": 1, "\u0061": 2}"#, "\"a\" is there twice"),
            (r#"["\ud800"]"#, "hex escape"),
            (r#"{"\udc00": 1}"#, "hex escape"),
            ("9223372036854775808", "integers are from"),
            ("-9223372036854775809", "integers are from"),
            (r#"{"a": [1, 123456789012345678901234567890123]}"#, "integers are from"),
            ("1e999", "out of range"),
            (&"[".repeat(200), "recursion limit"),
        ] {
            let found = why(bad).unwrap_or_default();
            assert!(found.contains(word), "{bad}: {found}");
        }
        assert!(problem(&b"\"\xff\""[..]).unwrap().is_some());
    }

    #[test]
    fn the_types_that_are_json_are_known_by_their_name() {
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/geo+json"]
        {
            assert!(is_json(json), "{json}");
        }
        for other in ["text/plain", "application/x-ndjson", "application/jsonp", ""] {
            assert!(!is_json(other), "{other}");
        }
    }
}
