//! Settings of the controller, and those that are wrong.

use clap::Parser;

use super::*;
use crate::config::{Args, Daemon};

fn gather(flags: &[&str]) -> Result<Option<ControllerConfig>, String> {
    let args = Args::parse_from(std::iter::once("orbitmq-nameserver").chain(flags.iter().copied()));
    Daemon::gather(args, []).map(|daemon| daemon.server.controller).map_err(|error| error.to_string())
}

#[test]
fn a_quorum_is_read() {
    let peers = "--controller-peers=1=a:9876, 2=b:9876,3=[::1]:9876";
    let config = gather(&["--data-dir=/d", "--controller-id=2", peers]).unwrap().unwrap();
    assert_eq!((config.id, config.lease), (2, Duration::from_millis(1_500)));
    assert_eq!(config.peers.values().collect::<Vec<_>>(), ["a:9876", "b:9876", "[::1]:9876"]);
    assert_eq!(config.directory, Path::new("/d/controller"));
    assert_eq!(gather(&["--data-dir=/d"]).unwrap(), None);
}

#[test]
fn what_is_wrong_is_told() {
    let good = ["--data-dir=/d", "--controller-id=1", "--controller-peers=1=a:1,2=b:1"];
    for (flags, told) in [
        (&good[1..], "data_dir"),
        (&good[..2], "controller_peers"),
        (&["--controller-peers=1=a:1"], "controller_id"),
        (&["--controller-lease=5s"], "controller_id"),
        (&["--data-dir=/d", "--controller-id=3", "--controller-peers=1=a:1"], "stands in controller_peers"),
        (&["--data-dir=/d", "--controller-id=0", "--controller-peers=1=a:1"], "from 1 on"),
        (&["--data-dir=/d", "--controller-id=1", "--controller-peers=a:1"], "1=host:port"),
        (&["--data-dir=/d", "--controller-id=1", "--controller-peers=1=a"], "1=host:port"),
        (&["--data-dir=/d", "--controller-id=1", "--controller-peers=1=a:1,1=b:1"], "number 1 stands there twice"),
        (&["--data-dir=/d", "--controller-id=1", "--controller-peers=1=a:1,2=a:1"], "a:1 stands there twice"),
        (&[good[0], good[1], good[2], "--controller-lease=499ms"], "at least 500ms"),
    ] {
        let error = gather(flags).unwrap_err();
        assert!(error.contains(told), "{flags:?}: {error}");
    }
}
