//! What was measured, as a table for the terminal and the committed report.

use std::fs;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One part of the measurement.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) name: String,
    /// Figures, a name and a value.
    pub(crate) figures: Vec<(String, String)>,
    /// What must hold.
    pub(crate) bounds: Vec<Bound>,
    /// Tables in Markdown.
    pub(crate) tables: Vec<String>,
}

/// What must hold.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Bound {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) bound: String,
    pub(crate) met: bool,
}

impl Part {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// A part that could not be measured to its end.
    pub(crate) fn failed(name: &str, why: &str) -> Self {
        let mut part = Self::new(name);
        part.bounds.push(Bound {
            what: format!("{name} can be measured"),
            measured: why.lines().next().unwrap_or_default().to_owned(),
            bound: "to its end".to_owned(),
            met: false,
        });
        part
    }

    pub(crate) fn figure(&mut self, what: &str, value: impl std::fmt::Display) {
        self.figures.push((what.to_owned(), value.to_string()));
    }

    /// At most so much.
    pub(crate) fn at_most(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        self.bounds.push(Bound {
            what: what.to_owned(),
            measured: format!("{measured:.2} {unit}").trim().to_owned(),
            bound: format!("<= {bound:.2} {unit}").trim().to_owned(),
            met: measured <= bound,
        });
    }

    /// At least so much: what keeps a bound from being met by nothing.
    pub(crate) fn at_least(&mut self, what: &str, measured: f64, bound: f64, unit: &str) {
        self.bounds.push(Bound {
            what: what.to_owned(),
            measured: format!("{measured:.2} {unit}").trim().to_owned(),
            bound: format!(">= {bound:.2} {unit}").trim().to_owned(),
            met: measured >= bound,
        });
    }

    /// In Markdown.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("### {}\n", self.name);
        if !self.figures.is_empty() {
            let rows = self.figures.iter().map(|(what, value)| vec![what.clone(), value.clone()]);
            text += &format!("\n{}", table(&["figure", ""], rows));
        }
        if !self.bounds.is_empty() {
            let rows = self.bounds.iter().map(|bound| {
                let met = if bound.met { "met" } else { "**not met**" };
                vec![bound.what.clone(), bound.measured.clone(), bound.bound.clone(), met.into()]
            });
            text += &format!("\n{}", table(&["bound", "measured", "allowed", ""], rows));
        }
        for table in &self.tables {
            text += &format!("\n{table}");
        }
        text
    }
}

#[derive(Deserialize)]
struct Measured {
    label: String,
    parts: Vec<Part>,
}

/// Prints the report of these measurements; an error when a bound is not met.
pub(crate) fn print(files: &[&str]) -> anyhow::Result<()> {
    println!(
        "# The controller beside bare batch Jobs\n\n\
         Written by `tests/scale/run`; README.md beside it says what is measured and how. Times are of this \
         machine; what counts is one against the other."
    );
    let mut missed = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).with_context(|| (*file).to_owned())?;
        let Measured { label, parts } = serde_json::from_str(&text)?;
        println!("\n## {label}");
        for part in parts {
            println!("\n{}", part.text().trim_end());
            for bound in part.bounds.iter().filter(|bound| !bound.met) {
                missed
                    .push(format!("{label}: {}: {}, {}", bound.what, bound.measured, bound.bound));
            }
        }
    }
    anyhow::ensure!(missed.is_empty(), "bounds that are not met:\n{}", missed.join("\n"));
    Ok(())
}

/// A Markdown table whose columns are as wide as they must be.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> =
        std::iter::once(head.iter().map(|text| (*text).to_owned()).collect()).chain(rows).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        })
        .map(|width| width.unwrap_or(0).max(3))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            text += &format!("| {cell:<width$} ");
        }
        text += "|\n";
        if number == 0 {
            for width in &widths {
                text += &format!("| {} ", "-".repeat(*width));
            }
            text += "|\n";
        }
    }
    text
}
