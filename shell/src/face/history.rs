//! Where the statements of earlier sessions are kept. A history that cannot be read or written is never a failure.

use std::path::{Path, PathBuf};

/// Statements that are kept.
pub(super) const MAX_ENTRIES: usize = 5_000;

/// The history file: `HOLDFAST_HISTORY` if set (empty: none is kept), else `holdfast/history` in the folder for data of the user.
pub(super) fn file(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    if let Some(chosen) = variable("HOLDFAST_HISTORY") {
        return (!chosen.is_empty()).then(|| PathBuf::from(chosen));
    }
    // The specification of XDG asks to ignore folders that are not absolute.
    let folder = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| {
        let home = variable("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
        Some(home.join(".local").join("share"))
    })?;
    Some(folder.join("holdfast").join("history"))
}

/// Makes the folder of the history, readable by its owner alone: statements hold data.
pub(super) fn make_folder(file: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(folder) = file.parent() {
        // What fails here fails again when the history is saved, and is of no account there either.
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(set: &[(&str, &str)]) -> Option<PathBuf> {
        file(|asked| set.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_history_is_where_the_user_keeps_data_unless_moved() {
        assert_eq!(found(&[("HOME", "/home/z")]), Some("/home/z/.local/share/holdfast/history".into()));
        let xdg = ("XDG_DATA_HOME", "/data");
        assert_eq!(found(&[("HOME", "/home/z"), xdg]), Some("/data/holdfast/history".into()));
        assert_eq!(found(&[("HOME", "/home/z"), xdg, ("HOLDFAST_HISTORY", "h")]), Some("h".into()));
        assert_eq!(found(&[("HOME", "/home/z"), ("HOLDFAST_HISTORY", "")]), None);
        assert_eq!(found(&[("XDG_DATA_HOME", "relative")]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_failure() {
        make_folder(Path::new("/proc/none/of/this/history"));
    }
}
