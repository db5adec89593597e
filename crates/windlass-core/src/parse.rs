//! Reading what somebody wrote, strictly: a field that does not exist is a problem, not a
//! default. What workers and other gateways write is read [otherwise](message).

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use crate::{Problem, strict_json};

/// Deepest nesting of arrays and objects in a document: serde_json's own bound.
pub const MAX_DEPTH: usize = 127;

/// Why a document could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is no JSON at all; line and column are in the message.
    Malformed(String),
    /// It is JSON of another shape; every unknown field, or the first field of a wrong type.
    Misshapen(Vec<Problem>),
}

/// Reads one JSON document and refuses unknown fields, each with its JSON pointer.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unread> {
    value_of(document(bytes)?)
}

/// Reads one JSON document of another program of Windlass, which may be of a later release: fields that are not known are
/// ignored.
pub fn message<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unread> {
    let mut track = serde_path_to_error::Track::new();
    let read = T::deserialize(serde_path_to_error::Deserializer::new(document(bytes)?, &mut track));
    read.map_err(|error| {
        let at = pointer(&track.path().to_string());
        Unread::Misshapen(vec![Problem::at(at, in_words(&error))])
    })
}

/// Reads one JSON document that somebody submits, by the [one rule](strict_json) for JSON. An
/// [integer](check_integers) that breaks it is named.
pub fn submitted(bytes: &[u8]) -> Result<Value, Unread> {
    let value = document(bytes)?;
    check_integers(&value, bytes, Syntax::Json)?;
    match strict_json::problem(bytes) {
        Ok(None) => Ok(value),
        Ok(Some(why)) => Err(Unread::Malformed(why)),
        Err(error) => Err(Unread::Malformed(error.to_string())),
    }
}

/// What serde says of a wrong type, without the names that types have in Rust.
fn in_words(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let Some((found, wanted)) = said.rsplit_once(" expected ") else { return said };
    let whole = |least: i64, most: i64| format!("a whole number from {least} to {most}");
    // Above i64::MAX no document has integers.
    let wanted = match wanted {
        "u8" => whole(0, u8::MAX.into()),
        "u16" => whole(0, u16::MAX.into()),
        "u32" => whole(0, u32::MAX.into()),
        "u64" | "usize" => whole(0, i64::MAX),
        "a nonzero u32" => whole(1, u32::MAX.into()),
        "a nonzero u64" => whole(1, i64::MAX),
        "i32" => whole(i32::MIN.into(), i32::MAX.into()),
        "i64" => whole(i64::MIN, i64::MAX),
        wanted if wanted.starts_with("struct ") => "an object".to_owned(),
        _ => return said,
    };
    format!("{found} expected {wanted}")
}

fn document(bytes: &[u8]) -> Result<Value, Unread> {
    serde_json::from_slice(bytes).map_err(|error| {
        let mark = strict_json::encoding_mark(bytes).map(str::to_owned);
        Unread::Malformed(mark.unwrap_or_else(|| error.to_string()))
    })
}

/// The same for a document that was parsed already.
pub fn value_of<T: DeserializeOwned>(value: Value) -> Result<T, Unread> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let path_of = serde_path_to_error::Deserializer::new(value, &mut track);
    let read = serde_ignored::deserialize(path_of, |path| {
        unknown.push(Problem::at(pointer(&path.to_string()), "there is no such field"));
    });
    match read {
        Ok(value) if unknown.is_empty() => Ok(value),
        Ok(_) => Err(Unread::Misshapen(unknown)),
        Err(error) => {
            let at = pointer(&track.path().to_string());
            unknown.push(Problem::at(at, in_words(&error)));
            Err(Unread::Misshapen(unknown))
        }
    }
}

/// How a document was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Texts are between double quotes.
    Json,
    /// Texts may be bare.
    Yaml,
}

/// Smallest magnitude of an integer that may have become a float: 2^63.
const BEYOND: f64 = 9_223_372_036_854_775_808.0;

/// Refuses integers outside of -2^63 to 2^63 - 1, each with its JSON pointer. Readers make floats of
/// them without a word, this one above 2^64 and a cluster's above 2^63. What `text` has as a float,
/// such as `1e30`, is as it was meant.
pub fn check_integers(value: &Value, text: &[u8], syntax: Syntax) -> Result<(), Unread> {
    let mut suspects = Vec::new();
    collect_suspects(value, &mut String::new(), &mut suspects);
    if suspects.is_empty() {
        return Ok(());
    }
    let written = wide_integers(text, syntax);
    let problems: Vec<_> = suspects
        .into_iter()
        .filter(|(_, number)| {
            number.is_u64() || number.as_f64().is_some_and(|float| written.contains(&key(float)))
        })
        .map(|(pointer, _)| Problem::at(pointer, strict_json::wide_integer()))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Unread::Misshapen(problems)) }
}

/// The numbers that are no 64-bit integer with a sign and may have been written as an integer.
fn collect_suspects(value: &Value, at: &mut String, found: &mut Vec<(String, Number)>) {
    let length = at.len();
    match value {
        Value::Number(number) => {
            let is_wide = number.as_f64().is_some_and(|float| float.abs() >= BEYOND);
            if is_wide && !number.is_i64() {
                found.push((at.clone(), number.clone()));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                *at += &format!("/{index}");
                collect_suspects(item, at, found);
                at.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                *at += &format!("/{}", escaped(name));
                collect_suspects(field, at, found);
                at.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// What the integers of a text that are none of 64 bits with a sign become as floats.
fn wide_integers(text: &[u8], syntax: Syntax) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'"' && syntax == Syntax::Json {
            rest = after_string(after);
        } else if first == b'-' || first.is_ascii_digit() {
            let more = after.iter().take_while(|byte| is_of_number(**byte)).count();
            let (tail, other) = after.split_at(more);
            rest = other;
            let is_integer = tail.iter().all(u8::is_ascii_digit);
            // Digits alone, and so UTF-8.
            let digits = [&[first][..], tail].concat();
            let Ok(digits) = std::str::from_utf8(&digits) else { continue };
            if is_integer && digits.parse::<i64>().is_err() {
                found.extend(digits.parse().ok().map(key));
            }
        }
    }
    found
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || b".eE+-".contains(&byte)
}

/// What follows a JSON string, from behind its first quote.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => return rest,
            b'\\' => rest = rest.get(1..).unwrap_or_default(),
            _ => {}
        }
    }
    rest
}

/// A float that can be looked up.
fn key(float: f64) -> u64 {
    float.to_bits()
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// `a.b[3].c` or `a.b.3.c`, as the path crates write it, as a JSON pointer.
fn pointer(path: &str) -> String {
    if path == "." {
        return String::new();
    }
    path.split(['.', '[']).filter(|part| *part != "?").map(|part| part.trim_end_matches(']')).fold(
        String::new(),
        |mut pointer, part| {
            pointer.push('/');
            pointer.push_str(&escaped(part));
            pointer
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobSpec;

    #[test]
    fn every_unknown_field_is_named() {
        let read: Result<JobSpec, _> = json(br#"{"function":"price","cpus":2,"nodes":1}"#);
        let Err(Unread::Misshapen(problems)) = read else { panic!("{read:?}") };
        let pointers: Vec<_> = problems.iter().map(|p| p.pointer.as_str()).collect();
        assert_eq!(pointers, ["/cpus", "/nodes"]);
    }

    #[test]
    fn a_wrong_type_is_named_by_its_field() {
        for (field, value, range) in [
            ("parallelism", r#""two""#, "from 0 to 4294967295"),
            ("timeoutSeconds", "5000000000", "from 0 to 4294967295"),
            ("priority", "2147483648", "from -2147483648 to 2147483647"),
        ] {
            let text = format!(r#"{{"function":"price","{field}":{value}}}"#);
            let read: Result<JobSpec, _> = json(text.as_bytes());
            let Err(Unread::Misshapen(problems)) = read else { panic!("{read:?}") };
            assert_eq!(problems[0].pointer, format!("/{field}"));
            let expected = format!("expected a whole number {range}");
            assert!(problems[0].message.ends_with(&expected), "{problems:?}");
        }
        let read: Result<crate::BlobRef, _> = json(br#"{"sha256":"","bytes":-1,"mediaType":""}"#);
        let Err(Unread::Misshapen(problems)) = read else { panic!("{read:?}") };
        assert!(problems[0].message.ends_with("from 0 to 9223372036854775807"), "{problems:?}");
    }

    #[test]
    fn a_mark_of_another_encoding_is_named() {
        for (bytes, word) in
            [(&b"\xEF\xBB\xBF{}"[..], "byte order mark"), (b"\xFF\xFE{\0}\0", "UTF-16")]
        {
            let read = submitted(bytes);
            assert!(matches!(&read, Err(Unread::Malformed(why)) if why.contains(word)), "{read:?}");
        }
    }

    #[test]
    fn fields_of_the_input_are_the_functions_business() {
        let read: Result<JobSpec, _> = json(br#"{"function":"f","input":{"any":{"thing":1}}}"#);
        assert!(read.is_ok());
    }

    #[test]
    fn an_integer_that_would_become_a_float_is_refused_where_it_is() {
        let pointers = |text: &str| match submitted(text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(Unread::Misshapen(problems)) => {
                problems.into_iter().map(|problem| problem.pointer).collect()
            }
            Err(malformed) => panic!("{text}: {malformed:?}"),
        };
        let good = r#"{"most": 9223372036854775807, "least": -9223372036854775808, "zero": -0,
            "float": 1e30, "also": 18446744073709551616.0, "huge": -9.3E+18,
            "text": "18446744073709551616", "quote": "\\\"18446744073709551616"}"#;
        assert_eq!(pointers(good), [""; 0]);
        assert_eq!(pointers(r#"{"input": {"a": 9223372036854775808}}"#), ["/input/a"]);
        assert_eq!(pointers("-9223372036854775809"), [""]);
        assert_eq!(
            pointers(r#"{"a/b~": [1, 18446744073709551615], "c": [{"d": 123456789012345678901}]}"#),
            ["/a~1b~0/1", "/c/0/d"]
        );
        // The float of the same value is another number, and is not named where it stands alone.
        assert_eq!(pointers(r#"{"a": 18446744073709551616, "b": 1e20}"#), ["/a"]);
    }

    #[test]
    fn the_same_of_yaml() {
        let text = b"a: 18446744073709551616 # it's\nb: 3e20\nc: '1'\n";
        let value = serde_json::json!({"a": 18446744073709551616.0, "b": 3e20});
        let Err(Unread::Misshapen(problems)) = check_integers(&value, text, Syntax::Yaml) else {
            panic!("the integer is lost");
        };
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].pointer, "/a");
    }

    #[test]
    fn a_name_that_is_there_twice_is_malformed() {
        for twice in [r#"{"function":"a","function":"b"}"#, r#"{"input":{"x":[{"y":1,"y":2}]}}"#] {
            let Err(Unread::Malformed(why)) = submitted(twice.as_bytes()) else {
                panic!("{twice}")
            };
            assert!(why.contains("is there twice"), "{why}");
        }
    }

    #[test]
    fn no_json_is_malformed() {
        assert!(matches!(json::<JobSpec>(b"{\"function\":"), Err(Unread::Malformed(_))));
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert!(matches!(json::<JobSpec>(deep.as_bytes()), Err(Unread::Malformed(_))));
    }
}
