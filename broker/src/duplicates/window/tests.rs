use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn window(count: usize) -> Window {
    Window::new(Dedup { window: Duration::from_secs(10), count })
}

fn place(number: u64) -> First {
    First { physical: number * 100, queue_offset: number, queue: 0, size: 100 }
}

#[test]
fn a_message_is_known_until_it_is_too_old() {
    let mut window = window(100);
    let print = window.print("a");
    window.insert(print, 1_000, place(1));
    assert_eq!((window.get(print), window.count()), (Some(place(1)), 1));
    window.expire(11_000);
    assert_eq!(window.get(print), Some(place(1)));
    window.expire(11_001);
    assert_eq!((window.get(print), window.count()), (None, 0));
    window.insert(print, 12_000, place(3));
    window.insert(print, 13_000, place(4));
    assert_eq!((window.get(print), window.count()), (Some(place(4)), 1));
    window.expire(22_001);
    assert_eq!(window.get(print), Some(place(4)), "the older place was too old");
}

#[test]
fn keys_that_are_alike_are_told_apart() {
    let window = window(1);
    assert_eq!(window.print("abc"), window.print("abc"));
    assert_ne!(window.print("abc"), window.print("abd"));
    assert_ne!(window.print(""), window.print("\0"));
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut window = window(1_000);
    for number in 0..10_000 {
        let print = window.print(&number.to_string());
        window.insert(print, 1, place(number));
    }
    assert_eq!(window.count(), 1_000);
    assert!(window.bytes() < 1_000 * 120, "{}", window.bytes());
    assert!(window.expire(100_000));
    assert!(window.bytes() < 300 * 120, "{}", window.bytes());
}

#[test]
fn much_that_is_too_old_goes_bit_by_bit_and_is_not_known_meanwhile() {
    let mut window = window(10_000);
    for number in 0..5_000 {
        let print = window.print(&number.to_string());
        assert!(!window.insert(print, 1, place(number)));
    }
    let (print, newest) = (window.print("4999"), window.print("new"));
    assert!(!window.expire(100_000) && window.count() > 0);
    assert_eq!(window.get(print), None);
    window.insert(newest, 100_000, place(5_000));
    window.insert(print, 100_000, place(5_001));
    while !window.expire(100_000) {}
    assert_eq!((window.count(), window.get(print), window.get(newest)), (2, Some(place(5_001)), Some(place(5_000))));
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8),
    Expire(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![9 => any::<u8>().prop_map(Step::Insert), 1 => (0..4_000_u16).prop_map(Step::Expire)]
}

proptest! {
    #[test]
    fn it_holds_the_newest(count in 1..40_usize, begin in prop_oneof![Just(0), Just(u32::MAX - 20)], steps in proptest::collection::vec(step(), 0..400)) {
        let mut window = window(count);
        // Numbers begin again somewhere.
        window.base = begin;
        let (mut now, mut model): (i64, VecDeque<(Option<u8>, i64, First)>) = (0, VecDeque::new());
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Insert(key) => {
                    let print = window.print(&key.to_string());
                    window.insert(print, now, place(number));
                    model.iter_mut().filter(|(known, ..)| *known == Some(key)).for_each(|(known, ..)| *known = None);
                    if model.len() == count {
                        model.pop_front();
                    }
                    model.push_back((Some(key), now, place(number)));
                }
                Step::Expire(later) => {
                    now += i64::from(later);
                    window.expire(now);
                    model.retain(|(_, time, _)| *time >= now - 10_000);
                }
            }
            prop_assert_eq!(window.entries.len(), model.len());
            prop_assert_eq!(window.count(), model.iter().filter(|(key, ..)| key.is_some()).count());
        }
        for key in 0..=u8::MAX {
            let known = model.iter().find(|(known, ..)| *known == Some(key)).map(|(_, _, place)| *place);
            prop_assert_eq!(window.get(window.print(&key.to_string())), known);
        }
    }
}
