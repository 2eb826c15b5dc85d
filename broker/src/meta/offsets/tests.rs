//! Checks of stored offsets.

use super::*;

#[tokio::test]
async fn an_answered_commit_is_there_after_a_new_start() {
    let dir = tempfile::tempdir().unwrap();
    {
        let db = Arc::new(Db::open(dir.path()).unwrap());
        let offsets = Offsets::load(Arc::clone(&db)).unwrap();
        for queue in 0..100 {
            offsets.commit("T", "G", queue, i64::from(queue) * 10);
        }
        let number = offsets.commit("T", "G", 7, 77).unwrap();
        db.stored(number).await.unwrap();
    }
    let db = Arc::new(Db::open(dir.path()).unwrap());
    let offsets = Offsets::load(db).unwrap();
    assert_eq!(offsets.get("T", "G", 7), Some(77));
    assert_eq!(offsets.get("T", "G", 99), Some(990));
    assert_eq!(offsets.get("T", "H", 99), None);
}

#[test]
fn a_reset_stands_against_late_commits_until_it_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = Offsets::load(Arc::new(Db::open(dir.path()).unwrap())).unwrap();
    offsets.commit("T", "G", 0, 50);
    offsets.reset("T", "G", 0, 5);
    assert_eq!(offsets.commit("T", "G", 0, 51), None);
    assert_eq!(offsets.get("T", "G", 0), Some(5));
    assert_eq!(offsets.take_reset("T", "G", 0), Some(5));
    assert_eq!(offsets.take_reset("T", "G", 0), None);
    assert!(offsets.commit("T", "G", 0, 6).is_some());
}

#[test]
fn keys_keep_their_parts() {
    assert_eq!(decode_key(&encode_key("T@x", "%G|", -3)), Some(("T@x", "%G|", -3)));
    assert_eq!(decode_key(b"abc"), None);
}
