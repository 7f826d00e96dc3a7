//! Addresses of stores as they are told: `host:port`.

use crate::limits;

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
}
