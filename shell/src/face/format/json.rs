//! Rows as JSON objects.

use std::borrow::Cow;
use std::io::{self, Write};

/// Rows as one array, or as one object a line. Written as they come: an array may be longer than memory.
pub(super) struct Json {
    names: Vec<String>,
    is_array: bool,
    has_rows: bool,
    line: Vec<u8>,
}

impl Json {
    pub(super) fn array(names: Vec<String>, out: &mut dyn Write) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { is_array: true, ..Self::lines(names) })
    }

    pub(super) fn lines(names: Vec<String>) -> Self {
        Self { names, is_array: false, has_rows: false, line: Vec::new() }
    }

    /// Writes a row of values, which are JSON texts.
    pub(super) fn row<'v>(
        &mut self,
        values: impl Iterator<Item = Cow<'v, str>>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.line.clear();
        if self.is_array {
            self.line.extend_from_slice(if self.has_rows { b",\n" } else { b"\n" });
        }
        self.has_rows = true;
        self.line.push(b'{');
        // Written field by field: the order of the columns is the order of the statement.
        for (index, (name, value)) in self.names.iter().zip(values).enumerate() {
            if index > 0 {
                self.line.push(b',');
            }
            serde_json::to_writer(&mut self.line, name)?;
            self.line.push(b':');
            self.line.extend_from_slice(value.as_bytes());
        }
        self.line.push(b'}');
        if !self.is_array {
            self.line.push(b'\n');
        }
        out.write_all(&self.line)
    }

    pub(super) fn finish(self, out: &mut dyn Write) -> io::Result<()> {
        match (self.is_array, self.has_rows) {
            (false, _) => Ok(()),
            (true, false) => out.write_all(b"]\n"),
            (true, true) => out.write_all(b"\n]\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(is_array: bool, rows: &[[serde_json::Value; 2]]) -> String {
        let mut out = Vec::new();
        let names = vec!["key".to_owned(), "say \"hi\"".to_owned()];
        let mut json = if is_array { Json::array(names, &mut out).unwrap() } else { Json::lines(names) };
        rows.iter().for_each(|row| json.row(row.iter().map(|value| value.to_string().into()), &mut out).unwrap());
        json.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_array_is_one_document_with_and_without_rows() {
        for rows in
            [vec![], vec![[json!("a"), json!(null)]], vec![[json!("a"), json!(1)], [json!("b\n"), json!({"c": []})]]]
        {
            let read: Vec<serde_json::Value> = serde_json::from_str(&written(true, &rows)).unwrap();
            assert_eq!(read.len(), rows.len());
        }
        assert_eq!(written(true, &[]), "[]\n");
    }

    #[test]
    fn lines_hold_one_object_each_in_the_order_of_the_columns() {
        let text = written(false, &[[json!("z"), json!(1)], [json!("a\n"), json!(null)]]);
        assert_eq!(text, "{\"key\":\"z\",\"say \\\"hi\\\"\":1}\n{\"key\":\"a\\n\",\"say \\\"hi\\\"\":null}\n");
    }
}
