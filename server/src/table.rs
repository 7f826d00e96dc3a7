//! A plain table on the terminal.

use std::fmt;

use holdfast_output::visible;

/// Rows under a heading, columns as wide as their widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row. What stores and people call themselves stays within its cell.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| visible(cell).into_owned()).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["a", "long"]);
        table.row(vec!["wide".into(), "b".into()]);
        assert_eq!(table.to_string(), "a     long\nwide  b\n");
    }

    #[test]
    fn a_cell_is_no_way_to_forge_a_row() {
        let mut table = Table::new(&["store", "at"]);
        table.row(vec!["s1".into(), "evil\x1b[2J\ns2  fine".into()]);
        assert_eq!(table.to_string(), "store  at\ns1     evil\\u001b[2J\\ns2  fine\n");
    }
}
