//! The configuration file of `windlass serve`: its flags as the keys of a TOML file.
//!
//! The file adds to the command line what neither that nor the environment says. So clap's definitions say what there is,
//! and they alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Id};
use toml::{Table, Value};
use windlass_local::bounded_file;

use super::bad_usage::BadUsage;

/// Most bytes of a configuration file.
const MAX_BYTES: u64 = 1 << 20;

/// The command that has a configuration file.
const COMMAND: &str = "serve";

/// Its flag that names the file.
const FLAG: &str = "config";

/// How alike a key and a flag are that is meant by it, as clap has it.
const ALIKE: f64 = 0.7;

/// What the command line says, and what the file says that it names. Ends the process where clap refuses the command
/// line.
pub(crate) fn matches(command: Command, arguments: Vec<OsString>) -> anyhow::Result<ArgMatches> {
    if arguments.get(1).is_none_or(|word| word != COMMAND) {
        return Ok(command.get_matches_from(arguments));
    }
    // What a flag needs beside it may be in the file.
    let alone = |flag: Arg| flag.requires(Resettable::<Id>::Reset);
    let lenient = command.clone().mut_subcommand(COMMAND, |serve| serve.mut_args(alone));
    let given = lenient.get_matches_from(&arguments);
    let (Some((_, given)), Some(serve)) = (given.subcommand(), command.find_subcommand(COMMAND))
    else {
        return Ok(command.get_matches_from(arguments));
    };
    let mut all = arguments;
    if let Some(path) = given.get_one::<PathBuf>(FLAG) {
        let file = ConfigFile::read(path, serve)?;
        let said = |id: &str| {
            let source = given.value_source(id);
            matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        all.splice(2..2, file.flags(|id| !said(id)));
    }
    Ok(command.get_matches_from(all))
}

/// The flags that may be keys.
pub(crate) fn keys(serve: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    serve.get_arguments().filter_map(|flag| Some((flag.get_long()?, flag))).filter(|(key, flag)| {
        let takes_values = matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
        *key != FLAG && takes_values
    })
}

/// What a file says.
pub(crate) struct ConfigFile {
    /// The ids of flags, each with the arguments that say the same.
    settings: Vec<(String, Vec<OsString>)>,
}

impl ConfigFile {
    /// Reads a file for this command. Each of its values is one that its flag takes.
    pub(crate) fn read(path: &Path, serve: &Command) -> Result<Self, BadUsage> {
        let refused = |why: String| BadUsage(format!("{}: {why}", path.display()));
        let text = bounded_file::read(path, MAX_BYTES).map_err(|why| refused(why.to_string()))?;
        let table: Table = text.parse().map_err(|error| refused(format!("{error}")))?;
        let settings = table.iter().map(|(key, value)| setting(key, value, serve).map_err(refused));
        Ok(Self { settings: settings.collect::<Result<_, _>>()? })
    }

    /// The arguments of those flags that are wanted.
    pub(crate) fn flags(self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = OsString> {
        let settings = self.settings.into_iter().filter(move |(id, _)| wanted(id));
        settings.flat_map(|(_, arguments)| arguments)
    }
}

/// One key and its value, as the flag of this command.
fn setting(key: &str, value: &Value, serve: &Command) -> Result<(String, Vec<OsString>), String> {
    let flag = keys(serve).find(|(known, _)| *known == key).ok_or_else(|| unknown(key, serve))?.1;
    let is_list = matches!(flag.get_action(), ArgAction::Append);
    let mut arguments = Vec::new();
    let mut add = |path: &str, value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Array(_) => return Err(format!("{path}: it has one value, not a list")),
            other => {
                return Err(format!(
                    "{path}: {} is no string and no whole number",
                    other.type_str()
                ));
            }
        };
        let argument = OsString::from(format!("--{key}={text}"));
        check(serve, &argument).map_err(|why| format!("{path}: {text:?}: {why}"))?;
        arguments.push(argument);
        Ok(())
    };
    match value {
        Value::Array(items) if is_list => {
            for (index, item) in items.iter().enumerate() {
                add(&format!("{key}[{index}]"), item)?;
            }
        }
        value => add(key, value)?,
    }
    Ok((flag.get_id().to_string(), arguments))
}

/// Whether the command takes this argument, whatever others it needs beside.
fn check(serve: &Command, argument: &OsString) -> Result<(), String> {
    let alone = |flag: Arg| flag.requires(Resettable::<Id>::Reset).env(None::<&str>);
    let command = serve.clone().no_binary_name(true).mut_args(alone);
    let Err(error) = command.try_get_matches_from([argument]) else { return Ok(()) };
    let why = std::error::Error::source(&error).map(ToString::to_string);
    let values =
        error.get(ContextKind::ValidValue).filter(|_| error.kind() == ErrorKind::InvalidValue);
    Err(why
        .or_else(|| values.map(|values| format!("it is none of {values}")))
        .unwrap_or_else(|| error.kind().to_string()))
}

fn unknown(key: &str, serve: &Command) -> String {
    let scored = keys(serve).map(|(known, _)| (strsim::jaro(key, known), known));
    let nearest = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(alike, _)| *alike > ALIKE);
    let hint = nearest.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default();
    format!("{key}: there is no such key{hint}")
}
