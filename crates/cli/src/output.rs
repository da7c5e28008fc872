//! What commands print: tables for people, JSON for machines.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::io::Write as _;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For machines.
    Json,
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
