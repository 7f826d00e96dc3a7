//! The faults that are measured. Sites are called a, b and c; a is the one that has bad luck.

use std::time::Duration;

use crate::fleet::{CLIENT_PORT, HEARTBEAT_PORT, STORE_PORT};
use crate::wires::cut::{Cut, End, How, Traffic, link, one_way, opened};

const A: End = End::Site(0);
const B: End = End::Site(1);
const C: End = End::Site(2);
/// The other sites.
const OTHERS: [End; 2] = [B, C];

/// What happens.
#[derive(Clone, Debug)]
pub enum Act {
    /// Nothing: what a measurement without a fault looks like.
    Nothing,
    /// Something is cut.
    Cut(Vec<Cut>),
    /// Something is cut and whole again, in turns that last so long.
    Flap(Vec<Cut>, Duration),
    /// The store of site a stands still (SIGSTOP).
    Pause,
    /// It stands still so long, and then goes on for so long.
    Pulses(Duration, Duration),
    /// It is killed, and started again at the end.
    Kill,
}

/// A fault, and whom it hits.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What it is called in the table.
    pub name: String,
    /// What is done.
    pub act: Act,
    /// The sites at the bad side.
    pub bad: &'static [usize],
    /// Whether a client that talks to a store at the bad side only has a way, through stores, to a majority.
    pub has_path: bool,
}

/// Site a, and whether its store still has a way to another one, for requests.
const A_CUT_OFF: (&[usize], bool) = (&[0], false);
const A_REACHES: (&[usize], bool) = (&[0], true);
/// One link: at either end there is a way over site c.
const LINK: (&[usize], bool) = (&[0, 1], true);

fn fault(name: impl Into<String>, act: Act, (bad, has_path): (&'static [usize], bool)) -> Fault {
    Fault { name: name.into(), act, bad, has_path }
}

fn links(traffic: Traffic, how: How) -> Vec<Cut> {
    OTHERS.iter().flat_map(|other| link(A, *other, traffic, how)).collect()
}

fn out_of_a(traffic: Traffic, how: How) -> Vec<Cut> {
    OTHERS.iter().flat_map(|other| one_way(A, *other, traffic, how)).collect()
}

fn into_a(traffic: Traffic, how: How) -> Vec<Cut> {
    OTHERS.iter().flat_map(|other| one_way(*other, A, traffic, how)).collect()
}

/// All faults, in the order of the table.
#[must_use]
pub fn faults() -> Vec<Fault> {
    let mut all = vec![fault("none", Act::Nothing, A_REACHES)];
    all.extend(store_port());
    all.extend(heartbeat_port());
    all.extend(client_port());
    all.extend(all_ports());
    all.extend(unsteady());
    all.extend(processes());
    all
}

fn store_port() -> Vec<Fault> {
    let (port, drop, reject) = (Traffic::Port(STORE_PORT), How::Drop, How::Reject);
    let by_a = OTHERS.iter().flat_map(|other| opened(A, *other, STORE_PORT, drop)).collect();
    let to_a = OTHERS.iter().flat_map(|other| opened(*other, A, STORE_PORT, drop)).collect();
    vec![
        fault("store port: site a, dropped", Act::Cut(links(port, drop)), A_CUT_OFF),
        fault("store port: site a, rejected", Act::Cut(links(port, reject)), A_CUT_OFF),
        fault("store port: what a connects to", Act::Cut(by_a), A_CUT_OFF),
        fault("store port: what connects to a", Act::Cut(to_a), A_CUT_OFF),
        fault("store port: packets out of a", Act::Cut(out_of_a(port, drop)), A_CUT_OFF),
        fault("store port: packets into a", Act::Cut(into_a(port, drop)), A_CUT_OFF),
        fault("store port: a-b, dropped", Act::Cut(link(A, B, port, drop)), LINK),
        fault("store port: a-b, rejected", Act::Cut(link(A, B, port, reject)), LINK),
        fault("store port: what a connects to at b", Act::Cut(opened(A, B, STORE_PORT, drop)), LINK),
        fault("store port: packets from a to b", Act::Cut(one_way(A, B, port, drop)), LINK),
    ]
}

fn heartbeat_port() -> Vec<Fault> {
    let (port, drop, reject) = (Traffic::Port(HEARTBEAT_PORT), How::Drop, How::Reject);
    vec![
        fault("heartbeat port: site a, dropped", Act::Cut(links(port, drop)), A_REACHES),
        fault("heartbeat port: site a, rejected", Act::Cut(links(port, reject)), A_REACHES),
        fault("heartbeat port: packets out of a", Act::Cut(out_of_a(port, drop)), A_REACHES),
        fault("heartbeat port: packets into a", Act::Cut(into_a(port, drop)), A_REACHES),
        fault("heartbeat port: a-b, dropped", Act::Cut(link(A, B, port, drop)), LINK),
    ]
}

fn client_port() -> Vec<Fault> {
    let port = Traffic::Port(CLIENT_PORT);
    let from_everywhere = |how| {
        let mut cuts = links(port, how);
        cuts.extend(link(A, End::Outside, port, how));
        cuts
    };
    vec![
        fault("client port: site a, dropped", Act::Cut(from_everywhere(How::Drop)), A_REACHES),
        fault("client port: site a, rejected", Act::Cut(from_everywhere(How::Reject)), A_REACHES),
    ]
}

fn all_ports() -> Vec<Fault> {
    let (all, drop, reject) = (Traffic::Everything, How::Drop, How::Reject);
    let mut lost = links(all, drop);
    lost.extend(link(A, End::Outside, all, drop));
    vec![
        fault("all ports: a-b, dropped (c is the bridge)", Act::Cut(link(A, B, all, drop)), LINK),
        fault("all ports: a-b, rejected", Act::Cut(link(A, B, all, reject)), LINK),
        fault("all ports: packets from a to b", Act::Cut(one_way(A, B, all, drop)), LINK),
        fault("all ports: a from b and c, dropped", Act::Cut(links(all, drop)), A_CUT_OFF),
        fault("all ports: a from b and c, rejected", Act::Cut(links(all, reject)), A_CUT_OFF),
        fault("all ports: packets from a to b and c", Act::Cut(out_of_a(all, drop)), A_CUT_OFF),
        fault("all ports: packets from b and c to a", Act::Cut(into_a(all, drop)), A_CUT_OFF),
        fault("all ports: a from everybody", Act::Cut(lost), A_CUT_OFF),
    ]
}

fn unsteady() -> Vec<Fault> {
    let (all, store, drop) = (Traffic::Everything, Traffic::Port(STORE_PORT), How::Drop);
    let flap = |name: &str, cuts, ms| fault(name, Act::Flap(cuts, Duration::from_millis(ms)), A_CUT_OFF);
    vec![
        flap("flapping: a from b and c, every 200 ms", links(all, drop), 200),
        flap("flapping: a from b and c, every 700 ms", links(all, drop), 700),
        flap("flapping: a from b and c, every 2 s", links(all, drop), 2_000),
        flap("flapping: store port of a, every 1 s", links(store, drop), 1_000),
        fault("flapping: a-b, every 500 ms", Act::Flap(link(A, B, all, drop), Duration::from_millis(500)), LINK),
    ]
}

fn processes() -> Vec<Fault> {
    let pulses = Act::Pulses(Duration::from_millis(500), Duration::from_millis(700));
    vec![
        fault("store of a paused", Act::Pause, A_CUT_OFF),
        fault("store of a paused 0.5 s of every 1.2 s", pulses, A_CUT_OFF),
        fault("store of a killed", Act::Kill, A_CUT_OFF),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own_and_every_port_is_cut_both_ways_and_one_way() {
        let all = faults();
        let names: std::collections::BTreeSet<_> = all.iter().map(|fault| &fault.name).collect();
        assert_eq!(names.len(), all.len());
        for traffic in [Traffic::Port(STORE_PORT), Traffic::Port(HEARTBEAT_PORT), Traffic::Everything] {
            let ways: Vec<(bool, bool)> = all
                .iter()
                .filter_map(|fault| if let Act::Cut(cuts) = &fault.act { Some(cuts) } else { None })
                .filter(|cuts| cuts.iter().all(|cut| cut.traffic == traffic))
                .map(|cuts| (cuts.iter().any(|cut| cut.from == A), cuts.iter().any(|cut| cut.to == A)))
                .collect();
            for way in [(true, true), (true, false), (false, true)] {
                assert!(ways.contains(&way), "{traffic:?} {way:?}");
            }
        }
    }
}
