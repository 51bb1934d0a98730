//! Who sends a request: an address, as far as it can be told.
//!
//! A proxy's word about whom it speaks for is taken only from the proxies that the operator named: anybody can write
//! `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::server::Limits;

/// Where a connection comes from; put into every request by the listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Whom the limits of addresses count a request for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Somebody at this address.
    At(IpAddr),
    /// Somebody for whom no limit of addresses holds: this computer, or all that come through one proxy together.
    Unlimited,
}

/// How callers are told apart.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    /// The proxies that are believed.
    proxies: Vec<IpNet>,
    loopback: bool,
}

impl Callers {
    pub(crate) fn new(proxies: Vec<IpNet>, limits: &Limits) -> Self {
        Self { proxies, loopback: limits.loopback }
    }

    /// Whom a connection from `peer` is counted for, before anything was read from it.
    pub(super) fn of_connection(&self, peer: IpAddr) -> Caller {
        if self.is_proxy(peer) { Caller::Unlimited } else { self.at(peer) }
    }

    /// Whom a request is counted for.
    pub(super) fn of_request(&self, peer: IpAddr, headers: &HeaderMap) -> Caller {
        if !self.is_proxy(peer) {
            return self.at(peer);
        }
        // Each proxy adds the address that it hears from at the end, so the last one that is no proxy of ours is the
        // first that nobody else can have made up. Before it there may be anything, also what is no text.
        let lines: Vec<_> = headers.get_all("x-forwarded-for").into_iter().collect();
        if lines.is_empty() {
            return self.at(peer);
        }
        let mut proxy = peer;
        for named in lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
            match std::str::from_utf8(named).ok().and_then(|text| address(text.trim())) {
                Some(address) if self.is_proxy(address) => proxy = address,
                Some(address) => return self.at(address),
                None => break,
            }
        }
        // Whoever hides behind a proxy shares its limits: else hiding would be a way around them.
        Caller::At(customer(proxy))
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }

    fn at(&self, address: IpAddr) -> Caller {
        let address = address.to_canonical();
        if address.is_loopback() && !self.loopback {
            return Caller::Unlimited;
        }
        Caller::At(customer(address))
    }
}

/// What stands for a customer of a provider, who has one IPv4 address, or 64 bits of IPv6 addresses.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

/// An address as proxies write it: alone, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callers() -> Callers {
        let proxies = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
        Callers::new(proxies.to_vec(), &Limits::default())
    }

    fn at(text: &str) -> Caller {
        Caller::At(text.parse().expect("an address"))
    }

    fn caller(peer: &str, forwarded: &[&str]) -> Caller {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("a header"));
        }
        callers().of_request(peer.parse().expect("an address"), &headers)
    }

    #[test]
    fn only_a_named_proxy_is_believed() {
        assert_eq!(caller("203.0.113.9", &["198.51.100.1"]), at("203.0.113.9"));
        assert_eq!(caller("10.1.2.3", &["198.51.100.1"]), at("198.51.100.1"));
        assert_eq!(caller("::ffff:10.1.2.3", &["198.51.100.1:443"]), at("198.51.100.1"));
    }

    #[test]
    fn what_a_client_made_up_before_its_proxy_is_passed_over() {
        assert_eq!(caller("10.1.2.3", &["192.0.2.7, 198.51.100.1, 10.9.9.9"]), at("198.51.100.1"));
        assert_eq!(caller("10.1.2.3", &["192.0.2.7", "198.51.100.1"]), at("198.51.100.1"));
    }

    #[test]
    fn bytes_that_are_no_text_hide_nobody() {
        let callers = callers();
        let mut headers = HeaderMap::new();
        let line = b"\xff, 198.51.100.1, 10.9.9.9";
        headers.append("x-forwarded-for", axum::http::HeaderValue::from_bytes(line).expect("a header"));
        let peer = "10.1.2.3".parse().expect("an address");
        assert_eq!(callers.of_request(peer, &headers), at("198.51.100.1"));
    }

    #[test]
    fn whoever_no_proxy_names_counts_as_the_proxy() {
        assert_eq!(caller("10.1.2.3", &["192.0.2.7, nonsense"]), at("10.1.2.3"));
        assert_eq!(caller("10.1.2.3", &["nonsense, 10.9.9.9"]), at("10.9.9.9"));
        assert_eq!(caller("10.1.2.3", &["10.4.5.6"]), at("10.4.5.6"));
        assert_eq!(caller("10.1.2.3", &[""]), at("10.1.2.3"));
        assert_eq!(caller("10.1.2.3", &[]), at("10.1.2.3"));
        let here: IpAddr = "127.0.0.1".parse().expect("an address");
        let callers = Callers::new(vec![IpNet::from(here)], &Limits::default());
        let headers = |text: &'static str| {
            HeaderMap::from_iter([("x-forwarded-for".parse().expect("a name"), text.parse().expect("a header"))])
        };
        assert_eq!(callers.of_request(here, &headers("nonsense")), at("127.0.0.1"));
        assert_eq!(callers.of_request(here, &HeaderMap::new()), Caller::Unlimited, "this computer itself");
    }

    #[test]
    fn half_of_an_ipv6_address_names_who_it_is() {
        assert_eq!(caller("2001:db8:1:2:3:4:5:6", &[]), at("2001:db8:1:2::"));
        assert_eq!(caller("fd00::1", &["[2001:db8:1:2:ffff::1]"]), at("2001:db8:1:2::"));
        assert_eq!(caller("::ffff:192.0.2.1", &[]), at("192.0.2.1"));
    }

    #[test]
    fn this_computer_is_limited_only_where_that_is_asked_for() {
        assert_eq!(caller("127.0.0.1", &[]), Caller::Unlimited);
        assert_eq!(caller("::1", &[]), Caller::Unlimited);
        let limits = Limits { loopback: true, ..Limits::default() };
        let callers = Callers::new(Vec::new(), &limits);
        let peer = "127.0.0.5".parse().expect("an address");
        assert_eq!(callers.of_request(peer, &HeaderMap::new()), at("127.0.0.5"));
    }
}
