//! Seeds of files of rows.

use bytes::Bytes;
use holdfast_rows::Format;
use holdfast_rows::export_file::{End, ExportedRow, Head, Writer};
use holdfast_types::Timestamp;

use super::Seed;

pub(super) fn seeds(seeds: &mut Vec<Seed>) {
    let deep = format!("{{\"a\":{}", "[".repeat(2_000));
    let names = format!("{{{}\"z\":1}}", (0..500).map(|n| format!("\"{n}\":{n},")).collect::<String>());
    let files: [(&str, &[u8]); 23] = [
        ("cells", b"id,note\r\n1,\"a \"\"b\"\"\r\nc\"\r\n2,\"\"\n\n3,\r4,x,y\n"),
        ("a quote without an end", b"id,note\n1,\"oops\n2,b\n3,\"c\"\n4,\"d\n"),
        ("quotes that keep each other open", &b"x\",\"\n".repeat(300)),
        ("names that are alike", b"id,tel,tel\n1,a,b\n"),
        ("escapes", b"id\tnote\n1\ta\\tb\\\\\\n\n2\t\\N\n3\tC:\\d\n\"4\t5\" nail\n"),
        ("one column", b"id\n\n\\N\n''\n\"\"\n"),
        ("nothing but delimiters", &b",".repeat(4_000)),
        ("a mark of what is to come", b"id,note\nbase64:,base64:?\n"),
        ("latin1", b"id,name\n1,Jos\xe9\n2,Zo\xeb\n"),
        ("utf-16", b"\xff\xfei\0d\0,\0n\0\n\x001\0,\0\x0d\x0a\r\0\n\x002\0,\0"),
        ("objects", b"{\"id\":100000000000000000000001,\"n\":1.10}\n \n{\"id\" : \"\\ud83d\\ude00\" ,\"b\":{\"base64\":\"/wA=\"}}\n"),
        ("two names", b"{\"role\":1,\"\\u0072ole\":2}\n{\"o\":[{\"a\":1,\"a\":2}]}\n"),
        ("no objects", b"[1]\n3\nnull\nNaN\n{\"n\":NaN}\n{\"n\":1e400}\n{\"n\":\"\\ud83d\"}\n{\"n\":-Infinity}\n{}\n"),
        ("a mark before objects", b"\xef\xbb\xbf{\"id\":1}\n"),
        ("lists within lists", deep.as_bytes()),
        ("many names", names.as_bytes()),
        ("an empty file", b""),
        ("gzip that is cut", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x4c"),
        ("zstd with the largest window", b"\x28\xb5\x2f\xfd\x04\xff\x01\0\0"),
        ("a frame that is skipped, and nothing", b"\x50\x2a\x4d\x18\xff\xff\xff\xff"),
        ("a workbook", b"PK\x03\x04\x14\0\0\0"),
        ("an export", b"{\"holdfast_export\":1,\"keyspace\":\"a\"}\n{\"key\":\"a\",\"value\":{\"base64\":\"/w==\"},\"version\":\"18446744073709551615\"}\n"),
        ("an export between commas", b"holdfast_export_1,key,value,version,expires_at\nhead,\"{\"\"keyspace\"\":\"\"a\"\"}\",,,\nrow,a,base64:/w==,1,9999-12-31T23:59:59.999Z\nend,\"{\"\"rows\"\":1}\",,,\n"),
    ];
    for (name, file) in files {
        for tag in [0, 1, 2, 3, 4, 5, 6, 0x40, 0x86, 0xc0] {
            let input = [&[tag], file].concat();
            seeds.push(Seed { target: "row_files", name: format!("{name}, read as {tag:#x}"), input });
        }
    }
    for format in [Format::Csv, Format::Tsv, Format::JsonLines] {
        seeds.push(Seed { target: "row_files", name: format!("a whole export, {format:?}"), input: export(format) });
    }
}

/// What `holdfast export` writes.
fn export(format: Format) -> Vec<u8> {
    let head = Head { keyspace: "orders".into(), ..Head::default() };
    let mut writer = Writer::new(vec![0], format, &head).expect("memory takes everything");
    let keys: [&[u8]; 4] = [b"a", b"\xff\0", b"base64:", b"say \"a\",\t\\\r\n"];
    for key in keys {
        let version = Timestamp(1 << 50);
        let row =
            ExportedRow { line: 0, key: Bytes::from(key), value: Bytes::new(), version, expires_at: Some(version) };
        writer.row(&row).expect("memory takes everything");
    }
    writer.finish(End::default()).expect("memory takes everything").0
}
