//! Checks of plain words.

use super::*;

#[test]
fn lengths_and_sizes_are_rough() {
    assert_eq!([59_999, 600_000, 7_200_000, 200_000_000, -2_000].map(length), ["59s", "10m", "2h", "2d", "-"]);
    assert_eq!(ago(Duration::from_secs(3)), "3s ago");
    assert_eq!([812, 10_000, 64 << 20, 3 << 30].map(bytes), ["812 bytes", "9.8 KiB", "64.0 MiB", "3.0 GiB"]);
    assert_eq!(date(0), "-");
    assert_eq!(date(1_795_264_205_125), "2026-11-21T12:30:05.125Z");
}

#[test]
fn near_names_are_meant_and_far_ones_are_not() {
    let names = ["Orders", "orders-eu", "payments", "T1"];
    let meant = |name| super::meant(name, names.iter().copied());
    assert_eq!(meant("orders"), Some("Orders"), "another case counts before typing errors");
    assert_eq!(meant("paymnets"), Some("payments"));
    assert_eq!(meant("order-eu"), Some("orders-eu"));
    assert_eq!(meant("T2"), None, "short names are all near");
    assert_eq!(meant("t1"), Some("T1"));
    assert_eq!(meant("payments"), None, "the name itself is not another one");
    assert_eq!(meant("shipments"), None);
    assert_eq!(did_you_mean(meant("ORDERS")), "; did you mean 'Orders'?");
    assert_eq!(did_you_mean(None), "");
}
