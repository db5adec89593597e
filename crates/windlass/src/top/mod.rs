//! `windlass top`: the jobs of a namespace on a terminal, live.
//!
//! [`feed`] says what happens to the jobs, [`table`] keeps them, [`summary`] counts them. [`screen`] is what is shown and
//! what a key does to it, without I/O; [`draw`] draws it. [`actions`] does what was asked for. [`run`] brings them
//! together.

mod actions;
mod draw;
mod feed;
mod run;
mod screen;
mod summary;
mod table;

pub(crate) use run::run;
