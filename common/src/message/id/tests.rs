//! Ids against values seen from RocketMQ, and uniqueness over threads, clock steps and months.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[test]
fn offset_id_matches_java() {
    let host = "127.0.0.1:10911".parse().unwrap();
    assert_eq!(offset_id(host, 4096), "7F00000100002A9F0000000000001000");
    assert_eq!(parse_offset_id("7F00000100002A9F0000000000001000"), Ok((host, 4096)));
    assert_eq!(parse_offset_id("7f00000100002a9f0000000000001000"), Ok((host, 4096)));
}

#[test]
fn foreign_texts_are_refused() {
    assert_eq!(parse_offset_id(""), Err(IdError::Length(0)));
    for text in [
        "7F00000100012A9F0000000000001000",
        "+F00000100002A9F0000000000001000",
        "7F00000100002A9F00000000000010 0",
        "éé0000010000A9F0000000000001000é",
    ] {
        assert!(parse_offset_id(text).is_err(), "{text}");
    }
}

#[test]
fn months_begin_where_the_calendar_says() {
    // 2024-02-29T00:00:00Z, 2024-03-01T00:00:00.001Z, 2023-12-31T23:59:59.999Z
    let (leap, ms) = month_of(1_709_164_800_000);
    assert_eq!(ms, 28 * 86_400_000);
    assert_eq!(month_of(1_709_251_200_001), (leap + 1, 1));
    let (december, last) = month_of(1_704_067_199_999);
    assert_eq!(last, 31 * 86_400_000 - 1);
    assert_eq!(december + 2, leap);
}

#[test]
fn ids_survive_clock_steps_bursts_and_months() {
    let ids = UniqueIds::new("10.1.2.3".parse().unwrap());
    let mut seen = HashSet::new();
    // The same day and time in January and March, a step back, and more than fit into one millisecond.
    for now in [1_705_276_800_000, 1_710_460_800_000, 1_705_276_800_000] {
        for _ in 0..70_000 {
            let id = ids.next_at(now);
            assert_eq!(id.len(), 32);
            assert!(id.starts_with("0A010203"));
            assert!(seen.insert(id));
        }
    }
}

#[test]
fn ids_of_many_threads_differ() {
    let ids = UniqueIds::new("::1".parse().unwrap());
    let mut all = HashSet::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..20_000).map(|_| ids.next_id()).collect::<Vec<_>>())).collect();
        for thread in threads {
            for id in thread.join().unwrap() {
                assert!(all.insert(id));
            }
        }
    });
    assert_eq!(all.len(), 80_000);
}

proptest! {
    #[test]
    fn written_is_read(v6 in any::<bool>(), ip in any::<u128>(), port in any::<u16>(), offset in any::<u64>()) {
        let ip = if v6 { IpAddr::from(ip.to_be_bytes()) } else { IpAddr::from((ip as u32).to_be_bytes()) };
        let host = SocketAddr::new(ip.to_canonical(), port);
        prop_assert_eq!(parse_offset_id(&offset_id(host, offset)), Ok((host, offset)));
    }

    #[test]
    fn any_text_is_read_without_harm(text in ".{0,60}") {
        let _ = parse_offset_id(&text);
    }
}
