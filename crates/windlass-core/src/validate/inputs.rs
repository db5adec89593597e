//! What of a job's input and files its function takes.

use crate::blob::{BlobRef, MAX_FILES, file_name_problem, is_sha256};
use crate::error::Problem;
use crate::function::FunctionSpec;
use crate::job::JobSpec;
use crate::{media_type, strict_json};

/// All that is wrong with the blobs of a job, and with the type of its input.
pub(super) fn check(spec: &JobSpec, function: &FunctionSpec, problems: &mut Vec<Problem>) {
    check_input(spec, function, problems);
    if spec.files.len() > MAX_FILES {
        let found = spec.files.len();
        problems.push(Problem::at("/files", format!("{found} files; at most {MAX_FILES}")));
    }
    for (name, file) in &spec.files {
        let at = format!("/files/{name}");
        if let Some(why) = file_name_problem(name) {
            problems.push(Problem::at("/files", format!("{name:?} {why}")));
            continue;
        }
        check_blob(&at, file, function, problems);
    }
}

fn check_input(spec: &JobSpec, function: &FunctionSpec, problems: &mut Vec<Problem>) {
    let Some(blob) = &spec.input_blob else {
        if !function.takes(media_type::JSON) {
            problems.push(Problem::at("/input", not_taken(spec, function, media_type::JSON)));
        }
        return;
    };
    if !spec.input.is_empty() {
        problems.push(Problem::at("/inputBlob", "there is an input already: leave out one"));
    }
    check_blob("/inputBlob", blob, function, problems);
    if !function.takes(&blob.media_type) {
        let why = not_taken(spec, function, &blob.media_type);
        problems.push(Problem::at("/inputBlob/mediaType", why));
    } else if function.input_schema.is_some() && strict_json::is_json(&blob.media_type) {
        problems.push(Problem::at("/inputBlob", only_inline(&spec.function)));
    }
}

/// Why a function with an `inputSchema` takes JSON only where it can be held against that.
pub fn only_inline(function: &str) -> String {
    format!(
        "function {function:?} has an inputSchema, so its JSON input is an object of at most 128 KiB"
    )
}

fn not_taken(spec: &JobSpec, function: &FunctionSpec, found: &str) -> String {
    let taken = function.input_types().join(", ");
    format!("function {:?} takes {taken}, not {found}", spec.function)
}

fn check_blob(at: &str, blob: &BlobRef, function: &FunctionSpec, problems: &mut Vec<Problem>) {
    if !is_sha256(&blob.sha256) {
        let why = "must be 64 hexadecimal digits in lower case";
        problems.push(Problem::at(format!("{at}/sha256"), why));
    }
    let most = function.max_input_bytes();
    if blob.bytes > most {
        let why = format!("{} bytes; the function takes at most {most}", blob.bytes);
        problems.push(Problem::at(format!("{at}/bytes"), why));
    }
    if let Some(why) = media_type::problem(&blob.media_type) {
        problems
            .push(Problem::at(format!("{at}/mediaType"), format!("{:?} {why}", blob.media_type)));
    }
}

/// What a world says that keeps no blobs: a cluster without an object store.
pub fn refuse_blobs(spec: &JobSpec) -> Vec<Problem> {
    let why = "the cluster's gateway has no object store (results.url) for it: only an input of at most 128 KiB of JSON";
    let wanted = [("/inputBlob", spec.input_blob.is_some()), ("/files", !spec.files.is_empty())];
    wanted.iter().filter(|(_, is_there)| *is_there).map(|(at, _)| Problem::at(*at, why)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Error;
    use crate::validate::validate;

    fn pointers(spec: serde_json::Value, function: serde_json::Value) -> Vec<String> {
        let mut function = function;
        function["command"] = json!(["x"]);
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        match validate(&spec, &serde_json::from_value(function).unwrap(), None) {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(problems)) => problems.into_iter().map(|p| p.pointer).collect(),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_input_is_of_a_type_and_length_that_its_function_takes() {
        let spec = |media_type: &str, bytes: u64| {
            let sha256 = "0a".repeat(32);
            json!({"function": "f", "inputBlob": {"sha256": sha256, "bytes": bytes, "mediaType": media_type}})
        };
        let images = json!({"inputTypes": ["image/*"], "maxInputBytes": 10});
        assert_eq!(pointers(spec("image/png", 10), images.clone()), [""; 0]);
        assert_eq!(pointers(spec("image/png", 11), images.clone()), ["/inputBlob/bytes"]);
        assert_eq!(pointers(spec("text/csv", 1), images.clone()), ["/inputBlob/mediaType"]);
        assert_eq!(pointers(spec("image/png", 1), json!({})), ["/inputBlob/mediaType"]);
        assert_eq!(pointers(spec("application/json", 1 << 30), json!({})), [""; 0]);
        assert_eq!(pointers(json!({"function": "f"}), images), ["/input"]);
        let schema = json!({"inputSchema": {"type": "object"}});
        assert_eq!(pointers(spec("application/json", 1), schema), ["/inputBlob"]);
        let mut both = spec("application/json", 1);
        both["input"] = json!({"a": 1});
        assert_eq!(pointers(both, json!({})), ["/inputBlob"]);
    }

    #[test]
    fn every_wrong_file_is_named() {
        let file = |sha256: &str| json!({"sha256": sha256, "bytes": 1, "mediaType": "a/b"});
        let good = "0a".repeat(32);
        let names = |files| pointers(json!({"function": "f", "files": files}), json!({}));
        assert_eq!(names(json!({"a.csv": file(&good)})), [""; 0]);
        assert_eq!(names(json!({"..": file(&good), "a/b": file(&good)})), ["/files", "/files"]);
        let wrong =
            json!({"x": file("zz"), "y": {"sha256": good, "bytes": 1_u64 << 31, "mediaType": "a"}});
        assert_eq!(names(wrong), ["/files/x/sha256", "/files/y/bytes", "/files/y/mediaType"]);
        let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("f{n}"), file(&good))).collect();
        assert_eq!(names(json!(many)), ["/files"]);
    }

    #[test]
    fn a_world_without_blobs_names_what_it_does_not_take() {
        let file = json!({"sha256": "0a".repeat(32), "bytes": 1});
        let spec = json!({"function": "f", "inputBlob": file, "files": {"a": file}});
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        let refused: Vec<_> = refuse_blobs(&spec).into_iter().map(|p| p.pointer).collect();
        assert_eq!(refused, ["/inputBlob", "/files"]);
        assert!(refuse_blobs(&JobSpec::default()).is_empty());
    }
}
