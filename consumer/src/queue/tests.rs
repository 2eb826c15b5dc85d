//! Checks of where a queue goes on that had to be let go.

use super::*;

#[test]
fn what_others_stored_meanwhile_goes_before_what_was_done_here() {
    let unstored = Unstored { stored: Some(10), done: 20 };
    assert_eq!(unstored.start(Some(10)), Some(20));
    assert_eq!(unstored.start(Some(15)), Some(20), "our own commit whose answer was lost");
    assert_eq!(unstored.start(Some(21)), None, "another member went on");
    assert_eq!(unstored.start(Some(9)), None, "an administrator went back");
    assert_eq!(unstored.start(None), None, "the group was forgotten");
    let young = Unstored { stored: None, done: 3 };
    assert_eq!(young.start(None), Some(3));
    assert_eq!(young.start(Some(0)), Some(3));
}
