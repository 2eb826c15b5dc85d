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
fn a_reset_that_nobody_followed_stands_after_a_new_start() {
    let dir = tempfile::tempdir().unwrap();
    for start in 0..2 {
        let offsets = Offsets::load(Arc::new(Db::open(dir.path()).unwrap())).unwrap();
        if start == 0 {
            offsets.commit("T", "G", 0, 50);
            offsets.reset("T", "G", 0, 5);
        }
        assert_eq!(offsets.commit("T", "G", 0, 51), None);
        assert_eq!(offsets.get("T", "G", 0), Some(5));
    }
}

#[test]
fn a_commit_comes_before_a_reset_or_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = Offsets::load(Arc::new(Db::open(dir.path()).unwrap())).unwrap();
    let (both, mut lost) = (std::sync::Barrier::new(2), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3_000 {
                both.wait();
                for _ in 0..20 {
                    offsets.commit("T", "G", 0, 50);
                }
                both.wait();
            }
        });
        for _ in 0..3_000 {
            both.wait();
            offsets.reset("T", "G", 0, 5);
            both.wait();
            lost += i32::from(offsets.get("T", "G", 0) != Some(5));
            let _taken = offsets.take_reset("T", "G", 0);
        }
    });
    assert_eq!(lost, 0, "of 3000");
}

#[test]
fn what_a_slave_was_given_stands_against_older_offsets_of_the_master() {
    let dir = tempfile::tempdir().unwrap();
    let take = |offsets: &Offsets, offset: Option<i64>| {
        let value = offset.map(i64::to_be_bytes);
        offsets.take(&encode_key("T", "G", 0), value.as_ref().map(<[u8; 8]>::as_slice));
        offsets.get("T", "G", 0)
    };
    {
        let offsets = Offsets::load(Arc::new(Db::open(dir.path()).unwrap())).unwrap();
        assert_eq!(take(&offsets, Some(10)), Some(10));
        assert_eq!(take(&offsets, Some(7)), Some(7), "nothing was given here");
        offsets.follow();
        offsets.commit("T", "G", 0, 7);
        assert_eq!(offsets.untold(), Vec::new(), "the master has it");
        offsets.commit("T", "G", 0, 20);
        offsets.commit("T", "G", 0, 30);
    }
    let offsets = Offsets::load(Arc::new(Db::open(dir.path()).unwrap())).unwrap();
    offsets.follow();
    assert_eq!(take(&offsets, Some(15)), Some(30));
    assert_eq!(take(&offsets, None), Some(30));
    let untold = offsets.untold();
    assert_eq!(untold.iter().map(|untold| (untold.offset, untold.base)).collect::<Vec<_>>(), [(30, Some(7))]);
    offsets.told(untold.first().unwrap());
    assert_eq!(offsets.untold(), Vec::new());
    assert_eq!(take(&offsets, Some(16)), Some(30), "an answer that was under way");
    assert_eq!(take(&offsets, Some(30)), Some(30));
    assert_eq!(take(&offsets, Some(16)), Some(16), "it was forgotten");

    offsets.commit("T", "G", 0, 40);
    let untold = offsets.untold();
    offsets.commit("T", "G", 0, 50);
    offsets.give_up(untold.first().unwrap(), Some(5));
    assert_eq!(offsets.get("T", "G", 0), Some(50), "the group was faster");
    offsets.lead();
    assert_eq!(offsets.untold(), Vec::new());
    assert_eq!(take(&offsets, Some(5)), Some(5));
}

#[test]
fn keys_keep_their_parts() {
    assert_eq!(decode_key(&encode_key("T@x", "%G|", -3)), Some(("T@x", "%G|", -3)));
    assert_eq!(decode_key(b"abc"), None);
}
