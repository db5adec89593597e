//! A new job, from the command line or a manifest.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, stdin};
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value};
use windlass_core::job::MAX_INPUT_BYTES;
use windlass_core::jobs::Submission;
use windlass_core::labels::Labels;
use windlass_core::parse::{self, Syntax, Unread};
use windlass_core::{API_VERSION, Error, Job, JobSpec, media_type};
use windlass_local::functions::documents;

use super::local_file::{self, LocalFile};
use crate::flags::bad_usage::BadUsage;
use crate::flags::job::{JobSpecFlags, NewJobFlags};

/// Longest text that is read as a manifest, or whole as an input, in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Most names that are listed to somebody who names a function that does not exist.
const SHOWN: usize = 20;

/// A job that is asked for, and the files that are sent before it.
pub(crate) struct NewJob {
    pub(crate) submission: Submission,
    pub(crate) files: Vec<LocalFile>,
}

/// What was asked for. A namespace of the manifest counts where the command line names none.
pub(crate) fn submission(
    request: &NewJobFlags,
    namespace: &str,
    is_named: bool,
) -> anyhow::Result<NewJob> {
    match (&request.file, &request.function) {
        (Some(file), _) => {
            let submission = from_manifest(file, namespace, is_named)?;
            Ok(NewJob { submission, files: Vec::new() })
        }
        (None, function) => {
            of_function(function.as_deref().unwrap_or_default(), &request.spec, namespace)
        }
    }
}

/// A job of this function.
pub(crate) fn of_function(
    function: &str,
    wanted: &JobSpecFlags,
    namespace: &str,
) -> anyhow::Result<NewJob> {
    // A new option cannot be forgotten here.
    let JobSpecFlags {
        input,
        input_type,
        files,
        name,
        labels,
        parallelism,
        min_parallelism,
        queue,
        priority,
        timeout,
        retries,
        ttl,
        retry_of,
    } = wanted;
    let (input, sent) = match read_input(input.as_deref(), input_type.as_deref())? {
        Input::Inline(input) => (input, None),
        Input::Sent(file) => (Map::new(), Some(file)),
    };
    let named =
        files.iter().map(|text| local_file::named(text)).collect::<anyhow::Result<Vec<_>>>()?;
    let by_name = |(name, file): &(String, LocalFile)| (name.clone(), file.blob.clone());
    let spec = JobSpec {
        input_blob: sent.as_ref().map(|file| file.blob.clone()),
        files: named.iter().map(by_name).collect(),
        function: function.to_owned(),
        input,
        parallelism: *parallelism,
        min_parallelism: *min_parallelism,
        queue: queue.clone(),
        priority: priority.unwrap_or_default(),
        timeout_seconds: *timeout,
        retries: *retries,
        ttl_seconds_after_finished: ttl.unwrap_or_else(JobSpec::default_ttl_seconds),
        cancel: false,
    };
    let files = sent.into_iter().chain(named.into_iter().map(|(_, file)| file)).collect();
    let submission = Submission {
        namespace: namespace.to_owned(),
        name: name.clone(),
        spec,
        labels: distinct(labels)?,
        retry_of: retry_of.clone(),
        ..Submission::default()
    };
    Ok(NewJob { submission, files })
}

/// Labels of which each key was given once: of two values nobody knows which was meant.
fn distinct(given: &[(String, String)]) -> anyhow::Result<Labels> {
    let mut labels = Labels::new();
    for (key, value) in given {
        if labels.insert(key.clone(), value.clone()).is_some() {
            return Err(BadUsage(format!("--label {key} is given twice")).into());
        }
    }
    Ok(labels)
}

/// An input as the command line gives it.
enum Input {
    /// A part of the job.
    Inline(Map<String, Value>),
    /// Bytes beside it.
    Sent(LocalFile),
}

/// JSON that is small is a part of the job; everything else is sent beside it.
fn read_input(input: Option<&str>, media_type: Option<&str>) -> anyhow::Result<Input> {
    // As curl has it.
    let input = input.map(|text| if text == "@-" { "-" } else { text });
    let named = input.and_then(|text| text.strip_prefix('@'));
    let (mut file, source) = match (input, named) {
        (_, Some(path)) => {
            let opened = File::open(path).map_err(|error| BadUsage(format!("{path}: {error}")))?;
            // A pipe, for example of `<(COMMAND)`, is read once.
            let is_file = opened.metadata().is_ok_and(|found| found.is_file());
            (if is_file { opened } else { kept(opened, path)? }, path)
        }
        (Some("-"), _) => (kept(stdin(), "standard input")?, "standard input"),
        _ if media_type.is_some() => {
            return Err(BadUsage("--input-type is for --input @FILE and --input -".into()).into());
        }
        (text, _) => return object(text.unwrap_or("{}"), "--input").map(Input::Inline),
    };
    let told = media_type.or_else(|| named.and_then(|path| local_file::type_of(Path::new(path))));
    // As it was before there were other types.
    let told = told.unwrap_or(media_type::JSON);
    let unread = |error: io::Error| BadUsage(format!("{source}: {error}"));
    if told == media_type::JSON {
        file.rewind().map_err(unread)?;
        let mut text = Vec::new();
        (&file).take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).map_err(unread)?;
        if text.len() as u64 <= MAX_TEXT_BYTES {
            let value = json(&text, source)?;
            match value {
                Value::Object(map) if is_small(&map) => return Ok(Input::Inline(map)),
                _ => {}
            }
        }
    }
    Ok(Input::Sent(LocalFile::from_file(file, told).map_err(unread)?))
}

/// A file with what comes from a source that can be read once.
fn kept(mut from: impl io::Read, source: &str) -> anyhow::Result<File> {
    let context = || format!("{source} cannot be kept");
    let mut kept = tempfile::tempfile().with_context(context)?;
    io::copy(&mut from, &mut kept).with_context(context)?;
    Ok(kept)
}

/// Whether an input can be a part of its job.
fn is_small(input: &Map<String, Value>) -> bool {
    serde_json::to_vec(input).is_ok_and(|bytes| bytes.len() <= MAX_INPUT_BYTES)
}

/// What to tell somebody who names a function that does not exist: those that do.
pub(crate) fn unknown_function(name: &str, mut known: Vec<&str>) -> String {
    known.sort_unstable();
    let more = known.len().saturating_sub(SHOWN);
    known.truncate(SHOWN);
    match (known.is_empty(), more) {
        (true, _) => format!("there is no function {name:?}; there are none"),
        (false, 0) => format!("there is no function {name:?}; there are: {}", known.join(", ")),
        (false, more) => {
            format!(
                "there is no function {name:?}; there are: {} and {more} more",
                known.join(", ")
            )
        }
    }
}

fn json(text: &[u8], source: &str) -> anyhow::Result<Value> {
    Ok(parse::submitted(text).map_err(|unread| match unread {
        Unread::Malformed(why) => BadUsage(format!("{source} is not JSON: {why}")),
        Unread::Misshapen(problems) => BadUsage(format!("{source}: {}", Error::Invalid(problems))),
    })?)
}

fn object(text: &str, source: &str) -> anyhow::Result<Map<String, Value>> {
    match json(text.as_bytes(), source)? {
        Value::Object(map) => Ok(map),
        _ => Err(BadUsage(format!("{source} must be a JSON object; others come by @FILE")).into()),
    }
}

/// The one ComputeJob of a manifest.
fn from_manifest(file: &Path, namespace: &str, is_named: bool) -> anyhow::Result<Submission> {
    let source = file.display();
    let bad = |why: String| BadUsage(format!("{source}: {why}"));
    let unread = |unread: Unread| match unread {
        Unread::Malformed(why) => bad(why),
        Unread::Misshapen(problems) => bad(Error::Invalid(problems).to_string()),
    };
    let text = read(file)?;
    let mut found = Vec::new();
    for document in documents(&text).map_err(&bad)? {
        let field = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        if field("apiVersion") == API_VERSION && field("kind") == Job::KIND {
            parse::check_integers(&document, text.as_bytes(), Syntax::Yaml).map_err(unread)?;
            found.push(parse::value_of::<Job>(document).map_err(unread)?);
        }
    }
    let Ok([job]) = <[Job; 1]>::try_from(found) else {
        let kind = Job::KIND;
        return Err(bad(format!("one document of kind {kind} ({API_VERSION}) is needed")).into());
    };
    let name = Some(job.metadata.name).filter(|name| !name.is_empty());
    if let Some(name) = &name {
        windlass_core::validate::validate_name(name)?;
    }
    let labels = job.metadata.labels;
    windlass_core::validate::validate_labels(&labels)?;
    let own = Some(job.metadata.namespace).filter(|own| !own.is_empty());
    let namespace = match own {
        Some(own) if is_named && own != namespace => {
            return Err(
                bad(format!("it is of namespace {own:?}, and {namespace:?} was named")).into()
            );
        }
        Some(own) => own,
        None => namespace.to_owned(),
    };
    if let Some(why) = windlass_core::name::problem(&namespace) {
        return Err(bad(format!("/metadata/namespace: {namespace:?} {why}")).into());
    }
    Ok(Submission { namespace, name, labels, spec: job.spec, ..Submission::default() })
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        stdin().take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text))
    };
    read.map_err(|error| BadUsage(format!("{}: {error}", path.display())))?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(
            BadUsage(format!("{}: more than {MAX_TEXT_BYTES} bytes", path.display())).into()
        );
    }
    Ok(text)
}
