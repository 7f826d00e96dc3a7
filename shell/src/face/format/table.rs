//! Rows as a table on the terminal. Streams: widths come from the first rows, and grow when a later one needs more. Rows of more
//! columns than the screen is wide for are written as records: a line for each column.

use std::fmt::Write as _;
use std::io::{self, Write};

use holdfast_output::visible;

use super::Layout;
use crate::{Value, text};

/// Rows that decide the first widths. A few screens: enough for steady columns, little to hold.
const FIRST_ROWS: usize = 200;
/// No column is squeezed below this.
const LEAST_COLUMN: usize = 12;
/// Between two columns, and around the outer ones.
const GAP: &str = " | ";

/// A table under way.
///
/// Invariants:
/// - holds [`FIRST_ROWS`] rows at most
/// - a column never becomes narrower once a row is written
pub(super) struct Table {
    columns: Vec<Column>,
    /// Rows that wait for the widths; `None`: the heading is written.
    waiting: Option<Vec<Vec<String>>>,
    /// A row is written as a record, whose names take so many columns.
    record: Option<usize>,
    written: u64,
    layout: Layout,
    cut_cells: u64,
}

struct Column {
    heading: String,
    /// It has numbers, which stand right.
    is_number: bool,
    width: usize,
    /// Cells are cut to this.
    limit: usize,
}

impl Table {
    pub(super) fn new(names: &[String], layout: Layout) -> Self {
        let limit = layout.cell.unwrap_or(usize::MAX);
        let columns = names.iter().map(|name| {
            let name = visible(name).into_owned();
            Column { width: text::width(&name), heading: name, is_number: false, limit }
        });
        Self { columns: columns.collect(), waiting: Some(Vec::new()), record: None, written: 0, layout, cut_cells: 0 }
    }

    pub(super) fn row(&mut self, row: &[Value], out: &mut dyn Write) -> io::Result<()> {
        for (column, value) in self.columns.iter_mut().zip(row) {
            column.is_number |= value.is_number();
        }
        let cells: Vec<_> = row.iter().map(|value| visible(&value.to_string()).into_owned()).collect();
        if let Some(waiting) = &mut self.waiting {
            waiting.push(cells);
            if waiting.len() < FIRST_ROWS {
                return Ok(());
            }
            return self.settle(out);
        }
        self.write_row(&cells, out)
    }

    /// Writes what waits: the widths are what they are.
    pub(super) fn settle(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        for row in &waiting {
            for (column, cell) in self.columns.iter_mut().zip(row) {
                column.width = column.width.max(text::width(cell).min(column.limit));
            }
        }
        match self.layout.screen {
            Some(screen) if !self.fits(screen) => self.make_record(screen),
            screen => {
                self.squeeze(screen.unwrap_or(usize::MAX));
                self.write_heading(out)?;
            }
        }
        waiting.iter().try_for_each(|row| self.write_row(row, out))
    }

    /// Ends the table; gives how many cells were cut.
    pub(super) fn finish(mut self, out: &mut dyn Write) -> io::Result<u64> {
        self.settle(out)?;
        Ok(self.cut_cells)
    }

    /// True when a row fits the screen, if need be with its columns squeezed.
    fn fits(&self, screen: usize) -> bool {
        let least: usize = self.columns.iter().map(|column| column.width.min(LEAST_COLUMN)).sum();
        least + self.gaps() <= screen
    }

    fn make_record(&mut self, screen: usize) {
        let names = self.columns.iter().map(|column| text::width(&column.heading)).max().unwrap_or(0);
        let room = screen.saturating_sub(names + GAP.len()).max(LEAST_COLUMN);
        self.columns.iter_mut().for_each(|column| column.limit = room);
        self.record = Some(names);
    }

    fn gaps(&self) -> usize {
        GAP.len() * self.columns.len().saturating_sub(1) + 2
    }

    /// Makes the widest columns narrower until a row fits the screen.
    fn squeeze(&mut self, screen: usize) {
        let wanted = self.columns.iter().map(|column| column.width).sum::<usize>() + self.gaps();
        let mut excess = wanted.saturating_sub(screen);
        while excess > 0 {
            let Some(widest) = self.columns.iter_mut().max_by_key(|column| column.width) else { return };
            let next = widest.width.saturating_sub(excess).max(LEAST_COLUMN);
            // The second widest may be the widest after that: go down in small steps.
            let next = next.max(widest.width.saturating_sub(8));
            if next >= widest.width {
                return;
            }
            excess -= (widest.width - next).min(excess);
            widest.width = next;
            widest.limit = next;
        }
    }

    fn write_heading(&self, out: &mut dyn Write) -> io::Result<()> {
        let (mut names, mut rule) = (String::new(), String::new());
        for (index, column) in self.columns.iter().enumerate() {
            let (heading, _) = text::cut(&column.heading, column.limit.max(1));
            let room = column.width.saturating_sub(text::width(&heading));
            let before = room / 2;
            let _ = write!(names, "{}{}", if index > 0 { GAP } else { " " }, " ".repeat(before));
            names.push_str(&heading);
            names.push_str(&" ".repeat(room - before));
            rule.push_str(if index > 0 { "-+-" } else { "-" });
            rule.push_str(&"-".repeat(column.width));
        }
        rule.push('-');
        writeln!(out, "{}\n{rule}", names.trim_end())
    }

    fn write_record(&mut self, names: usize, cells: &[String], out: &mut dyn Write) -> io::Result<()> {
        let title = format!("-[ {} ]", self.written);
        let mut record = format!("{title}{}\n", "-".repeat((names + 20).saturating_sub(title.len())));
        for (column, cell) in self.columns.iter().zip(cells) {
            let (shown, is_cut) = text::cut(cell, column.limit);
            self.cut_cells += u64::from(is_cut);
            let room = " ".repeat(names - text::width(&column.heading));
            let _ = writeln!(record, "{}", format!("{}{room}{GAP}{shown}", column.heading).trim_end());
        }
        out.write_all(record.as_bytes())
    }

    fn write_row(&mut self, cells: &[String], out: &mut dyn Write) -> io::Result<()> {
        self.written += 1;
        if let Some(names) = self.record {
            return self.write_record(names, cells, out);
        }
        let mut line = String::new();
        for (index, (column, cell)) in self.columns.iter_mut().zip(cells).enumerate() {
            let (shown, is_cut) = text::cut(cell, column.limit);
            self.cut_cells += u64::from(is_cut);
            let wide = text::width(&shown);
            // Later rows line up with this one, if not with those above.
            column.width = column.width.max(wide);
            let room = " ".repeat(column.width - wide);
            line.push_str(if index > 0 { GAP } else { " " });
            if column.is_number {
                line.push_str(&room);
                line.push_str(&shown);
            } else {
                line.push_str(&shown);
                line.push_str(&room);
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        out.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Layout = Layout { screen: None, cell: None };

    fn headings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn cells(texts: &[&str]) -> Vec<Value> {
        texts.iter().map(|text| text.parse().map_or_else(|_| Value::Text((*text).into()), Value::Integer)).collect()
    }

    fn shown(names: &[&str], rows: &[&[&str]], layout: Layout) -> (String, u64) {
        let mut out = Vec::new();
        let mut table = Table::new(&headings(names), layout);
        rows.iter().for_each(|row| table.row(&cells(row), &mut out).unwrap());
        let cut = table.finish(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), cut)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() {
        let rows: &[&[&str]] = &[&["ant", "1"], &["butterfly", "1234"]];
        let expected =
            concat!("    key    |  n\n", "-----------+------\n", " ant       |    1\n", " butterfly | 1234\n");
        assert_eq!(shown(&["key", "n"], rows, FREE).0, expected);
    }

    #[test]
    fn a_table_without_rows_has_its_heading() {
        assert_eq!(shown(&["key", "value"], &[], FREE).0, " key | value\n-----+-------\n");
    }

    #[test]
    fn wide_letters_line_up() {
        let rows: &[&[&str]] = &[&["東京", "x"], &["a", "y"]];
        assert_eq!(shown(&["k", "v"], rows, FREE).0, "  k   | v\n------+---\n 東京 | x\n a    | y\n");
    }

    #[test]
    fn a_cell_beyond_the_limit_is_cut_and_counted() {
        let (text, cut) = shown(&["k"], &[&["abcdef"]], Layout { cell: Some(4), ..FREE });
        assert_eq!((text.as_str(), cut), ("  k\n------\n abc…\n", 1));
    }

    #[test]
    fn the_widest_column_gives_way_until_a_row_fits_the_screen() {
        let long = "x".repeat(100);
        let rows: &[&[&str]] = &[&["key-0001", &long, "2026-11-22 20:15:00"]];
        let (text, cut) = shown(&["key", "value", "version"], rows, Layout { screen: Some(60), cell: None });
        assert!(text.lines().all(|line| text::width(line) <= 60), "{text}");
        assert!(text.contains("key-0001") && text.contains("2026-11-22 20:15:00"));
        assert_eq!(cut, 1);
    }

    #[test]
    fn rows_of_too_many_columns_for_the_screen_are_records() {
        let long = "x".repeat(100);
        let row: Vec<&str> = vec!["1", &long, "", "東京", &long, &long];
        let (text, cut) =
            shown(&["a", "b", "c", "dd", "e", "f"], &[&row, &row], Layout { screen: Some(40), cell: None });
        let record = format!("a  | 1\nb  | {0}…\nc  |\ndd | 東京\ne  | {0}…\nf  | {0}…\n", "x".repeat(34));
        assert_eq!(text, format!("-[ 1 ]----------------\n{record}-[ 2 ]----------------\n{record}"));
        assert_eq!(cut, 6);
        assert!(text.lines().all(|line| text::width(line) <= 40));
    }

    #[test]
    fn a_late_wide_row_widens_what_follows() {
        let mut out = Vec::new();
        let mut table = Table::new(&headings(&["k", "v"]), FREE);
        for _ in 0..FIRST_ROWS {
            table.row(&cells(&["a", "b"]), &mut out).unwrap();
        }
        table.row(&cells(&["aaaa", "b"]), &mut out).unwrap();
        table.row(&cells(&["a", "b"]), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with(" a | b\n aaaa | b\n a    | b\n"), "{text}");
    }

    #[test]
    fn nothing_is_written_before_the_widths_are_known_and_little_is_held() {
        let mut out = Vec::new();
        let mut table = Table::new(&headings(&["k"]), FREE);
        for _ in 1..FIRST_ROWS {
            table.row(&cells(&["a"]), &mut out).unwrap();
        }
        assert!(out.is_empty());
        table.row(&cells(&["a"]), &mut out).unwrap();
        assert!(!out.is_empty() && table.waiting.is_none());
    }
}
