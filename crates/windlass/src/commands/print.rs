//! `windlass print`: what is installed on a cluster, and what the REST API is, as text.

use clap::{Subcommand, ValueEnum};
use std::io::{Write as _, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;

use crate::server::builtin_functions;

/// Print what is installed on a cluster, and what the REST API is.
#[derive(Debug, Subcommand)]
pub(crate) enum Print {
    /// The OpenAPI document of the REST API, as JSON; every server gives it at /openapi.json
    Openapi,
    /// The CustomResourceDefinitions
    Crds {
        /// Form of the output
        #[arg(short, long, default_value = "yaml")]
        output: Format,
    },
    /// The built-in functions as ComputeFunction manifests
    Functions {
        /// Image that has the windlass program on its PATH
        #[arg(long, value_name = "IMAGE")]
        image: Option<String>,
        /// Form of the output
        #[arg(short, long, default_value = "yaml")]
        output: Format,
    },
}

/// Form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// YAML documents
    Yaml,
    /// A JSON array
    Json,
}

pub(crate) fn print(what: Print) -> anyhow::Result<ExitCode> {
    let text = match what {
        Print::Openapi => {
            serde_json::to_string_pretty(windlass_gateway::openapi_document())? + "\n"
        }
        Print::Crds { output } => shaped(&values(windlass_kube::crd::all())?, output)?,
        Print::Functions { image, output } => {
            shaped(&values(builtin_functions::builtin(image.as_deref()))?, output)?
        }
    };
    stdout().write_all(text.as_bytes()).context("standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn values<T: serde::Serialize>(items: Vec<T>) -> anyhow::Result<Vec<Value>> {
    items.iter().map(|item| Ok(serde_json::to_value(item)?)).collect()
}

fn shaped(documents: &[Value], format: Format) -> anyhow::Result<String> {
    match format {
        Format::Json => Ok(serde_json::to_string_pretty(documents)? + "\n"),
        Format::Yaml => yaml(documents),
    }
}

fn yaml(documents: &[Value]) -> anyhow::Result<String> {
    let mut text = String::new();
    for document in documents {
        text.push_str("---\n");
        text.push_str(serde_saphyr::to_string(document)?.trim_end());
        text.push('\n');
    }
    Ok(text)
}
