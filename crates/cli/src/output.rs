//! What commands read and print: data files; tables for people, JSON for machines, reports for both.

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use steersman_records::frame::{Frame, Selection};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For machines.
    Json,
}

/// Where the result of an analysis goes.
#[derive(Debug, Args)]
pub(crate) struct Deliver {
    /// Write the result as JSON to this file; `-` prints it instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report with plots to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Deliver {
    /// Writes the files that are asked for, and prints JSON or tells that the table is to be printed.
    pub(crate) fn write<E: std::error::Error + Send + Sync + 'static>(
        &self,
        found: &impl Serialize,
        page: impl FnOnce() -> Result<String, E>,
    ) -> Result<bool> {
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
        };
        if let Some(path) = &self.html {
            write(path, &page()?)?;
        }
        let printed = self.json.as_deref().is_some_and(|path| path.as_os_str() == "-");
        if let Some(path) = self.json.as_ref().filter(|_| !printed) {
            write(path, &serde_json::to_string_pretty(found)?)?;
        }
        let as_json = printed || self.output == Output::Json;
        if as_json {
            json(found)?;
        }
        Ok(!as_json)
    }
}

/// Reads both sides at the same time.
pub(crate) fn read_both(
    reference: (&str, &Selection),
    current: (&str, &Selection),
) -> Result<(Frame, Frame)> {
    let (own, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| Frame::read(current.0, current.1));
        (Frame::read(reference.0, reference.1), other.join())
    });
    let other = other.map_err(|_| anyhow::anyhow!("reading `{}` ended early", current.0))?;
    Ok((own?, other?))
}

/// Prints a line. A reader that went away is no error.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a line beside the result, where it does not get into a pipe.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(std::io::stderr(), "note: {line}");
}

/// Prints JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    note(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints rows below their headings, in columns as wide as they need to be.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        note(padded.join("  ").trim_end());
    };
    line(&mut headings.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}
