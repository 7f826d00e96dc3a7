//! Files stay readable in one sitting. (Functions are clippy's business: `too_many_lines`.)

use crate::Problem;
use crate::tree::File;

/// The most lines of a Rust file, without its tests.
const MAX_LINES: usize = 800;
/// The most lines of a test module at the end of a file; a longer one gets a file of its own.
const MAX_TEST_MODULE_LINES: usize = 300;

/// Checks every Rust file.
pub(crate) fn check(files: &[File]) -> Vec<Problem> {
    files.iter().filter(|file| file.is_rust() && !file.is_tests()).filter_map(check_file).collect()
}

fn check_file(file: &File) -> Option<Problem> {
    let code = file.lines_without_tests().count();
    let tests = file.text.lines().count() - code;
    if code > MAX_LINES {
        return Some(format!("{}: {code} lines without tests, {MAX_LINES} at most: split it by job", file.path));
    }
    if tests > MAX_TEST_MODULE_LINES {
        return Some(format!("{}: {tests} lines of tests: give them a file of their own", file.path));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let file = |text: String| File { path: "kv/src/a.rs".to_owned(), text };
        assert!(check_file(&file("x\n".repeat(801))).is_some());
        assert!(check_file(&file("x\n".repeat(800) + "#[cfg(test)]\nmod tests {\n}\n")).is_none());
    }
}
