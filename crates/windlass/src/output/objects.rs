//! Objects as they are shown: tables for people, JSON, YAML and names for programs.
//!
//! In: objects, whose texts may be a stranger's. Out: text on standard output that steers no terminal.
//! Colours only where a terminal wants them (`NO_COLOR` is honoured).

use std::io::{self, Write};

use anyhow::Context as _;
use clap::builder::styling::{AnsiColor, Style};
use jiff::Timestamp;
use serde::Serialize;
use windlass_core::status::Place;
use windlass_core::{API_VERSION, Function, GROUP, Job, JobStatus, Phase, Queue};

use super::age::age;
use super::terminal;
use crate::flags::output_form::OutputForm;

/// What a cell says that has nothing to say.
const NOTHING: &str = "";

/// Between two columns, in characters.
const GAP: usize = 3;

/// An object that is shown.
pub(crate) trait Shown: Serialize {
    /// Its kind.
    const KIND: &'static str;

    /// The kind of this one.
    fn kind(&self) -> &str {
        Self::KIND
    }

    /// Its name.
    fn name(&self) -> &str;

    /// The heads of its columns: those of the table, and the further ones of the wide table.
    fn columns() -> (&'static [&'static str], &'static [&'static str]);

    /// Its cells, as many as there are columns.
    fn cells(&self, now: Timestamp) -> Vec<String>;

    /// The style of a cell.
    fn style(&self, _column: &str) -> Style {
        Style::new()
    }
}

/// Shows one object.
pub(crate) fn one<T: Shown>(object: &T, shape: OutputForm) -> anyhow::Result<()> {
    match shape {
        OutputForm::Json => print(&json(object)?),
        OutputForm::Yaml => print(&yaml(object)?),
        shape => many(std::slice::from_ref(object), shape),
    }
}

/// Shows objects of which more will come: the first ones with the heads of their columns.
pub(crate) fn some<T: Shown>(
    objects: &[&T],
    shape: OutputForm,
    are_first: bool,
) -> anyhow::Result<()> {
    match shape {
        OutputForm::Table | OutputForm::Wide => {
            let mut table = Table::new::<T>(shape == OutputForm::Wide);
            let now = Timestamp::now();
            objects.iter().for_each(|object| table.add(*object, now));
            print(&table.text(are_first))
        }
        OutputForm::Yaml => {
            objects.iter().try_for_each(|object| print(&format!("---\n{}", yaml(object)?)))
        }
        shape => objects.iter().try_for_each(|object| one(*object, shape)),
    }
}

/// Shows a list of objects.
pub(crate) fn many<T: Shown>(objects: &[T], shape: OutputForm) -> anyhow::Result<()> {
    match shape {
        OutputForm::Json => print(&json(&Listing::of_items(objects))?),
        OutputForm::Yaml => print(&yaml(&Listing::of_items(objects))?),
        OutputForm::Name => {
            print(&objects.iter().map(|object| full_name(object) + "\n").collect::<String>())
        }
        OutputForm::Table | OutputForm::Wide => {
            some(&objects.iter().collect::<Vec<_>>(), shape, true)
        }
    }
}

/// The name of an object as kubectl takes it, and this program too.
pub(crate) fn full_name<T: Shown>(object: &T) -> String {
    let kind = terminal::printable(object.kind()).to_ascii_lowercase();
    format!("{kind}.{GROUP}/{}", terminal::printable(object.name()))
}

/// Writes to standard output. Who reads no more has read enough.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}

/// Pretty JSON in which nothing could steer a terminal: what could is escaped, which JSON allows.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<String> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    if !text.contains(terminal::steers) {
        return Ok(text);
    }
    let mut escaped = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        if terminal::steers(c) {
            for unit in c.encode_utf16(&mut units) {
                escaped += &format!("\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Ok(escaped)
}

/// YAML without what could steer a terminal.
pub(crate) fn yaml<T: Serialize>(value: &T) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(value)?;
    without_steering(&mut value);
    let text = serde_saphyr::to_string(&value)?;
    Ok(terminal::printable(text.trim_end()) + "\n")
}

fn without_steering(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) if text.contains(terminal::steers) => *text = terminal::printable(text),
        Value::Array(items) => items.iter_mut().for_each(without_steering),
        Value::Object(fields) => fields.values_mut().for_each(without_steering),
        _ => {}
    }
}

/// A list in the shape that the Kubernetes API gives.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing<'a, T> {
    api_version: &'static str,
    kind: String,
    items: &'a [T],
}

impl<'a, T: Shown> Listing<'a, T> {
    fn of_items(items: &'a [T]) -> Self {
        Self { api_version: API_VERSION, kind: format!("{}List", T::KIND), items }
    }
}

/// A table as kubectl's: no lines, columns as wide as what is in them.
pub(crate) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    pub(crate) fn new<T: Shown>(wide: bool) -> Self {
        let (narrow, more) = T::columns();
        let heads = narrow.iter().chain(if wide { more } else { &[] }).copied().collect();
        Self { heads, rows: Vec::new() }
    }

    pub(crate) fn add<T: Shown>(&mut self, object: &T, now: Timestamp) {
        let cells = object.cells(now).into_iter().map(|text| terminal::line(&text));
        let row = self.heads.iter().zip(cells);
        self.rows.push(row.map(|(head, text)| (text, object.style(head))).collect());
    }

    /// The whole of it, with its heads or without.
    pub(crate) fn text(&self, with_heads: bool) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].0.chars().count());
            cells.chain([self.heads[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.heads.len()).map(width).collect();
        let heads: Vec<_> =
            self.heads.iter().map(|head| ((*head).to_owned(), Style::new())).collect();
        let rows = with_heads.then_some(&heads).into_iter().chain(&self.rows);
        rows.map(|row| {
            let mut line = String::new();
            for ((cell, style), width) in row.iter().zip(&widths) {
                let padding = " ".repeat(width - cell.chars().count() + GAP);
                line += &format!("{style}{cell}{style:#}{padding}");
            }
            line.trim_end().to_owned() + "\n"
        })
        .collect()
    }
}

impl Shown for Job {
    const KIND: &'static str = Job::KIND;

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn columns() -> (&'static [&'static str], &'static [&'static str]) {
        (
            &["NAME", "FUNCTION", "PHASE", "REASON", "CPUS", "PROGRESS", "AGE"],
            &["QUEUE", "ATTEMPT", "NODE", "ELAPSED", "LABELS"],
        )
    }

    fn cells(&self, now: Timestamp) -> Vec<String> {
        let status = &self.status;
        let labels = self.metadata.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let elapsed = status.timeline.running.map(|running| {
            let end = status.timeline.finished.filter(|_| status.is_finished()).unwrap_or(now);
            age(running, end)
        });
        vec![
            self.metadata.name.clone(),
            self.spec.function.clone(),
            status.phase.map_or(NOTHING, Phase::as_str).to_owned(),
            status.failure.as_ref().map_or(NOTHING, |failure| failure.reason.as_str()).to_owned(),
            number(status.parallelism.or(self.spec.parallelism)),
            how_far(status, now),
            self.metadata.creation_timestamp.map(|at| age(at, now)).unwrap_or_default(),
            self.spec.queue().to_owned(),
            number(status.attempt),
            status.node.clone().unwrap_or_default(),
            elapsed.unwrap_or_default(),
            labels.collect::<Vec<_>>().join(","),
        ]
    }

    fn style(&self, column: &str) -> Style {
        let color = match (column, self.status.phase) {
            ("PHASE", Some(Phase::Succeeded)) => AnsiColor::Green,
            ("PHASE", Some(Phase::Failed)) => AnsiColor::Red,
            ("PHASE", Some(Phase::Cancelled)) => AnsiColor::Yellow,
            ("PHASE", Some(Phase::Running | Phase::Starting)) => AnsiColor::Cyan,
            _ => return Style::new(),
        };
        color.on_default()
    }
}

impl Shown for Function {
    const KIND: &'static str = Function::KIND;

    fn kind(&self) -> &str {
        &self.kind
    }

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn columns() -> (&'static [&'static str], &'static [&'static str]) {
        (&["NAME", "DEFAULT", "MAX", "DESCRIPTION"], &["TIMEOUT", "RESULT", "IMAGE", "KIND"])
    }

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let spec = &self.spec;
        vec![
            self.metadata.name.clone(),
            spec.parallelism.default.to_string(),
            spec.parallelism.max.to_string(),
            spec.description.clone().unwrap_or_default(),
            format!("{}s", spec.timeout_seconds.default),
            spec.content_type.clone(),
            spec.image.clone().unwrap_or_default(),
            self.kind.clone(),
        ]
    }
}

impl Shown for Queue {
    const KIND: &'static str = Queue::KIND;

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn columns() -> (&'static [&'static str], &'static [&'static str]) {
        (
            &["NAME", "CPUS", "GRANTED", "WAITING", "WEIGHT", "HOLD"],
            &["MAX-QUEUED", "MAX-PARALLELISM", "PREEMPTION"],
        )
    }

    fn cells(&self, _: Timestamp) -> Vec<String> {
        let (spec, status) = (&self.spec, self.status.as_ref());
        vec![
            self.metadata.name.clone(),
            spec.cpus.to_string(),
            number(status.map(|status| status.granted)),
            number(status.map(|status| status.waiting)),
            spec.weight.to_string(),
            spec.hold.to_string(),
            spec.max_queued.to_string(),
            number(spec.max_parallelism_per_job),
            spec.preemption.as_str().to_owned(),
        ]
    }
}

/// How far a job is: its progress, or its place while it waits.
fn how_far(status: &JobStatus, now: Timestamp) -> String {
    match (&status.waiting, status.phase) {
        (Some(Place { position, estimated_start }), Some(Phase::Queued)) => {
            let start = estimated_start.map(|start| format!(", starts in {}", age(now, start)));
            format!("position {position}{}", start.unwrap_or_default())
        }
        _ => status.progress.as_ref().map(|told| told.percent.clone()).unwrap_or_default(),
    }
}

fn number(number: Option<u32>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use windlass_core::{JobSpec, Metadata};

    use super::*;

    fn job(name: &str, message: &str) -> Job {
        let metadata = Metadata {
            name: name.into(),
            creation_timestamp: Timestamp::from_second(100).ok(),
            ..Metadata::default()
        };
        let spec = JobSpec { function: "price".into(), ..JobSpec::default() };
        let mut job = Job::new(metadata, spec);
        job.status.phase = Some(Phase::Running);
        job.status.parallelism = Some(2);
        job.status.node = Some(message.into());
        job
    }

    #[test]
    fn a_table_is_as_kubectls_and_only_the_phase_has_a_colour() {
        let now = Timestamp::from_second(190).unwrap();
        let mut table = Table::new::<Job>(true);
        let mut first = job("a", "node\u{1b}[2J\n1");
        first.metadata.labels.insert("team".into(), "blue".into());
        table.add(&first, now);
        table.add(&job("longer-name", ""), now);
        let text = table.text(true);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "NAME          FUNCTION   PHASE     REASON   CPUS   PROGRESS   AGE   QUEUE     ATTEMPT   NODE        ELAPSED   LABELS\n\
             a             price      Running            2                 90s   default             node[2J 1             team=blue\n\
             longer-name   price      Running            2                 90s   default\n"
        );
        assert_eq!(text.matches("\u{1b}[36mRunning\u{1b}[0m").count(), 2, "{text:?}");
        assert_eq!(text.matches('\u{1b}').count(), 4, "{text:?}");
    }

    #[test]
    fn a_job_that_waits_has_its_place_where_another_has_its_progress() {
        let now = Timestamp::from_second(190).unwrap();
        let mut job = job("a", "");
        let estimated_start = Timestamp::from_second(250).ok();
        job.status.waiting = Some(Place { position: 3, estimated_start });
        assert_eq!(how_far(&job.status, now), "", "it runs");
        job.status.phase = Some(Phase::Queued);
        assert_eq!(how_far(&job.status, now), "position 3, starts in 60s");
        job.status.waiting = Some(Place { position: 3, estimated_start: None });
        assert_eq!(how_far(&job.status, now), "position 3");
    }

    #[test]
    fn what_a_job_says_steers_no_terminal_and_json_keeps_all_of_it() {
        let hostile = "\u{1b}[31m \u{9b}2J \u{7f} \u{202e} end\ttab\nline";
        let object = job("a", hostile);
        let json = json(&object).unwrap();
        assert!(!json.contains(terminal::steers), "{json:?}");
        let read: Job = serde_json::from_str(&json).unwrap();
        assert_eq!(read.status.node.as_deref(), Some(hostile));
        let yaml = yaml(&object).unwrap();
        assert!(!yaml.contains(terminal::steers), "{yaml:?}");
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["status"]["node"], terminal::printable(hostile));
    }
}
