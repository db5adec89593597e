//! The form in which objects are printed.

use clap::ValueEnum;

/// Form of what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputForm {
    /// For people
    Table,
    /// The same with more columns
    Wide,
    /// The objects as kubectl shows them, in JSON
    Json,
    /// The same in YAML
    Yaml,
    /// Their names, for other commands
    Name,
}
