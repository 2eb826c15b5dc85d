use super::*;

#[test]
fn copies_are_looked_for_until_they_end() {
    let mut copies = Copies { started: 1000, misses: 0 };
    assert!(!copies.has_next(1001, || Some(true)));
    for _ in 0..MISSES - 1 {
        assert!(!copies.has_next(1000, || Some(false)));
    }
    // One out of order; and one without a key says nothing of those behind it.
    assert!(copies.has_next(1000, || Some(true)));
    assert!(!copies.has_next(1000, || None));
    for _ in 0..MISSES {
        assert!(!copies.has_next(1000, || Some(false)));
    }
    assert!(!copies.has_next(1000, || Some(true)));
}
