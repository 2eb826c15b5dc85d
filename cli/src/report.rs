//! What a command has to say: a table for people, or JSON for programs.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// Between two columns.
const GAP: &str = "  ";

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// Columns of text.
    #[default]
    Table,
    /// One line of JSON.
    Json,
}

/// Columns of text under their names.
#[derive(Debug, Default)]
pub struct Table {
    names: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(names: &[&'static str]) -> Self {
        Self { names: names.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Columns as wide as their widest cell; those of numbers are aligned to the right.
    pub fn text(&self) -> String {
        let columns = self.names.len();
        let mut widths: Vec<usize> = self.names.iter().map(|name| width(name)).collect();
        let mut right = vec![true; columns];
        let mut numbers = vec![false; columns];
        for row in &self.rows {
            for (((cell, widest), right), numbers) in row.iter().zip(&mut widths).zip(&mut right).zip(&mut numbers) {
                *widest = width(cell).max(*widest);
                *right &= cell == "-" || looks_numeric(cell);
                *numbers |= cell != "-";
            }
        }
        let names: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = String::new();
        for row in std::iter::once(&names).chain(&self.rows) {
            let right = right.iter().zip(&numbers).map(|(right, numbers)| *right && *numbers);
            let cells = row.iter().zip(&widths).zip(right).map(|((cell, width), right)| pad(cell, *width, right));
            let line = cells.collect::<Vec<_>>().join(GAP);
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn looks_numeric(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && cell.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '%'))
}

fn pad(cell: &str, to: usize, right: bool) -> String {
    let blanks = " ".repeat(to.saturating_sub(width(cell)));
    if right { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") }
}

/// Names and values, one pair a line.
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let pairs: Vec<(&str, String)> = pairs.into_iter().collect();
    let widest = pairs.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let lines = pairs.iter().map(|(name, value)| format!("{}{GAP}{value}", pad(name, widest, false)));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What a command reports.
#[derive(Debug, Default)]
pub struct Report {
    json: Option<String>,
    text: String,
    failure: Option<Failure>,
}

impl Report {
    /// Nothing, for commands that print as they go.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// Data, with the text that shows it to people.
    ///
    /// # Errors
    /// The data have no JSON form.
    pub fn new(data: &impl Serialize, text: impl Into<String>) -> Result<Self, Failure> {
        let json = serde_json::to_string(data).map_err(|error| Failure::other(error.to_string()))?;
        Ok(Self { json: Some(json), text: text.into(), failure: None })
    }

    /// Prints first and fails then.
    #[must_use]
    pub fn failing(mut self, failure: Option<Failure>) -> Self {
        self.failure = failure;
        self
    }

    /// Writes the report to standard output.
    ///
    /// # Errors
    /// The output is closed, or the command failed in part.
    pub fn print(self, output: Output) -> Result<(), Failure> {
        match (output, &self.json) {
            (_, None) => {}
            (Output::Json, Some(json)) => line(json)?,
            (Output::Table, Some(_)) => line(self.text.trim_end())?,
        }
        self.failure.map_or(Ok(()), Err)
    }
}

/// Writes one line at once.
///
/// # Errors
/// The output is closed.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(Failure::Print)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let mut table = Table::new(&["TOPIC", "QUEUES"]);
        table.row(["a".to_owned(), "8".to_owned()]);
        table.row(["länger".to_owned(), "1024".to_owned()]);
        assert_eq!(table.text(), "TOPIC   QUEUES\na            8\nlänger    1024\n");
        table.row(["-".to_owned(), "-".to_owned()]);
        assert!(table.text().ends_with("-            -\n"));
        assert_eq!(Table::new(&["TOPIC"]).text(), "TOPIC\n");
    }

    #[test]
    fn names_and_values_are_aligned() {
        assert_eq!(pairs([("a", "1".to_owned()), ("long", String::new())]), "a     1\nlong\n");
    }
}
