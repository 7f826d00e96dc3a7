//! A way to a pod through the API server, so that whoever operates a fleet need not be in its network: a local address each of whose connections
//! is forwarded to a port of the pod.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::failure::Failure;
use crate::link::Link;

/// An open way. Dropped, it closes, and all connections with it.
pub struct Tunnel {
    /// Where it begins, on this machine.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a way to a port of a pod. Nobody is asked before the first connection.
pub async fn open(link: &Link, namespace: &str, pod: &str, port: u16) -> Result<Tunnel, Failure> {
    let local =
        |error: std::io::Error| Failure::Unreachable { what: "open a local port".to_owned(), why: error.to_string() };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(local)?;
    let address = listener.local_addr().map_err(local)?;
    let (link, namespace, pod) = (link.clone(), namespace.to_owned(), pod.to_owned());
    let task = tokio::spawn(async move {
        // Connections end with the listener.
        let mut connections = JoinSet::new();
        while let Ok((connection, _)) = listener.accept().await {
            let (link, namespace, pod) = (link.clone(), namespace.clone(), pod.clone());
            connections.spawn(async move { forward(&link, &namespace, &pod, port, connection).await });
        }
    });
    Ok(Tunnel { address, task })
}

/// A connection that cannot be forwarded is closed, and its client says what it makes of that.
async fn forward(link: &Link, namespace: &str, pod: &str, port: u16, mut connection: TcpStream) -> Option<()> {
    let pods: Api<Pod> = Api::namespaced(link.client().clone(), namespace);
    let what = format!("forward to {pod}:{port}");
    let mut forwarder = link.timed(&what, pods.portforward(pod, &[port])).await.ok()?;
    let mut stream = forwarder.take_stream(port)?;
    copy_bidirectional(&mut connection, &mut stream).await.ok()?;
    Some(())
}
