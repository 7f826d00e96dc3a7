//! Clients that reach a store by an address that it does not advertise: a forwarded port, a tunnel, a load balancer.

use std::net::TcpListener as Deaf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use holdfast_client::mock::{Fault, Mock};
use holdfast_client::{Batch, Client, Options, blocking};
use holdfast_types::limits;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::{keys, three_sites};

/// Passes connections on to each of its targets in turn. Dropping it cuts them.
struct Forwarder {
    address: String,
    targets: Arc<Mutex<Vec<String>>>,
    open: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Forwarder {
    async fn to(targets: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let targets = Arc::new(Mutex::new(targets.to_vec()));
        let (count, open) = watch::channel(0);
        let task = tokio::spawn(forward(listener, Arc::clone(&targets), Arc::new(count)));
        Self { address, targets, open, task }
    }

    /// From now on connections are passed on to these.
    fn turn_to(&self, targets: &[String]) {
        *self.targets.lock().unwrap() = targets.to_vec();
    }

    /// Waits until nobody uses it.
    async fn until_unused(&self) {
        self.open.clone().wait_for(|open| *open == 0).await.unwrap();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(listener: TcpListener, targets: Arc<Mutex<Vec<String>>>, count: Arc<watch::Sender<usize>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((mut inner, _)) = listener.accept().await else { continue };
        let target = {
            let mut targets = targets.lock().unwrap();
            targets.rotate_left(1);
            targets.last().cloned().unwrap()
        };
        count.send_modify(|open| *open += 1);
        let count = Arc::clone(&count);
        connections.spawn(async move {
            if let Ok(mut outer) = TcpStream::connect(target).await {
                // A connection that breaks is closed on both sides, and says so to both ends.
                let _ = copy_bidirectional(&mut inner, &mut outer).await;
            }
            count.send_modify(|open| *open -= 1);
        });
    }
}

/// Ports that refuse, and are nobody else's as long as this is kept.
fn closed_ports(count: usize) -> (Vec<TcpSocket>, Vec<String>) {
    let bound = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket
    };
    let sockets: Vec<TcpSocket> = (0..count).map(|_| bound()).collect();
    let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
    (sockets, addresses)
}

/// Ports that take connections and never say a word.
fn deaf_ports(count: usize) -> (Vec<Deaf>, Vec<String>) {
    let listeners: Vec<Deaf> = (0..count).map(|_| Deaf::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect();
    (listeners, addresses)
}

/// A few attempts to connect. The default deadline is longer.
fn patience() -> Duration {
    limits::CLIENT_CONNECT_TIMEOUT * 5
}

async fn connect(forwarder: &Forwarder) -> Client {
    Client::connect([forwarder.address.clone()], Options::new().deadline(patience())).await.unwrap()
}

async fn every_operation_is_served(client: &Client) {
    client.put("a", "1").await.unwrap();
    client.put("x", "2").await.unwrap();
    assert_eq!(&client.get("a").await.unwrap().unwrap().value[..], b"1");
    let values = client.batch_get(["x", "nothing", "a"]).await.unwrap();
    assert_eq!(values.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert!(client.batch(Batch::new().put("b", "3").put("c", "4")).await.unwrap().is_written());
    assert_eq!(keys(&client.scan(..).collect().await.unwrap()), "a b c x");
    assert_eq!(keys(&client.scan(..).reverse().collect().await.unwrap()), "x c b a");
    assert_eq!(client.delete_range("b".."x").await.unwrap(), 2);
}

#[tokio::test]
async fn one_forwarded_port_is_enough_where_every_advertised_address_refuses() {
    let (_closed, advertised) = closed_ports(3);
    let mock = three_sites().advertise(advertised).start().unwrap();
    // Not the store that leads.
    let forwarder = Forwarder::to(&mock.addresses()[1..2]).await;
    let client = connect(&forwarder).await;
    every_operation_is_served(&client).await;
    let keyspace = client.admin().create_keyspace("orders").await.unwrap();
    client.with_keyspace(keyspace.id).put("17", "two apples").await.unwrap();
}

#[tokio::test]
async fn one_forwarded_port_is_enough_where_every_advertised_address_is_silent() {
    let (_deaf, advertised) = deaf_ports(3);
    let mock = three_sites().advertise(advertised).start().unwrap();
    let forwarder = Forwarder::to(&mock.addresses()[1..2]).await;
    let client = connect(&forwarder).await;
    every_operation_is_served(&client).await;
}

#[tokio::test]
async fn a_reverse_scan_may_come_first_through_a_forwarded_port() {
    let (_closed, advertised) = closed_ports(3);
    let mock = three_sites().advertise(advertised).start().unwrap();
    let forwarder = Forwarder::to(&mock.addresses()[2..]).await;
    let client = connect(&forwarder).await;
    assert_eq!(client.scan(..).reverse().collect().await.unwrap(), []);
}

#[test]
fn a_blocking_client_works_through_a_forwarded_port() {
    let (_deaf, advertised) = deaf_ports(3);
    let mock = three_sites().advertise(advertised).start().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let forwarder = runtime.block_on(Forwarder::to(&mock.addresses()[1..2]));
    let client = blocking::Client::connect([forwarder.address.clone()], Options::new().deadline(patience())).unwrap();
    client.put("k", "v").unwrap();
    assert_eq!(&client.get("k").unwrap().unwrap().value[..], b"v");
}

#[tokio::test]
async fn with_tls_the_store_behind_a_forwarded_port_proves_who_it_is() {
    let (_closed, advertised) = closed_ports(1);
    let mock = Mock::builder().tls().advertise(advertised).start().unwrap();
    let forwarder = Forwarder::to(&mock.addresses()).await;
    let issued = mock.certificate("billing").unwrap();
    let trust = holdfast_client::Trust::from_material(issued.material().unwrap());
    let options = Options::new().security(trust).deadline(patience());
    let client = Client::connect([forwarder.address.clone()], options).await.unwrap();
    client.put("k", "v").await.unwrap();
    // What answers there without such a proof is nobody.
    let plain = Mock::start().unwrap();
    forwarder.turn_to(&plain.addresses());
    mock.stop_store(0);
    let refused = client.with_deadline(limits::CLIENT_CONNECT_TIMEOUT / 2).get("k").await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(plain.stats().calls, 0);
}

#[tokio::test]
async fn a_client_goes_on_when_the_store_behind_its_port_comes_back() {
    let (_closed, advertised) = closed_ports(3);
    let mock = three_sites().advertise(advertised).start().unwrap();
    let forwarder = Forwarder::to(&mock.addresses()[1..2]).await;
    let client = connect(&forwarder).await;
    client.put("k", "1").await.unwrap();
    mock.stop_store(1);
    assert!(client.with_deadline(Duration::from_millis(300)).get("k").await.is_err(), "nothing is reached");
    mock.start_store(1).unwrap();
    assert_eq!(&client.get("k").await.unwrap().unwrap().value[..], b"1");
}

#[tokio::test]
async fn a_client_goes_on_at_another_address_that_it_was_given() {
    let (_closed, advertised) = closed_ports(3);
    let mock = three_sites().advertise(advertised).start().unwrap();
    let first = Forwarder::to(&mock.addresses()[..1]).await;
    let second = Forwarder::to(&mock.addresses()[2..]).await;
    let options = Options::new().deadline(patience());
    let client = Client::connect([first.address.clone(), second.address.clone()], options).await.unwrap();
    client.put("k", "1").await.unwrap();
    drop(first);
    assert_eq!(&client.get("k").await.unwrap().unwrap().value[..], b"1");
}

#[tokio::test]
async fn behind_a_load_balancer_whichever_store_answers_serves() {
    let (_closed, advertised) = closed_ports(3);
    let mock = three_sites().advertise(advertised).start().unwrap();
    let balancer = Forwarder::to(&mock.addresses()).await;
    let client = connect(&balancer).await;
    every_operation_is_served(&client).await;
    // Whichever it was dies, and so does the next.
    for store in 0..2 {
        mock.stop_store(store);
        balancer.turn_to(&mock.addresses()[store + 1..]);
        client.put("k", "v").await.unwrap();
    }
}

#[tokio::test]
async fn an_address_of_another_fleet_is_not_gone_by() {
    let (_closed, advertised) = closed_ports(1);
    let mock = Mock::builder().advertise(advertised).start().unwrap();
    let other = Mock::start().unwrap();
    let forwarder = Forwarder::to(&mock.addresses()).await;
    let client = connect(&forwarder).await;
    client.put("k", "v").await.unwrap();
    forwarder.turn_to(&other.addresses());
    mock.stop_store(0);
    assert!(client.with_deadline(limits::CLIENT_CONNECT_TIMEOUT / 2).put("k", "w").await.is_err());
    assert_eq!(other.stats().calls, 0);
}

#[tokio::test]
async fn the_advertised_address_takes_over_when_it_is_reached_and_what_is_under_way_is_answered() {
    let (_closed, advertised) = closed_ports(1);
    let mock = Mock::builder().advertise(advertised).start().unwrap();
    let forwarder = Forwarder::to(&mock.addresses()).await;
    let client = connect(&forwarder).await;
    client.put("k", "1").await.unwrap();
    mock.inject(Fault::delay(Duration::from_millis(500)));
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.put("k", "2").await }
    });
    mock.until(|stats| stats.calls == 2).await;
    mock.advertise(0, mock.addresses().remove(0));
    slow.await.unwrap().unwrap();
    forwarder.until_unused().await;
    drop(forwarder);
    client.put("k", Bytes::from_static(b"3")).await.unwrap();
    assert_eq!((mock.stats().calls, mock.versions("k").len()), (3, 3), "no attempt was lost");
}

#[tokio::test]
async fn a_link_that_works_outlives_an_address_that_does_not() {
    let mock = Mock::start().unwrap();
    let (_deaf, mut elsewhere) = deaf_ports(1);
    let client = mock.client().await.unwrap();
    client.put("k", "1").await.unwrap();
    mock.advertise(0, elsewhere.remove(0));
    for _ in 0..3 {
        client.with_deadline(limits::CLIENT_CONNECT_TIMEOUT / 2).put("k", "2").await.unwrap();
    }
    assert_eq!(mock.stats().calls, 4, "each at once");
}
