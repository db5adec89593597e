//! `windlass keys`: keys of other callers than the admin, for the server on this machine. They work
//! on its data directory; the server need not run.

use clap::{Args, Subcommand};
use std::collections::BTreeSet;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use windlass_core::name;

use crate::flags::bad_usage::BadUsage;
use crate::flags::duration::duration;
use crate::output::log;
use crate::server::access;
use crate::server::engine_config;
use crate::server::keys::{self, Key, NewKey, Right};

/// Give other services keys of their own to the server on this machine, or take them back.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it, this once
    Create(Create),
    /// Show the keys that there are, but for their secrets
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Take a key back; a running server refuses it within a second
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        data: Data,
    },
}

/// Make a key and print it, this once.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  export WINDLASS_TOKEN=$(windlass keys create web --verbs create,get,watch --expires 90d)")]
pub(crate) struct Create {
    /// Its name, for `list` and `revoke`
    pub(crate) name: String,
    /// What its holder may do with jobs; `metrics` lets it read /metrics
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "VERB,...",
        default_value = "get,list,watch,create,patch,delete"
    )]
    pub(crate) verbs: Vec<Right>,
    /// Namespace of those jobs; a server on one machine has only `default`
    #[arg(short, long, default_value = "default", value_name = "NAME")]
    pub(crate) namespace: String,
    /// When it ends, such as 90d, 12h, 30m or 45s from now [default: when it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) expires: Option<Duration>,
    #[command(flatten)]
    pub(crate) data: Data,
}

/// Where the server keeps its data.
#[derive(Debug, Args)]
pub(crate) struct Data {
    /// Data directory of the server [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

impl Data {
    pub(crate) fn directory(self) -> anyhow::Result<PathBuf> {
        self.data.map_or_else(engine_config::data_directory, Ok)
    }
}

pub(crate) fn keys(command: Keys) -> anyhow::Result<ExitCode> {
    match command {
        Keys::Create(args) => create(args)?,
        Keys::List { data } => list(&directory(data)?)?,
        Keys::Revoke { name, data } => {
            if !keys::revoke(&directory(data)?, &name)? {
                return Err(BadUsage(format!("there is no key {name:?}")).into());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The server's data directory. Whoever means one that no server has used is told: a key there is good
/// for nothing until a server is started on it.
fn directory(data: Data) -> anyhow::Result<PathBuf> {
    let directory = data.directory()?;
    if !access::is_in(&directory) {
        let shown = directory.display();
        log::print_line(&format!(
            "windlass: no server has used {shown} yet: its keys are good for one that is started with \
             `windlass serve --data {shown}`; --data names another's data directory"
        ));
    }
    Ok(directory)
}

fn create(args: Create) -> anyhow::Result<()> {
    for given in [&args.name, &args.namespace] {
        if let Some(why) = name::problem(given) {
            return Err(BadUsage(format!("{given:?} {why}")).into());
        }
    }
    let verbs: BTreeSet<_> = args.verbs.into_iter().collect();
    let expires = args.expires.map(|life| Timestamp::now() + life);
    let (name, namespace) = (args.name, args.namespace);
    let told = format!(
        "key {name:?} may {} in namespace {namespace:?}; it is shown this once",
        listed(&verbs)
    );
    let wanted = NewKey { name: name.clone(), namespace, verbs, expires };
    let Some(secret) = keys::create(&directory(args.data)?, wanted)? else {
        return Err(BadUsage(format!("there is a key {name:?} already; revoke it first")).into());
    };
    log::print_line(&told);
    writeln!(stdout(), "{secret}")?;
    Ok(())
}

fn list(data: &std::path::Path) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    let row = |name: &str, namespace: &str, created: &str, expires: &str, verbs: &str| {
        format!("{name:<24}  {namespace:<16}  {created:<20}  {expires:<20}  {verbs}\n")
    };
    let mut text = row("NAME", "NAMESPACE", "CREATED", "EXPIRES", "VERBS");
    let now = Timestamp::now();
    for key in keys::list(data)? {
        let Key { name, namespace, verbs, created, expires, .. } = &key;
        let expires = match expires {
            None => "-".to_owned(),
            Some(_) if key.is_over(now) => "is over".to_owned(),
            Some(expires) => second(*expires),
        };
        text += &row(name, namespace, &second(*created), &expires, &listed(verbs));
    }
    out.write_all(text.as_bytes())?;
    Ok(())
}

/// A time to the second.
fn second(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn listed(verbs: &BTreeSet<Right>) -> String {
    verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>().join(",")
}
