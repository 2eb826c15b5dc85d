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

#[test]
fn a_commit_that_was_on_its_way_when_the_offset_was_reset_counts_for_nothing() {
    let (figures, queue) = (Arc::new(TopicFigures::new()), Queue { broker: "b".into(), id: 0 });
    let queue = Assigned::new("T".into(), queue, Order::Free, CancellationToken::new(), figures);
    queue.begin(20, Some(10), "a".to_owned());
    let on_its_way = queue.to_commit("a").unwrap();
    assert_eq!(on_its_way.offset, 20);
    queue.reset(5);
    queue.receive(5, Vec::new(), 20);
    queue.committed(on_its_way, "a");
    assert_eq!(queue.to_commit("a").map(|commit| commit.offset), Some(20), "the broker has 5, not 20");
    queue.committed(queue.to_commit("a").unwrap(), "a");
    assert_eq!(queue.to_commit("a"), None);
}
