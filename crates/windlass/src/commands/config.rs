//! `windlass config`: the configuration file of `windlass serve`.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, Args as _, Command, FromArgMatches as _, Subcommand};

use crate::commands::serve::Serve;
use crate::flags::bad_usage::BadUsage;
use crate::flags::config_file::{ConfigFile, keys};
use crate::output::objects;
use crate::server::engine_config;

/// Check the configuration file of `windlass serve`, or print one.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether a server would take this file: its keys and values, the certificate, the functions
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print a file with every key, its meaning and its default
    #[command(after_help = "\
Example:
  windlass config print > windlass.toml")]
    Print,
}

/// The first lines of a file.
const HEAD: &str = "\
# The configuration of `windlass serve`, for `--config FILE` or WINDLASS_CONFIG.
# Each key is the flag of that name. What the command line or the environment says counts before this file.
";

pub(crate) fn config(what: ConfigCommand) -> anyhow::Result<ExitCode> {
    let text = match what {
        ConfigCommand::Check { file } => check(&file)?,
        ConfigCommand::Print => printed(&serve()),
    };
    objects::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn serve() -> Command {
    Serve::augment_args(Command::new("windlass serve")).no_binary_name(true)
}

/// What a server refuses before it starts, but for what depends on the rest of the machine.
fn check(path: &Path) -> anyhow::Result<String> {
    let command = serve();
    let mut flags: Vec<OsString> = ConfigFile::read(path, &command)?.flags(|_| true).collect();
    let number = flags.len();
    flags.push("--config".into());
    flags.push(path.into());
    let refused = |why: &dyn Display| BadUsage(format!("{}: {why}", path.display()));
    // The environment is that of whoever checks, not of the server.
    let matches = command.mut_args(|flag| flag.env(None::<&str>)).try_get_matches_from(flags);
    let matches = matches.map_err(|error| match error.get(ContextKind::InvalidArg) {
        Some(missing) if error.kind() == ErrorKind::MissingRequiredArgument => {
            refused(&format!("it lacks {missing}"))
        }
        _ => refused(&error),
    })?;
    let args = Serve::from_arg_matches(&matches)?;
    args.checked_tls().map_err(|error| refused(&error))?;
    engine_config::functions(&args.machine).map_err(|error| refused(&error))?;
    Ok(format!("{}: a server takes it ({number} settings)\n", path.display()))
}

/// A file with every key, as a comment.
fn printed(serve: &Command) -> String {
    let parts = keys(serve).map(|(key, flag)| {
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let env = flag.get_env().map(|name| format!(" [env: {}]", name.to_string_lossy()));
        let help = wrapped(&(help + &env.unwrap_or_default()));
        format!("\n{help}#{key} = {}\n", example(flag))
    });
    HEAD.to_owned() + &parts.collect::<String>()
}

/// The default of a flag, or what its value is called.
fn example(flag: &Arg) -> String {
    // A string is written as in JSON.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let name = flag.get_value_names().and_then(|names| names.first());
    let name = quoted(&format!("<{}>", name.map_or("VALUE", |name| name.as_str())));
    if matches!(flag.get_action(), ArgAction::Append) {
        return format!("[{name}]");
    }
    match flag.get_default_values().first().map(|value| value.to_string_lossy()) {
        Some(default) if default.parse::<i64>().is_ok() => default.into_owned(),
        Some(default) => quoted(&default),
        None => name,
    }
}

/// Comments of at most 100 characters a line.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut length = usize::MAX;
    for word in text.split_whitespace() {
        let more = word.chars().count() + 1;
        if length.saturating_add(more) > 100 {
            lines += if lines.is_empty() { "#" } else { "\n#" };
            length = 1;
        }
        lines.push(' ');
        lines += word;
        length += more;
    }
    lines + "\n"
}
