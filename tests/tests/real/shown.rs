//! What commands show of bytes that somebody put: escaped on a terminal, byte for byte in a pipe.

use std::process::Stdio;

use holdfast_tests::scene::Scene;
use holdfast_tests::terminal::Terminal;
use holdfast_tests::wait;

/// Clears the screen, renames the window, turns a text around; with a byte that is no text.
const HOSTILE: &[u8] = b"a\x1b[2J\x1b[Hb\x1b]0;mine\x07\xe2\x80\xaec\xff";
/// The same on a terminal.
const SHOWN: &str = r"a\u001b[2J\u001b[Hb\u001b]0;mine\u0007\u202ec\xff";

async fn piped(scene: &Scene, arguments: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let child = scene.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = tokio::time::timeout(wait::PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    (ended.stdout, ended.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_are_escaped_on_a_terminal_and_whole_in_a_pipe() {
    let Some(scene) = Scene::start(1).await else { return };
    let client = scene.client().await;
    client.put("k", HOSTILE.to_vec()).await.unwrap();
    client.put(HOSTILE.to_vec(), "line\nand\ttab").await.unwrap();

    assert_eq!(piped(&scene, &["get", "k"]).await.0, HOSTILE);
    assert_eq!(piped(&scene, &["get", "k", "--raw"]).await.0, HOSTILE);
    let rows = [HOSTILE, b"\tline\\nand\\ttab\nk\t", HOSTILE, b"\n"].concat();
    assert_eq!(piped(&scene, &["scan"]).await.0, rows);
    let (_, errors) = piped(&scene, &["get", "k", "--keyspace", "a\x1b[2J"]).await;
    assert!(!errors.is_empty() && !errors.contains(&0x1b), "standard error is for people, wherever it goes");

    let at = scene.fleet.addresses().join(",");
    let command = scene.command(&[]);
    let program = command.as_std().get_program().to_str().unwrap();
    let command = format!("{program} get k; {program} scan; {program} get none; echo all was shown; sleep 600");
    let Some(terminal) = Terminal::start(&scene.path("."), 200, 50, &[("HOLDFAST_AT", &at)], &command) else { return };
    let screen = terminal.wait_for("the end of it", |screen| screen.ends_with("all was shown")).await;
    let lines: Vec<Vec<_>> = screen.lines().map(|line| line.split_whitespace().collect()).collect();
    let wanted =
        [&[SHOWN][..], &[SHOWN, r"line\nand\ttab"], &["k", SHOWN], &["no", "such", "key"], &["all", "was", "shown"]];
    assert_eq!(lines, wanted, "{screen}");
}
