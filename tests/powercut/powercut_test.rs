//! The power-cut explorer in the normal test run: a few hundred states and flips, and bugs that it must find.
#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

use std::process::{Command, Output};

fn explore(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_powercut")).args(arguments).output().expect("the explorer runs")
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_wrong_is_served() {
    let output = explore(&["--states", "800", "--flips", "300", "--seed", "7"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(last_line(&output), "states 800 lost 0 unopened 0 flips 300 served 0 unhealed 0");
}

#[test]
fn planted_bugs_are_found() {
    for plant in ["ack-before-flush", "no-directory-flush"] {
        let output = explore(&["--states", "100", "--flips", "0", "--plant", plant]);
        assert!(!output.status.success(), "{plant}: {}", last_line(&output));
    }
}
