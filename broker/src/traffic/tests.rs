//! Checks of counts over time.

use super::window::{Clock, Due, Windows};
use super::*;

fn counted(messages: u64) -> Counted {
    Counted { messages, bytes: messages * 100 }
}

/// A count that grows by `each` every second, sampled until `seconds` have passed since 0.
fn grow(seconds: i64, each: u64) -> (Windows, Clock) {
    let (mut windows, mut clock) = (Windows::default(), Clock::new(0));
    for second in 1..=seconds {
        let due = clock.tick(second * 1000);
        windows.take(counted(second.unsigned_abs() * each), due, &clock);
    }
    (windows, clock)
}

#[test]
fn a_steady_count_has_its_rate_over_every_stretch() {
    for seconds in [1, 9, 10, 59, 61, 600, 3_700, 90_000, 200_000] {
        let (windows, clock) = grow(seconds, 7);
        let over = windows.over(counted(seconds.unsigned_abs() * 7), &clock, seconds * 1000);
        for (stretch, longest) in [(over.minute, 60), (over.hour, 3_600), (over.day, 86_400)] {
            assert!(stretch.millis <= longest * 1000, "{seconds}: {stretch:?}");
            assert!(stretch.millis >= seconds.min(longest * 5 / 6) * 1000, "{seconds}: {stretch:?}");
            assert!((stretch.messages_per_second() - 7.0).abs() < 1e-9, "{seconds}: {stretch:?}");
            assert!((stretch.bytes_per_second() - 700.0).abs() < 1e-9, "{seconds}: {stretch:?}");
        }
    }
}

#[test]
fn a_young_count_began_at_nothing_and_an_old_one_is_over_some_day() {
    let (windows, clock) = (Windows::default(), grow(3_000, 1).1);
    let over = windows.over(counted(5), &clock, 3_000_000);
    assert_eq!((over.minute.counted, over.hour.counted, over.day.counted), (counted(5), counted(5), counted(5)));

    let (mut windows, mut clock) = grow(30, 1);
    for second in 31..=86_430 {
        let due = clock.tick(second * 1000);
        windows.take(counted(30), due, &clock);
    }
    let over = windows.over(counted(30), &clock, 86_430_000);
    assert_eq!((over.minute.counted, over.hour.counted, over.day.counted), Default::default());
    assert_eq!(over.minute.messages_per_second(), 0.0);
}

#[test]
fn a_count_that_begins_anew_and_a_clock_that_is_set_back_do_no_harm() {
    let (mut windows, mut clock) = grow(100, 3);
    let due = clock.tick(110_000);
    windows.take(counted(4), due, &clock);
    let over = windows.over(counted(5), &clock, 115_000);
    assert_eq!(over.minute.counted, counted(5), "what came since the new beginning");

    let back: Due = clock.tick(20_000);
    assert!(!back.is_empty());
    windows.take(counted(6), back, &clock);
    let over = windows.over(counted(8), &clock, 21_000);
    assert_eq!((over.minute.counted, over.minute.millis), (counted(2), 1_000));
}

#[test]
fn figures_per_second_look_back_as_far_as_there_is_something() {
    let mut sampled = Sampled::new(0);
    let totals = |second: u64| Totals { puts: second * 10, ..Totals::default() };
    assert_eq!(sampled.per_second(&totals(0), 0, 10, |totals| totals.puts), 0.0);
    for second in 0..2_000 {
        sampled.second(totals(second), i64::try_from(second).unwrap() * 1000);
        for seconds in [10, 60, 600] {
            let rate =
                sampled.per_second(&totals(second + 1), i64::try_from(second + 1).unwrap() * 1000, seconds, |t| t.puts);
            assert!((rate - 10.0).abs() < 1e-9, "{second} {seconds}: {rate}");
        }
    }
}

#[test]
fn mornings_move_on_at_midnight() {
    const DAY: i64 = 86_400_000;
    let mut sampled = Sampled::new(DAY / 2);
    assert!(!sampled.is_morning(DAY - 1) && sampled.is_morning(DAY));
    sampled.turn_of_day((5, 3), DAY);
    assert!(!sampled.is_morning(DAY + 1));
    sampled.turn_of_day((9, 8), 2 * DAY);
    assert_eq!((sampled.day.yesterday, sampled.day.today), ((5, 3), (9, 8)));
}

#[test]
fn readers_are_counted_apart_and_those_that_find_nothing_too() {
    let traffic = Traffic::default();
    let reader = traffic.reader("T", "G");
    assert!(Arc::ptr_eq(&reader, &traffic.reader("T", "G")));
    traffic.handed_out(&reader, 3, 300);
    traffic.handed_out(&reader, 0, 0);
    traffic.handed_out(&traffic.reader("rmq_sys_x", "G"), 2, 50);
    traffic.given_back("T", "G");
    let over = traffic.of_reader("T", "G").unwrap();
    assert_eq!(over.minute.counted, Counted { messages: 3, bytes: 300 });
    assert_eq!(traffic.of_returns("T", "G").unwrap().day.counted.messages, 1);
    assert_eq!(traffic.of_returns("rmq_sys_x", "G"), None);
    assert_eq!(traffic.of_reader("T", "other"), None);
    assert_eq!(traffic.of_users.load(Ordering::Relaxed), 3);
    let counts = [&traffic.found, &traffic.missed, &traffic.messages].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [2, 1, 5]);
}
