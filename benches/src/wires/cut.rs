//! What is cut between two places, and the rules of nftables that do it.
//!
//! Rules stand at the end where packets arrive. A cut of the packets from one place to another stops the connections between them,
//! whoever opened them: without acknowledgements TCP delivers nothing for long, the other way neither. What a firewall usually
//! does, refusing the connections that one side opens, is [`opened`].

use std::net::IpAddr;

/// A place that packets come from or go to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// A site, by its number.
    Site(usize),
    /// Where clients are that are in no site.
    Outside,
}

/// Which packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// All.
    Everything,
    /// Of the connections to a port, on either side.
    Port(u16),
    /// Of the connections to a port of the receiver of these packets.
    ToReceiver(u16),
    /// Of the connections to a port of the sender of these packets: answers.
    ToSender(u16),
}

/// What becomes of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// They vanish.
    Drop,
    /// The sender is told: connections break at once.
    Reject,
}

/// Packets that do not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Where they come from.
    pub from: End,
    /// Where they would arrive.
    pub to: End,
    /// Which.
    pub traffic: Traffic,
    /// How.
    pub how: How,
}

/// Nothing passes between two places.
#[must_use]
pub fn link(one: End, other: End, traffic: Traffic, how: How) -> Vec<Cut> {
    vec![Cut { from: one, to: other, traffic, how }, Cut { from: other, to: one, traffic, how }]
}

/// Nothing passes from one place to another; the other way it does.
#[must_use]
pub fn one_way(from: End, to: End, traffic: Traffic, how: How) -> Vec<Cut> {
    vec![Cut { from, to, traffic, how }]
}

/// The connections that one place opens to a port of another are cut, in both directions; those that the other opens are whole.
#[must_use]
pub fn opened(by: End, to: End, port: u16, how: How) -> Vec<Cut> {
    let there = Cut { from: by, to, traffic: Traffic::ToReceiver(port), how };
    let back = Cut { from: to, to: by, traffic: Traffic::ToSender(port), how };
    vec![there, back]
}

impl Cut {
    /// The rules, a line each, for the namespace where the packets arrive.
    pub(super) fn rules(&self, from: IpAddr) -> Vec<String> {
        let fields = match self.traffic {
            Traffic::Everything => vec![String::new()],
            Traffic::Port(port) => vec![format!("tcp dport {port} "), format!("tcp sport {port} ")],
            Traffic::ToReceiver(port) => vec![format!("tcp dport {port} ")],
            Traffic::ToSender(port) => vec![format!("tcp sport {port} ")],
        };
        let add = |rule: String| format!("add rule ip cuts arriving ip saddr {from} {rule}\n");
        let mut rules = Vec::new();
        for field in fields {
            if self.how == How::Reject {
                // The reset by which the other end refuses must arrive, or it would be as good as dropped.
                rules.push(add(format!("{field}tcp flags & rst == rst accept")));
                let tcp = if field.is_empty() { "meta l4proto tcp " } else { &field };
                rules.push(add(format!("{tcp}reject with tcp reset")));
            }
            rules.push(add(format!("{field}drop")));
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_that_one_side_opens_are_told_by_their_ports() {
        let cuts = opened(End::Site(0), End::Site(1), 7400, How::Drop);
        let from = IpAddr::from([10, 99, 0, 9]);
        let rules: Vec<_> = cuts.iter().map(|cut| (cut.to, cut.rules(from).concat())).collect();
        let rule = |field: &str| format!("add rule ip cuts arriving ip saddr 10.99.0.9 tcp {field} 7400 drop\n");
        assert_eq!(rules, [(End::Site(1), rule("dport")), (End::Site(0), rule("sport"))]);
    }
}
