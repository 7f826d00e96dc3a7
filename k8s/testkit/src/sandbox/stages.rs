//! What a node waits for while it starts.

use super::images;
use crate::config::SandboxSpec;
use crate::error::Result;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How often a socket is tried.
const POLL: Duration = Duration::from_millis(50);
/// How often a server that listens is asked whether it is ready.
const ASK: Duration = Duration::from_millis(200);
/// How long a connection may take: that of another node may be cut.
const CONNECT: Duration = Duration::from_secs(2);

/// Waits until the site's API server says that it is ready. Connecting is cheap, so the question comes only then.
pub(super) fn wait_for_api_server(spec: &SandboxSpec) {
    while TcpStream::connect_timeout(&spec.api_server, CONNECT).is_err() {
        std::thread::sleep(POLL);
    }
    while !is_ready(spec) {
        std::thread::sleep(ASK);
    }
}

fn is_ready(spec: &SandboxSpec) -> bool {
    let [kubectl, kubeconfig] = spec.kubectl.as_slice() else { return false };
    let mut ask = Command::new(kubectl);
    ask.arg("--kubeconfig").arg(kubeconfig).args(["get", "--raw=/readyz", "--request-timeout=2s"]);
    ask.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}

/// Waits for containerd and has it import what it has not imported yet.
pub(super) fn wait_for_images(spec: &SandboxSpec) -> Result<()> {
    while UnixStream::connect(&spec.containerd_socket).is_err() {
        std::thread::sleep(POLL);
    }
    images::import(&spec.containerd_socket, &spec.images, &spec.imported)
}
