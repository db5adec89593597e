//! `windlass blobs`: inputs and files that are sent before the jobs that name them.

use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::backend::local_file::LocalFile;
use crate::backend::resolve::Backend;
use crate::flags::backend::OnBackend;
use crate::flags::media_type::media_type;

/// Send inputs and files for jobs that name them by their digests.
#[derive(Debug, Subcommand)]
pub(crate) enum Blobs {
    /// Send files, and print for each what a job's `files` or `inputBlob` names it by
    Put(OnBackend<Put>),
}

/// Send files, and print for each what a job's `files` or `inputBlob` names it by.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Their media type [default: what the ending of each tells]
    #[arg(long = "type", value_name = "TYPE", value_parser = media_type)]
    media_type: Option<String>,
}

pub(crate) async fn put(backend: &Backend, args: &Put) -> anyhow::Result<ExitCode> {
    for path in &args.paths {
        let file = LocalFile::open(path, args.media_type.as_deref())?;
        file.send(backend.blobs()?, &backend.namespace).await?;
        writeln!(stdout(), "{}", serde_json::to_string(&file.blob)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
