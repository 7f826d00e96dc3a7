//! Delay between sites, for kernels without netem: a process holds a network device, and writes each packet back when its time has come.
//!
//! The rules of the fabric mark packets of delayed pairs, a routing rule leads these into the device. The process learns the delays
//! from a socket in the instance's folder, as often as they change.

use super::fabric::DELAY_DEVICE;
use super::links::{Delay, Links};
use crate::command;
use crate::error::{At, Error, Result};
use crate::plan::{Instance, Site};
use crate::sandbox::Cgroup;
use crate::state::{self, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The device's queue: more than a window of packets at full speed.
const QUEUE: u32 = 10_000;
/// The most packets that are under way at once; more are lost, as on a path.
const MAX_PACKETS: usize = 200_000;
/// How long the process may take to listen.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(10);

/// The delay of each way, by the numbers of the sites that send and receive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Table(Vec<(u8, u8, Delay)>);

impl Table {
    fn new(sites: &[Site], links: &Links) -> Table {
        let number = |name: &str| sites.iter().find(|site| site.name == name).map(|site| site.number);
        let entry = |(from, to, link): (&str, &str, &super::Link)| Some((number(from)?, number(to)?, link.delay?));
        Table(links.iter().filter_map(entry).collect())
    }

    fn get(&self, source: Ipv4Addr, target: Ipv4Addr) -> Option<Delay> {
        let (from, to) = (Site::number_of(source)?, Site::number_of(target)?);
        self.0.iter().find(|(f, t, _)| (*f, *t) == (from, to)).map(|(_, _, delay)| *delay)
    }
}

/// Starts the process within the fabric.
pub(crate) fn start(instance: &Instance, state: &State, fabric: &super::Fabric) -> Result<()> {
    let socket = state.delay_socket();
    state::remove_file(&socket)?;
    state::make_folder(&state.logs())?;
    let log_path = state.logs().join("delay-lines.log");
    let log = File::options().create(true).append(true).open(&log_path).at(&log_path)?;
    let mut launch = fabric.command(&instance.program);
    launch.arg("delay-lines").arg("--cgroup").arg(instance.fabric()).arg("--listen").arg(&socket);
    launch.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let status = launch.status().map_err(|e| command::failed(&launch, &e.to_string()))?;
    if !status.success() {
        return Err(command::failed(&launch, &format!("{status}; see {}", log_path.display())));
    }
    let begin = Instant::now();
    while !is_running(state) {
        if begin.elapsed() > START_LIMIT {
            let what = "the start of the process that delays packets".to_owned();
            return Err(Error::Timeout { what, limit: START_LIMIT, logs: state.logs() });
        }
        std::thread::sleep(POLL);
    }
    fabric.route_delayed()
}

/// Whether the process answers.
pub(crate) fn is_running(state: &State) -> bool {
    UnixStream::connect(state.delay_socket()).is_ok()
}

/// Tells the process the delays and waits until they count.
pub(crate) fn set(state: &State, sites: &[Site], links: &Links) -> Result<()> {
    let path = state.delay_socket();
    let mut stream = UnixStream::connect(&path).at(&path)?;
    let text = serde_json::to_string(&Table::new(sites, links)).expect("a table of numbers is JSON");
    writeln!(stream, "{text}").at(&path)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).at(&path)?;
    if answer.trim() == "ok" { Ok(()) } else { Err(Error::Invalid(format!("the delays were refused: {answer}"))) }
}

/// The hidden subcommand that delays packets; called again by itself with `is_detached`, so that its caller need not wait for it.
pub fn delay_lines(cgroup: &str, listen: &Path, is_detached: bool) -> Result<()> {
    if !is_detached {
        let own = std::env::current_exe().at(listen)?;
        rustix::process::setsid().at(listen)?;
        Cgroup::new(cgroup.to_owned()).join()?;
        let mut again = Command::new(own);
        again.args(["delay-lines", "--detached", "--cgroup", cgroup, "--listen"]).arg(listen).stdin(Stdio::null());
        return again.spawn().map(drop).at(listen);
    }
    let built = tun_rs::DeviceBuilder::new().name(DELAY_DEVICE).mtu(1500).tx_queue_len(QUEUE).build_sync();
    let device = Arc::new(built.at(Path::new("/dev/net/tun"))?);
    let lines = Arc::new(Lines::default());
    let listener = UnixListener::bind(listen).at(listen)?;
    let (writer, for_writer) = (Arc::clone(&device), Arc::clone(&lines));
    std::thread::spawn(move || {
        loop {
            let packet = for_writer.next();
            // A packet whose receiver is gone is lost, as on a path.
            writer.send(&packet).ok();
        }
    });
    let for_control = Arc::clone(&lines);
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| control(&for_control, stream)));
    let mut buffer = vec![0; 65_536];
    loop {
        let length = device.recv(&mut buffer).at(listen)?;
        lines.take(&buffer[..length]);
    }
}

fn control(lines: &Lines, stream: UnixStream) {
    let mut text = String::new();
    let mut reader = BufReader::new(stream);
    if reader.read_line(&mut text).unwrap_or(0) == 0 {
        return;
    }
    let answer = match serde_json::from_str(&text) {
        Ok(table) => {
            lines.state().table = table;
            "ok".to_owned()
        }
        Err(error) => error.to_string(),
    };
    // The other end may have gone; the delays count all the same.
    writeln!(reader.get_mut(), "{answer}").ok();
}

/// The packets that are under way.
#[derive(Default)]
struct Lines {
    state: Mutex<Underway>,
    changed: Condvar,
}

#[derive(Default)]
struct Underway {
    table: Table,
    /// By the time at which they arrive, and the order in which they came.
    packets: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    /// When the last packet of each pair of addresses arrives: no later one overtakes it.
    last: HashMap<(Ipv4Addr, Ipv4Addr), Instant>,
}

impl Underway {
    fn take(&mut self, packet: &[u8], now: Instant, luck: f64) {
        let Some((source, target)) = addresses(packet) else { return };
        if self.packets.len() >= MAX_PACKETS {
            return;
        }
        let delay = self.table.get(source, target).unwrap_or_default();
        let earliest = delay.latency.saturating_sub(delay.jitter);
        let wanted = now + earliest + (delay.jitter * 2).mul_f64(luck);
        let last = self.last.entry((source, target)).or_insert(wanted);
        *last = wanted.max(*last);
        self.count += 1;
        self.packets.insert((*last, self.count), packet.to_owned());
    }
}

impl Lines {
    fn state(&self) -> MutexGuard<'_, Underway> {
        // A thread that panicked ends the process soon; what it left is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, packet: &[u8]) {
        self.state().take(packet, Instant::now(), rand::random());
        self.changed.notify_one();
    }

    /// Waits for the packet that arrives next.
    fn next(&self) -> Vec<u8> {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let wait = state.packets.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now));
            state = match wait {
                Some(Duration::ZERO) => {
                    let (_, packet) = state.packets.pop_first().expect("there is a first one");
                    return packet;
                }
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Source and target of an IPv4 packet.
fn addresses(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let address = |at: usize| <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok().map(Ipv4Addr::from);
    (packet.first()? >> 4 == 4).then_some((address(12)?, address(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(mark: u8) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[1] = mark;
        packet[12..16].copy_from_slice(&[10, 81, 0, 5]);
        packet[16..20].copy_from_slice(&[10, 80, 2, 1]);
        packet
    }

    #[test]
    fn packets_of_a_pair_keep_their_order_whatever_the_jitter() {
        let delay = Delay { latency: Duration::from_millis(25), jitter: Duration::from_millis(5) };
        let mut underway = Underway { table: Table(vec![(1, 2, delay)]), ..Underway::default() };
        let now = Instant::now();
        underway.take(&packet(1), now, 1.0);
        underway.take(&packet(2), now, 0.0);
        let arrivals: Vec<_> = underway.packets.iter().map(|((at, _), packet)| (*at - now, packet[1])).collect();
        let late = Duration::from_millis(30);
        assert_eq!(arrivals, [(late, 1), (late, 2)]);
    }

    #[test]
    fn a_way_without_a_delay_of_its_own_is_not_delayed() {
        let delay = Delay { latency: Duration::from_millis(25), jitter: Duration::ZERO };
        let table = Table(vec![(2, 1, delay)]);
        let (pod, node) = (Ipv4Addr::new(10, 81, 0, 5), Ipv4Addr::new(10, 80, 2, 1));
        assert_eq!((table.get(pod, node), table.get(node, pod)), (None, Some(delay)));
        assert_eq!(addresses(&[0x60; 40]), None);
    }
}
