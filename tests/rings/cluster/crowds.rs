//! Callers that hold all the connections they can get of a gateway, beside an honest one.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::spinning;
use crate::crowds::{
    CROWD, asks_for_events, assert_honest_are_quick, crowd_of, pipelined, streams_of,
};
use crate::support::cluster::{Namespace, RELEASE, get, host_and_port, kubectl};
use crate::support::http::Client;

/// Which gateways are ready, and how often each was started again.
fn gateways() -> Vec<(Value, Value, Value)> {
    let pods = get(&["pods", "-n", RELEASE, "-l", "app.kubernetes.io/component=gateway"]);
    let told = |pod: &Value| {
        let container = &pod["status"]["containerStatuses"][0];
        let [ready, restarts] = ["ready", "restartCount"].map(|field| container[field].clone());
        (pod["metadata"]["name"].clone(), ready, restarts)
    };
    pods["items"].as_array().unwrap().iter().map(told).collect()
}

/// More than the connections that a gateway takes: 4,096.
const STREAMS: usize = 4_250;
/// Less often than an account may ask.
const BETWEEN_STREAMS: Duration = Duration::from_millis(11);

/// Lets this process have so many files open.
fn allow_files(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let has = getrlimit(Resource::Nofile).current;
    assert!(has.is_none_or(|most| most >= count), "{has:?} open files are too few");
}

#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn an_account_with_watch_alone_slows_nobody_and_no_probe() {
    allow_files(STREAMS as u64 + 100);
    let namespace = Namespace::new("crowds");
    let client = namespace.direct_client();
    let ns = &namespace.0;
    kubectl(&["create", "serviceaccount", "hog", "-n", ns], "").unwrap();
    let watches = ["--verb=watch", "--resource=computejobs.windlass.dev"];
    kubectl(&[&["create", "role", "watches", "-n", ns][..], &watches].concat(), "").unwrap();
    let subject = format!("--serviceaccount={ns}:hog");
    kubectl(&["create", "rolebinding", "hog", "-n", ns, "--role=watches", &subject], "").unwrap();
    let token = kubectl(&["create", "token", "hog", "-n", ns], "").unwrap();
    spinning(&namespace, "long", &[]);

    let before = gateways();
    assert!(before.iter().all(|(_, ready, _)| *ready == json!(true)), "{before:?}");
    let (began, made) = (Instant::now(), std::cell::Cell::new(0));
    let connect_in_turn = || {
        made.set(made.get() + 1);
        std::thread::sleep((BETWEEN_STREAMS * made.get()).saturating_sub(began.elapsed()));
        TcpStream::connect(&client.address).ok()
    };
    let events = asks_for_events(&client, token.trim(), "long");
    let mut streaming = crowd_of(STREAMS, connect_in_turn, &events);
    let streams = streams_of(&mut streaming);
    assert!(streams > 100 && streams < STREAMS / 3, "{streams}");
    assert_honest_are_quick(&client, streaming);
    assert_eq!(gateways(), before);
    namespace.cancel("long");
}

/// A gateway by its pod's address. By that of the Service, all callers outside the cluster have the node's address.
fn by_its_pod(namespace: &Namespace) -> Client {
    let pods = get(&["pods", "-n", RELEASE, "-l", "app.kubernetes.io/component=gateway"]);
    let pod = &pods["items"][0];
    let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
    let http = ports.iter().find(|port| port["name"] == "http").unwrap();
    let mut client = namespace.direct_client();
    client.address = host_and_port(&pod["status"]["podIP"], &http["containerPort"]);
    client
}

/// The address that `tests/cluster/up` gives this machine for callers who are to come from elsewhere.
fn elsewhere() -> Option<IpAddr> {
    let cluster = get(&["endpoints", "kubernetes", "-n", "default"]);
    let node: IpAddr = cluster["subsets"][0]["addresses"][0]["ip"].as_str()?.parse().ok()?;
    let other = match node {
        IpAddr::V4(node) => {
            let [a, b, c, last] = node.octets();
            IpAddr::from([a, b, c, last + 1])
        }
        IpAddr::V6(node) => {
            // In another /64: all addresses of one count as one caller.
            let [a, b, c, net, .., last] = node.segments();
            IpAddr::from([a, b, c, net + 1, 0, 0, 0, last + 1])
        }
    };
    // No other cluster has it.
    std::net::UdpSocket::bind((other, 0)).ok().map(|_| other)
}

/// A connection that comes from this address.
fn connect_from(from: IpAddr, to: SocketAddr) -> Option<TcpStream> {
    let family = if from.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket(family, SocketType::STREAM, None).ok()?;
    bind(&socket, &SocketAddr::new(from, 0)).ok()?;
    connect(&socket, &to).ok()?;
    Some(socket.into())
}

/// They come from one address, whose bounds they use up: the others, and the kubelet's probes, are at other addresses.
#[test]
#[ignore = "needs a cluster with the chart: tests/run"]
fn callers_without_a_token_slow_nobody_and_no_probe() {
    let Some(elsewhere) = elsewhere() else {
        assert!(
            std::env::var_os("WINDLASS_IMAGE").is_some(),
            "tests/cluster/up has given this machine two addresses"
        );
        println!("left out: this machine has one address for the cluster");
        return;
    };
    let namespace = Namespace::new("pipelining");
    let client = by_its_pod(&namespace);
    let gateway = client.address.parse().unwrap();
    let before = gateways();
    assert!(before.iter().all(|(_, ready, _)| *ready == json!(true)), "{before:?}");
    for (path, requests) in pipelined(&client) {
        let crowd = crowd_of(CROWD, || connect_from(elsewhere, gateway), &requests);
        println!("{path}: {} connections", crowd.len());
        assert!(crowd.len() > 100, "{}", crowd.len());
        assert_honest_are_quick(&client, crowd);
    }
    assert_eq!(gateways(), before);
}
