//! The rings of tests that need the whole program. Rings 1 (pure) and the crates' own tests are with
//! the crates.
//!
//! - [`golden`]: what is generated is what is committed;
//! - [`dependencies`]: what a Rust function has to compile;
//! - [`documentation`]: the documents are short, and what they name is there;
//! - [`machine`]: the command line on this machine;
//! - [`commands`]: the commands that ask a server or a cluster;
//! - [`contract`]: one list of scenarios over HTTP, on one machine and on a cluster;
//! - [`matrix`]: who may do what, for every route, method and kind of caller, in both worlds;
//! - [`access`]: who gets near a server at all;
//! - [`floods`]: thousands of silent, slow and large clients beside an honest one;
//! - [`crowds`]: callers that hold all the connections they can get, beside an honest one;
//! - [`hostile`]: bytes by chance for each parser;
//! - [`inputs`]: inputs of any size and type, and files beside them;
//! - [`uploads`]: those that are too many, that break off, and those to a server that is killed;
//! - [`kills`]: the server is killed at random instants, and nothing is lost, done twice or left;
//! - [`faults`]: full and broken disks, few descriptors, functions that misbehave;
//! - [`operations`]: what a server tells whoever runs it, and what it takes after a load;
//! - [`streams`]: progress on its way to a thousand streams, on one machine;
//! - [`figures`]: how many, how soon and how little, on one machine;
//! - [`cluster`]: what only a real cluster can show. Ignored unless asked for: `tests/run` starts a
//!   cluster, installs the chart and asks;
//! - [`tls`]: the same with a certificate for the gateway;
//! - [`scope`]: a release that serves one namespace;
//! - [`outages`]: a cluster that falls to pieces around the controller;
//! - [`writes`]: what a job costs the API server of a cluster, in writes;
//! - [`warm`]: a warm function on a cluster;
//! - [`latency`] and [`speedup`]: the figures.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod access;
mod cluster;
mod commands;
mod contract;
mod crowds;
mod dependencies;
mod documentation;
mod faults;
mod figures;
mod floods;
mod golden;
mod hostile;
mod images;
mod inputs;
mod kills;
mod latency;
mod machine;
mod matrix;
mod operations;
mod outages;
mod scope;
mod speedup;
mod streams;
mod support;
mod tls;
mod uploads;
mod warm;
mod writes;
