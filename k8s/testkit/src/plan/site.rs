//! One Kubernetes cluster and its nodes: all names and addresses follow from the site's name and number.

use std::net::Ipv4Addr;

/// One Kubernetes cluster.
///
/// - Addresses of two sites never overlap: the site's number is their second or third byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name; also the name of its context in the kubeconfig, and of its region label.
    pub name: String,
    /// Its number, from 1.
    pub number: u8,
    /// Its nodes, by number; the first one also runs the control plane.
    pub nodes: Vec<Node>,
}

/// One node: a sandbox with a network namespace, a kubelet and containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name in Kubernetes: the site's name and its number.
    pub name: String,
    /// Its number within the site, from 0.
    pub number: u8,
    /// Its address, in Kubernetes its InternalIP.
    pub address: Ipv4Addr,
    /// The addresses of its pods.
    pub pod_cidr: String,
    /// The label topology.kubernetes.io/zone.
    pub zone: String,
}

impl Site {
    pub(crate) fn new(name: &str, number: u8, nodes: u8) -> Site {
        let nodes = (0..nodes).map(|node| Node::new(name, number, node)).collect();
        Site { name: name.to_owned(), number, nodes }
    }

    /// The domain of its names, in place of `cluster.local`.
    pub fn domain(&self) -> String {
        format!("{}.test", self.name)
    }

    /// The addresses of all its pods.
    pub fn pod_cidr(&self) -> String {
        format!("10.{}.0.0/16", 80 + u16::from(self.number))
    }

    /// The addresses of all its nodes.
    pub fn node_cidr(&self) -> String {
        format!("10.80.{}.0/24", self.number)
    }

    /// The addresses of its services; they mean something on its own nodes and in its own pods only.
    pub fn service_cidr(&self) -> String {
        format!("10.{}.0.0/16", self.service_byte())
    }

    /// The address of the service `kubernetes`.
    pub(crate) fn kubernetes_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.service_byte(), 0, 1)
    }

    /// The address at which its pods ask for names.
    pub fn dns_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.service_byte(), 0, 10)
    }

    /// The URL of its API server, for programs in the fabric's network namespace.
    pub fn api_server(&self) -> String {
        format!("https://{}:{}", self.nodes[0].address, super::API_PORT)
    }

    /// The number of the site that a node's or a pod's address belongs to.
    pub(crate) fn number_of(address: Ipv4Addr) -> Option<u8> {
        match address.octets() {
            [10, 80, number, _] if number > 0 => Some(number),
            [10, second, ..] if (81..90).contains(&second) => Some(second - 80),
            _ => None,
        }
    }

    fn service_byte(&self) -> u8 {
        100 + self.number
    }
}

impl Node {
    pub(crate) fn new(site: &str, site_number: u8, number: u8) -> Node {
        Node {
            name: format!("{site}-{number}"),
            number,
            address: Ipv4Addr::new(10, 80, site_number, number + 1),
            pod_cidr: format!("10.{}.{number}.0/24", 80 + u16::from(site_number)),
            zone: format!("{site}-{}", char::from(b'a' + number)),
        }
    }

    /// Whether it also runs etcd, the API server, the controllers and the scheduler.
    pub fn has_control_plane(&self) -> bool {
        self.number == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_two_sites_never_overlap() {
        let (east, west) = (Site::new("east", 1, 3), Site::new("west", 2, 3));
        assert_eq!((east.pod_cidr().as_str(), west.pod_cidr().as_str()), ("10.81.0.0/16", "10.82.0.0/16"));
        assert_eq!((east.node_cidr().as_str(), west.node_cidr().as_str()), ("10.80.1.0/24", "10.80.2.0/24"));
        assert_eq!((east.service_cidr().as_str(), west.service_cidr().as_str()), ("10.101.0.0/16", "10.102.0.0/16"));
        assert_eq!(east.nodes[2].address, Ipv4Addr::new(10, 80, 1, 3));
        assert_eq!(east.nodes[2].pod_cidr, "10.81.2.0/24");
        assert_eq!((east.nodes[2].name.as_str(), east.nodes[2].zone.as_str()), ("east-2", "east-c"));
    }

    #[test]
    fn a_site_is_known_by_the_addresses_of_its_nodes_and_pods() {
        let number = |text: &str| Site::number_of(text.parse().unwrap());
        assert_eq!(["10.80.2.1", "10.82.7.9", "10.80.0.1", "10.101.0.1"].map(number), [Some(2), Some(2), None, None]);
    }

    #[test]
    fn only_the_first_node_has_the_control_plane() {
        let east = Site::new("east", 1, 3);
        let with: Vec<_> = east.nodes.iter().filter(|node| node.has_control_plane()).map(|node| node.number).collect();
        assert_eq!(with, [0]);
        assert_eq!(east.api_server(), "https://10.80.1.1:6443");
    }
}
