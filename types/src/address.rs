//! Addresses of stores: as they are told, `host:port`, and as people write them.

// The addresses alone: `core` has no sockets.
use core::net::Ipv6Addr;

use crate::limits;

/// Where clients reach a store unless something else is said.
pub const CLIENT_PORT: u16 = 7300;

/// Says what is wrong with an address: it is a host name, an IPv4 address or an IPv6 address in brackets, a colon, and a port above 0.
pub fn check_address(address: &str) -> Result<(), String> {
    if address.len() > limits::MAX_ADDRESS_BYTES {
        let most = limits::MAX_ADDRESS_BYTES;
        return Err(format!("an address of {} bytes is longer than {most}: use HOST:PORT", address.len()));
    }
    let wrong = |why: &str| Err(format!("{address:?} is no address: {why}; use HOST:PORT"));
    let Some((host, port)) = address.rsplit_once(':') else { return wrong("it has no port") };
    if !port.parse::<u16>().is_ok_and(|number| number > 0) || port.starts_with('+') {
        return wrong("its port is no number from 1 to 65535");
    }
    let is_named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.contains(':') && inner.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.')),
        None => !host.is_empty() && host.chars().all(is_named),
    };
    if is_host { Ok(()) } else { wrong("its host is no name and no IP address (IPv6 stands in brackets)") }
}

/// The address of a store as host:port, from what people write: with `http://` before it, or without a port.
///
/// # Errors
/// What is wrong with it, in a sentence for whoever wrote it.
pub fn parse_address(text: &str) -> Result<String, String> {
    let shown = || text.escape_debug().to_string();
    let bare = match text.split_once("://") {
        None => text.strip_suffix('/').unwrap_or(text),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest.strip_suffix('/').unwrap_or(rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
            let rest = rest.escape_debug();
            return Err(format!(
                "`https://` is not what turns TLS on: give {rest}, and prove who you are by --tls DIR"
            ));
        }
        Some(_) => return Err(format!("{} is not the address of a store: give HOST:PORT", shown())),
    };
    if bare.is_empty() {
        return Err(format!("an address is empty: give HOST:PORT, or HOST for port {CLIENT_PORT}"));
    }
    if bare.contains(',') {
        return Err(format!("{} names several stores: name one", shown()));
    }
    host_and_port(bare).ok_or_else(|| format!("{} is not the address of a store: give HOST:PORT", shown()))
}

fn host_and_port(bare: &str) -> Option<String> {
    if let Ok(ip) = bare.parse::<Ipv6Addr>() {
        return Some(format!("[{ip}]:{CLIENT_PORT}"));
    }
    let port_of = |port: &str| port.parse::<u16>().ok().filter(|port| *port != 0);
    if let Some(rest) = bare.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']')?;
        let ip: Ipv6Addr = ip.parse().ok()?;
        let port = if rest.is_empty() { CLIENT_PORT } else { port_of(rest.strip_prefix(':')?)? };
        return Some(format!("[{ip}]:{port}"));
    }
    let (host, port) = match bare.split_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None => (bare, CLIENT_PORT),
    };
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(legal)).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["h:1", "127.0.0.1:7300", "store-0.site_a.svc.cluster.local:65535", "[::1]:7300", "[fe80::1]:1"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        let long = format!("{}:1", "h".repeat(limits::MAX_ADDRESS_BYTES));
        let bad = [
            "",
            ":",
            "h",
            "h:",
            ":1",
            "h:0",
            "h:65536",
            "h:+1",
            "h:x",
            "h :1",
            "h\n:1",
            "h\u{1b}[2J:1",
            "http://h:1",
            "h/a:1",
            "::1:7300",
            "[::1:1",
            "[h]:1",
            "\u{fc}:1",
            &long,
        ];
        for bad in bad {
            let why = check_address(bad).unwrap_err();
            assert!(why.contains("HOST:PORT") && why.len() < 2_000, "{bad:?}: {why}");
        }
    }

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (written, meant) in [
            ("10.0.1.5:7301", "10.0.1.5:7301"),
            ("10.0.1.5", "10.0.1.5:7300"),
            ("store-0.east", "store-0.east:7300"),
            ("http://store-0.east:80", "store-0.east:80"),
            ("HTTP://localhost/", "localhost:7300"),
            ("localhost:7301/", "localhost:7301"),
            ("::1", "[::1]:7300"),
            ("[::1]", "[::1]:7300"),
            ("http://[fd00::7]:9", "[fd00::7]:9"),
        ] {
            assert_eq!(parse_address(written).as_deref(), Ok(meant), "{written}");
        }
        for (wrong, word) in [
            ("", "empty"),
            ("http://", "empty"),
            ("https://a:7300", "--tls DIR"),
            ("grpc://a:7300", "HOST:PORT"),
            ("a:7300,b:7300", "several"),
            ("a:0", "HOST:PORT"),
            ("a:70000", "HOST:PORT"),
            ("a:", "HOST:PORT"),
            (":7300", "HOST:PORT"),
            ("a:1:2", "HOST:PORT"),
            ("a b", "HOST:PORT"),
            ("a/b", "HOST:PORT"),
            ("user@a", "HOST:PORT"),
            ("[::1", "HOST:PORT"),
            ("[a]:1", "HOST:PORT"),
        ] {
            let said = parse_address(wrong).unwrap_err();
            assert!(said.contains(word), "{wrong}: {said}");
        }
    }
}
