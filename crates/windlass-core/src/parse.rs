//! Reading what somebody wrote, strictly: a field that does not exist is a problem, not a
//! default.

use serde::de::DeserializeOwned;

use crate::Problem;

/// Deepest nesting of arrays and objects in a document: serde_json's own bound.
pub const MAX_DEPTH: usize = 128;

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
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| Unread::Malformed(error.to_string()))?;
    value_of(value)
}

/// The same for a document that was parsed already.
pub fn value_of<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Unread> {
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
            unknown.push(Problem::at(at, error.to_string()));
            Err(Unread::Misshapen(unknown))
        }
    }
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
            pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
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
        let read: Result<JobSpec, _> = json(br#"{"function":"price","parallelism":"two"}"#);
        let Err(Unread::Misshapen(problems)) = read else { panic!("{read:?}") };
        assert_eq!(problems[0].pointer, "/parallelism");
    }

    #[test]
    fn fields_of_the_input_are_the_functions_business() {
        let read: Result<JobSpec, _> = json(br#"{"function":"f","input":{"any":{"thing":1}}}"#);
        assert!(read.is_ok());
    }

    #[test]
    fn no_json_is_malformed() {
        assert!(matches!(json::<JobSpec>(b"{\"function\":"), Err(Unread::Malformed(_))));
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert!(matches!(json::<JobSpec>(deep.as_bytes()), Err(Unread::Malformed(_))));
    }
}
