//! A real terminal: a program in tmux, typed at by key, read by screen.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::scene::skip;
use crate::wait;

/// A program in a terminal of its own. Dropping it ends the terminal and the program.
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Starts a command of the shell in a terminal of this size; `folder` is for what tmux needs. `None`: skipped.
    ///
    /// # Panics
    /// When tmux does not do as it is told.
    #[must_use]
    pub fn start(folder: &Path, columns: u16, lines: u16, variables: &[(&str, &str)], command: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_err() {
            skip("tmux is missing (Debian: tmux)");
            return None;
        }
        let terminal = Self { socket: folder.join("tmux") };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let mut arguments = vec!["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &lines];
        let variables: Vec<_> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for variable in &variables {
            arguments.extend(["-e", variable]);
        }
        arguments.push(command);
        terminal.tmux(&arguments);
        Some(terminal)
    }

    /// Types text, letter by letter.
    ///
    /// # Panics
    /// When tmux does not do as it is told.
    pub fn write(&self, text: &str) {
        // A semicolon at the end of an argument would end tmux's own command.
        let escaped = text.strip_suffix(';').map(|rest| format!("{rest}\\;"));
        self.tmux(&["send-keys", "-l", escaped.as_deref().unwrap_or(text)]);
    }

    /// Presses keys by their names: `Enter`, `Tab`, `Up`, `C-c`.
    ///
    /// # Panics
    /// When tmux does not do as it is told.
    pub fn press(&self, keys: &[&str]) {
        let mut arguments = vec!["send-keys"];
        arguments.extend(keys);
        self.tmux(&arguments);
    }

    /// Types a line and Enter.
    pub fn enter(&self, line: &str) {
        self.write(line);
        self.press(&["Enter"]);
    }

    /// The screen as it is seen, without blanks at the ends of lines.
    ///
    /// # Panics
    /// When tmux does not do as it is told.
    #[must_use]
    pub fn screen(&self) -> String {
        let screen = self.tmux(&["capture-pane", "-p"]);
        let lines: Vec<_> = screen.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// Waits until the screen is as wanted, and gives it.
    ///
    /// # Panics
    /// When that takes too long; says what was seen last.
    pub async fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = tokio::time::timeout(
            // Before the wait gives up by itself: it does not know what was seen.
            wait::PATIENCE - Duration::from_secs(1),
            wait::until(what, async || {
                last = self.screen();
                is_so(&last).then(|| last.clone())
            }),
        );
        match found.await {
            Ok(screen) => screen,
            Err(_) => panic!("not seen in the terminal: {what}; it shows:\n{last}"),
        }
    }

    /// Waits until the last line begins so.
    pub async fn wait_for_line(&self, begins: &str) -> String {
        let is_so = |screen: &str| screen.lines().last().is_some_and(|line| line.starts_with(begins));
        self.wait_for(&format!("a last line that begins with {begins:?}"), is_so).await
    }

    /// Waits until the program ended, and the terminal with it.
    pub async fn wait_for_end(&self) {
        wait::until_true("the program in the terminal ends", || {
            let mut command = self.command();
            let listed = command.arg("list-sessions").stdout(Stdio::null()).stderr(Stdio::null()).status();
            listed.is_ok_and(|status| !status.success())
        })
        .await;
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        // A terminal that knows colours and UTF-8, whatever the tests were started from.
        command
            .arg("-u")
            .arg("-S")
            .arg(&self.socket)
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color");
        command
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().expect("tmux starts");
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The server behind this socket is ours alone.
        let _ = self.command().arg("kill-server").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
