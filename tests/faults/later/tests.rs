//! The comparison finds each kind of broken promise.

use super::*;

#[test]
fn every_broken_promise_is_found() {
    let later = Later::default();
    let entries =
        [("once", Due::Once), ("twice", Due::Once), ("lost", Due::Once), ("open", Due::Perhaps), ("never", Due::Never)];
    later.due.lock().extend(entries.map(|(body, due)| (body.to_owned(), due)));
    let found = ["once", "twice", "twice", "never", "unheard of"].map(Bytes::from);
    let broken = later.compare(&found);
    assert_eq!(broken.missing, ["lost"]);
    assert_eq!(broken.repeated, ["twice, 2 times"]);
    assert_eq!(broken.unwanted, ["never", "unheard of"]);
    assert_eq!(later.promised(), 3);
    let kept = later.compare(&["once", "twice", "lost", "open"].map(Bytes::from));
    assert_eq!(kept, Broken::default());
}
