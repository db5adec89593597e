//! `windlass run`: one job on an engine in this process.

use std::io::{Read as _, stdin};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value};
use windlass_core::jobs::{Submission, Watch};
use windlass_core::parse::{self, Unread};
use windlass_core::{API_VERSION, Error, Job, JobSpec, Jobs as _, Phase};
use windlass_local::functions::documents;
use windlass_local::{Engine, Library, NAMESPACE};

use crate::cli::{BadUsage, Run};
use crate::output::Output;
use crate::{commands, log, machine, terminal};

/// How a shell reports a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Longest text that is read as a manifest or an input, in bytes.
const MAX_TEXT_BYTES: u64 = 1 << 20;

pub(crate) async fn run(args: Run) -> anyhow::Result<ExitCode> {
    log::start("warn");
    let mut functions = machine::functions(&args.machine)?;
    let submission = match &args.file {
        Some(file) => {
            if file.as_os_str() != "-" {
                functions.load(file).map_err(|error| BadUsage(error.to_string()))?;
            }
            from_manifest(file)?
        }
        None => from_arguments(&args)?,
    };
    if functions.get(&submission.spec.function).is_none() {
        let known: Vec<_> = functions.all().map(|f| f.metadata.name.as_str()).collect();
        let name = &submission.spec.function;
        return Err(BadUsage(format!(
            "there is no function {name:?}; there are: {}. --functions adds more",
            known.join(", ")
        ))
        .into());
    }
    // Before the work, so that none is done for a result that cannot be kept.
    let output = Output::open(args.output.as_deref())?;
    let data = tempfile::Builder::new().prefix("windlass-run-").tempdir()?;
    let config = machine::config(&args.machine, Library::fixed(functions), data.path())?;
    let engine = Engine::start(config).context("the engine cannot start")?;

    let job = engine.submit(submission).await?;
    let key = job.key();
    let mut changes = engine.watch(&key).await?;
    let interrupted = commands::stopped();
    let end = tokio::select! {
        end = follow(changes.as_mut()) => Some(end?),
        () = interrupted => None,
    };
    let Some(job) = end else {
        let grace = windlass_core::contract::STOP_GRACE_SECONDS;
        log::tell(&format!(
            "windlass: interrupted; the job is cancelled and has {grace} s to stop (again: kill it)"
        ));
        tokio::select! {
            () = engine.shutdown() => {}
            // The workers are killed with this process's runtime, their functions with them.
            () = commands::stopped() => {}
        }
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let code = match job.status.phase {
        Some(Phase::Succeeded) => {
            let result = engine.result(&key).await?;
            let whole = 0..result.bytes;
            output.write(result.read(whole).await?).await?;
            ExitCode::SUCCESS
        }
        _ => {
            log::tell(&explain(&job));
            ExitCode::FAILURE
        }
    };
    engine.shutdown().await;
    Ok(code)
}

/// Shows progress until the job has ended.
async fn follow(changes: &mut dyn Watch) -> anyhow::Result<Job> {
    let mut progress = terminal::Progress::start();
    loop {
        let job = changes.next().await?;
        progress.show(&job);
        if job.status.is_finished() {
            progress.finish();
            return Ok(job);
        }
    }
}

fn explain(job: &Job) -> String {
    match &job.status.failure {
        Some(failure) => format!(
            "windlass: the job failed ({}, attempt {}): {}",
            failure.reason.as_str(),
            failure.attempt,
            terminal::printable(&failure.message)
        ),
        None => format!("windlass: the job was {}", job.status.phase.map_or("", Phase::as_str)),
    }
}

fn from_arguments(args: &Run) -> anyhow::Result<Submission> {
    let input = match args.input.as_deref() {
        None => Map::new(),
        Some("-") => input(&read(Path::new("-"))?, "standard input")?,
        Some(text) => match text.strip_prefix('@') {
            Some(file) => input(&read(Path::new(file))?, file)?,
            None => input(text, "--input")?,
        },
    };
    let function = args.function.clone().unwrap_or_default();
    let spec = JobSpec {
        function,
        input,
        parallelism: args.parallelism,
        timeout_seconds: args.timeout,
        retries: args.retries,
        ..empty_spec()?
    };
    Ok(Submission { namespace: NAMESPACE.into(), name: None, spec, request_sha256: None })
}

/// A spec with every default of the resource.
fn empty_spec() -> anyhow::Result<JobSpec> {
    Ok(serde_json::from_value(serde_json::json!({ "function": "" }))?)
}

fn input(text: &str, source: &str) -> anyhow::Result<Map<String, Value>> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| BadUsage(format!("{source} is not JSON: {error}")))?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(BadUsage(format!("{source} must be a JSON object")).into()),
    }
}

/// The one ComputeJob of a manifest.
fn from_manifest(file: &Path) -> anyhow::Result<Submission> {
    let source = file.display();
    let bad = |why: String| BadUsage(format!("{source}: {why}"));
    let mut found = Vec::new();
    for document in documents(&read(file)?).map_err(&bad)? {
        let field = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        if field("apiVersion") == API_VERSION && field("kind") == Job::KIND {
            let job: Job = parse::value_of(document).map_err(|unread| match unread {
                Unread::Malformed(why) => bad(why),
                Unread::Misshapen(problems) => bad(Error::Invalid(problems).to_string()),
            })?;
            found.push(job);
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
    Ok(Submission { namespace: NAMESPACE.into(), name, spec: job.spec, request_sha256: None })
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
