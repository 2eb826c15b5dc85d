//! Checks of settings that change while the broker runs.

use super::*;

fn load(dir: &std::path::Path) -> (Tuned, Arc<Db>) {
    let db = Arc::new(Db::open(&dir.join("db")).unwrap());
    (Tuned::load(&Config::local(dir, Vec::new()), Arc::clone(&db)).unwrap(), db)
}

#[tokio::test]
async fn a_change_is_in_force_at_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (tuned, db) = load(dir.path());
    assert!(tuned.auto_create_topics() && tuned.auto_create_groups() && tuned.long_polling());
    assert_eq!((tuned.max_message_size(), tuned.permission()), (4 << 20, 6));
    let before = tuned.version().counter;
    let text = "# drained\nautoCreateTopicEnable=false\nmax_message_size = 2048\nbrokerPermission:4\n";
    db.stored(tuned.apply(&parse(text).unwrap())).await.unwrap();
    assert!(tuned.version().counter > before);
    assert!(!tuned.auto_create_topics());
    assert_eq!(tuned.shown()["maxMessageSize"], "2048");
    db.close();
    drop((tuned, db));

    let (tuned, db) = load(dir.path());
    assert!(!tuned.auto_create_topics() && tuned.auto_create_groups());
    assert_eq!((tuned.max_message_size(), tuned.permission()), (2048, 4));
    db.close();
}

#[test]
fn what_names_a_file_an_address_or_a_promise_is_not_changed() {
    for name in [
        "storePathRootDir",
        "brokerConfigPath",
        "rocketmqHome",
        "configBlackList",
        "flushDiskType",
        "brokerRole",
        "listenPort",
        "namesrvAddr",
        "transferMsgByHeap",
        "data_dir",
        "",
        "no_such_setting",
    ] {
        let refused = parse(&format!("longPollingEnable=false\n{name}=x")).unwrap_err();
        assert!(matches!(refused, TuneError::Closed { .. }), "{refused}");
        assert!(refused.to_string().contains("longPollingEnable"), "{refused}");
    }
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    for (text, named) in [
        ("autoCreateTopicEnable=yes", "true or false"),
        ("maxMessageSize=0", "from 1 to"),
        ("maxMessageSize=999999999999", "from 1 to"),
        ("maxMessageSize=4MiB", "whole number"),
        ("brokerPermission=7", "0 to 6"),
        ("brokerPermission", "key=value"),
    ] {
        let refused = parse(text).unwrap_err().to_string();
        assert!(refused.contains(named), "{text}: {refused}");
    }
    assert_eq!(parse(" \n# nothing\n").unwrap(), []);
}
