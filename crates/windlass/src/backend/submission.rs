//! A new job, from the command line or a manifest.

use std::collections::BTreeMap;
use std::io::{Read as _, stdin};
use std::path::Path;

use serde_json::{Map, Value};
use windlass_core::jobs::Submission;
use windlass_core::parse::{self, Syntax, Unread};
use windlass_core::{API_VERSION, Error, Job, JobSpec};
use windlass_local::functions::documents;

use crate::flags::bad_usage::BadUsage;
use crate::flags::job::{JobSpecFlags, NewJobFlags};

/// Longest text that is read as a manifest or an input, in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Most names that are listed to somebody who names a function that does not exist.
const SHOWN: usize = 20;

/// What was asked for. A namespace of the manifest counts where the command line names none.
pub(crate) fn submission(
    request: &NewJobFlags,
    namespace: &str,
    is_named: bool,
) -> anyhow::Result<Submission> {
    match (&request.file, &request.function) {
        (Some(file), _) => from_manifest(file, namespace, is_named),
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
) -> anyhow::Result<Submission> {
    // A new option cannot be forgotten here.
    let JobSpecFlags {
        input,
        name,
        parallelism,
        min_parallelism,
        queue,
        priority,
        timeout,
        retries,
        ttl,
    } = wanted;
    let input = match input.as_deref() {
        None => Map::new(),
        Some("-") => object(&read(Path::new("-"))?, "standard input")?,
        Some(text) => match text.strip_prefix('@') {
            Some(file) => object(&read(Path::new(file))?, file)?,
            None => object(text, "--input")?,
        },
    };
    let spec = JobSpec {
        input_blob: None,
        files: BTreeMap::new(),
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
    Ok(Submission {
        namespace: namespace.to_owned(),
        name: name.clone(),
        spec,
        request_sha256: None,
        is_waited_for: false,
    })
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

fn object(text: &str, source: &str) -> anyhow::Result<Map<String, Value>> {
    let value = parse::submitted(text.as_bytes()).map_err(|unread| match unread {
        Unread::Malformed(why) => BadUsage(format!("{source} is not JSON: {why}")),
        Unread::Misshapen(problems) => BadUsage(format!("{source}: {}", Error::Invalid(problems))),
    })?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(BadUsage(format!("{source} must be a JSON object")).into()),
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
    Ok(Submission { namespace, name, spec: job.spec, request_sha256: None, is_waited_for: false })
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
