//! One rule for JSON that goes through Windlass, inputs and results alike: every reader must read the same.
//!
//! Beyond the grammar (RFC 8259), I-JSON (RFC 7493) asks for three things that readers disagree about. No object
//! has a name twice. No text has half of a surrogate pair. No integer is outside of -2^63 to 2^63 - 1. Arrays and
//! objects are nested at most [`MAX_DEPTH`](crate::parse::MAX_DEPTH) deep.
//!
//! A result may be large, so it is read in pieces and never held whole, not even a single text of it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hasher as _;
use std::io::{self, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

mod text;

use text::Text;

use crate::media_type;

/// Most memory for the names of open objects, in bytes. Names beyond it are not compared.
const MOST_NAMES_BYTES: usize = 64 << 20;
/// What a name takes beside its letters.
const NAME_OVERHEAD: usize = 48;

/// Whether bytes of this media type are JSON.
pub fn is_json(content_type: &str) -> bool {
    let essence = media_type::essence(content_type);
    essence == "application/json" || essence.ends_with("+json")
}

/// What is said of bytes with a mark of their encoding in front, as editors and PowerShell on Windows write it.
pub(crate) fn encoding_mark(begin: &[u8]) -> Option<&'static str> {
    match begin {
        [0xEF, 0xBB, 0xBF, ..] => Some(
            "it begins with a byte order mark, which JSON does not have: save it as UTF-8 without one",
        ),
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => Some("it is UTF-16, and JSON is UTF-8"),
        _ => None,
    }
}

/// Why these bytes break the rule; `None` when they keep it. The error is that of the reader.
pub fn problem(mut reader: impl Read) -> io::Result<Option<String>> {
    let mut begin = Vec::new();
    reader.by_ref().take(3).read_to_end(&mut begin)?;
    if let Some(mark) = encoding_mark(&begin) {
        return Ok(Some(mark.to_owned()));
    }
    let mut scanned = Scanned::new(begin.as_slice().chain(reader));
    let left = Cell::new(MOST_NAMES_BYTES);
    let mut document = serde_json::Deserializer::from_reader(&mut scanned);
    let read = Walk { left: &left }.deserialize(&mut document).and_then(|()| document.end());
    match read {
        Err(error) if error.is_io() => Err(error.into()),
        Err(error) => Ok(Some(error.to_string())),
        Ok(()) => Ok(scanned.problem()),
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

/// Passes a document on to a reader of JSON, and checks what that one cannot. It makes floats of integers that are too
/// large, without a word. And it holds each text whole, so the rest of a long one is checked here and left out.
struct Scanned<R> {
    inner: R,
    piece: Box<[u8]>,
    /// What is to be passed on, from this place.
    passed: Vec<u8>,
    from: usize,
    place: Place,
    problem: Option<String>,
}

enum Place {
    Between,
    Text(Text),
    /// In a number, of which this was read.
    Number(Vec<u8>),
}

/// More letters than any integer of 64 bits has.
const MOST_DIGITS: usize = 24;

/// What of a text is passed on, in bytes.
const MOST_TEXT_BYTES: usize = 64 << 10;

/// What is read at once.
const PIECE_BYTES: usize = 16 << 10;

impl<R> Scanned<R> {
    fn new(inner: R) -> Self {
        let piece = vec![0; PIECE_BYTES].into_boxed_slice();
        let (passed, from) = (Vec::new(), 0);
        Self { inner, piece, passed, from, place: Place::Between, problem: None }
    }

    fn take(&mut self, byte: u8) {
        let is_of_number = byte.is_ascii_digit() || b".eE+-".contains(&byte);
        match &mut self.place {
            Place::Text(text) if byte == b'"' && !text.is_in_escape() => {
                if text.is_left_out {
                    // Names that differ in what is left out differ here.
                    self.passed.extend(format!("{:016x}", text.digest.finish()).into_bytes());
                    self.problem = self.problem.take().or((!text.is_whole()).then(bad_text));
                }
                self.place = Place::Between;
            }
            Place::Text(text) => {
                text.is_left_out |= text.length >= MOST_TEXT_BYTES && text.is_whole();
                let is_right = text.take(byte);
                if text.is_left_out {
                    self.problem = self.problem.take().or((!is_right).then(bad_text));
                    return;
                }
            }
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
                    b'"' => Place::Text(Text::default()),
                    _ if is_of_number => Place::Number(vec![byte]),
                    _ => Place::Between,
                };
            }
        }
        self.passed.push(byte);
    }

    fn end_number(&mut self) {
        let Place::Number(text) = &self.place else { return };
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.iter().all(u8::is_ascii_digit) {
            let value = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
            if value.is_none() {
                self.problem.get_or_insert_with(wide_integer);
            }
        }
    }

    /// The problem, at the document's end.
    fn problem(mut self) -> Option<String> {
        self.end_number();
        self.problem
    }
}

impl<R: Read> Read for Scanned<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.from == self.passed.len() {
            self.passed.clear();
            self.from = 0;
            let read = self.inner.read(&mut self.piece)?;
            if read == 0 {
                return Ok(0);
            }
            let piece = std::mem::take(&mut self.piece);
            piece.iter().take(read).for_each(|byte| self.take(*byte));
            self.piece = piece;
        }
        let mut left = self.passed.get(self.from..).unwrap_or_default();
        let read = left.read(buffer)?;
        self.from += read;
        Ok(read)
    }
}

fn bad_text() -> String {
    format!("a text of more than {MOST_TEXT_BYTES} bytes is no text of JSON")
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
            ("\u{feff}{}", "byte order mark"),
        ] {
            let found = why(bad).unwrap_or_default();
            assert!(found.contains(word), "{bad}: {found}");
        }
        assert!(problem(&b"\"\xff\""[..]).unwrap().is_some());
    }

    #[test]
    fn a_long_text_is_checked_and_never_held() {
        let long = |end: &str| format!(r#"["{}{end}"]"#, "a\u{e9}".repeat(100_000));
        for good in ["", r"\ud83d\ude00", r#"\n\\\"\u0041"#, "\u{1f600}"] {
            assert_eq!(why(&long(good)), None, "{good}");
        }
        for bad in
            [r"\ud83d", r"\ud83d\n", r"\ud83dx", r"\ud83d\ud83d", r"\udc00", r"\x", r"\u00g0", "\n"]
        {
            assert!(why(&long(bad)).unwrap_or_default().contains("no text of JSON"), "{bad}");
        }
        let mut bytes = long("").into_bytes();
        bytes[150_000] = 0xff;
        assert!(problem(&bytes[..]).unwrap().is_some());
        let name = "n".repeat(100_000);
        assert_eq!(why(&format!(r#"{{"{name}a": 1, "{name}b": 2}}"#)), None);
        let twice = why(&format!(r#"{{"{name}a": 1, "{name}a": 2}}"#)).unwrap();
        assert!(twice.contains("is there twice"), "{twice}");
        // At the border, whatever is cut there.
        for shift in 0..16 {
            let before = "a".repeat(MOST_TEXT_BYTES - shift);
            let text = format!(r#"["{before}\ud83d\ude00\u00e9\\\"{}"]"#, "\u{1f600}".repeat(9));
            assert_eq!(why(&text), None, "{shift}");
        }
        // What consists of escapes is cut between them.
        let mut scanned = Scanned::new(io::Cursor::new(r"\u00e9".repeat(1 << 20)));
        scanned.place = Place::Text(Text::default());
        assert!(io::copy(&mut scanned, &mut io::sink()).unwrap() <= 2 * MOST_TEXT_BYTES as u64);
        // Of a hundred megabytes hardly anything goes on to the reader that holds a text whole.
        let mut scanned = Scanned::new(io::repeat(b'a').take(100 << 20));
        scanned.place = Place::Text(Text::default());
        assert!(io::copy(&mut scanned, &mut io::sink()).unwrap() <= 2 * MOST_TEXT_BYTES as u64);
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
