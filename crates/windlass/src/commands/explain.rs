//! `windlass explain`: where a job's time went, and what it waits for now.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use windlass_core::explain::{Explanation, explain as explained};
use windlass_core::{JobKey, Jobs as _, name};
use windlass_kube::Cluster;

use crate::cli::{BadUsage, Explain, Shape};
use crate::client::{Client, LOCAL};
use crate::{machine, terminal};

/// Widest bar, in characters.
const BAR: f64 = 40.0;

pub(crate) async fn explain(args: Explain) -> anyhow::Result<ExitCode> {
    for given in [Some(&args.job), args.namespace.as_ref()].into_iter().flatten() {
        if let Some(why) = name::problem(given) {
            return Err(BadUsage(format!("{given:?} {why}")).into());
        }
    }
    let explanation = ask(&args).await?;
    let mut out = stdout().lock();
    match args.output {
        Shape::Json => {
            serde_json::to_writer_pretty(&mut out, &explanation)?;
            writeln!(out)?;
        }
        Shape::Table => write!(out, "{}", table(&explanation))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A server if one was named, else the cluster of the current context if there is one, else the server
/// of this machine.
async fn ask(args: &Explain) -> anyhow::Result<Explanation> {
    let server = match &args.server {
        Some(server) => server.as_str(),
        None => match windlass_kube::client(None).await {
            Ok(client) => {
                let namespace =
                    args.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
                let key = JobKey::new(namespace, &args.job);
                let job = Cluster::new(client, None).get(&key).await?;
                return Ok(explained(&job, Timestamp::now()));
            }
            Err(_) => LOCAL,
        },
    };
    let data = match &args.data {
        Some(data) => data.clone(),
        None => machine::data_directory()?,
    };
    let namespace = args.namespace.as_deref().unwrap_or("default");
    let path = format!("/v1/namespaces/{namespace}/jobs/{}/explain", args.job);
    Client::new(server, &data)?
        .get(&path)
        .await
        .with_context(|| format!("job {:?} cannot be explained", args.job))
}

fn table(explanation: &Explanation) -> String {
    let Explanation { phase, wall_seconds, parts, waits_for, attempts, failure } = explanation;
    let phase = phase.map_or("new", windlass_core::Phase::as_str);
    let mut text = format!("{phase}, {wall_seconds:.3} s, attempts: {attempts}\n");
    for part in parts {
        let share = if *wall_seconds > 0.0 { part.seconds / wall_seconds } else { 0.0 };
        let bar = "#".repeat((share * BAR).round() as usize);
        let (name, seconds, meaning) = (part.name.as_str(), part.seconds, part.name.meaning());
        let percent = share * 100.0;
        text += &format!("  {name:<10}{seconds:>12.3} s {percent:>5.1} %  {bar:<40}  {meaning}\n");
    }
    let mut line = |what: &str, said: &Option<String>| {
        if let Some(said) = said {
            text += &format!("{what}: {}\n", terminal::printable(said));
        }
    };
    line("waits for", waits_for);
    line("last failure", failure);
    text
}
