//! Settings: what was set is there after a restart.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

#[test]
fn settings_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let settings = Settings::open(dir.path()).unwrap();
        settings.put("ns", "k", "v 世界").unwrap();
        settings.put("ns", "gone", "x").unwrap();
        settings.put("other", "k", "w").unwrap();
        settings.delete("ns", "gone").unwrap();
        settings.delete("ns", "never there").unwrap();
    }
    // The store gives its lock back a moment after it was closed.
    let began = Instant::now();
    let settings = loop {
        match Settings::open(dir.path()) {
            Ok(settings) => break settings,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::yield_now();
    };
    assert_eq!(settings.get("ns", "k").as_deref(), Some("v 世界"));
    assert_eq!(settings.get("ns", "gone"), None);
    assert_eq!(settings.list("ns").unwrap().len(), 1);
    assert_eq!(settings.list("other").unwrap().len(), 1);
    settings.delete("other", "k").unwrap();
    assert_eq!(settings.list("other"), None, "a name space without keys is none");
}

#[test]
fn settings_in_memory_behave_alike() {
    let settings = Settings::in_memory();
    settings.put("ns", "k", "v").unwrap();
    assert_eq!(settings.get("ns", "k").as_deref(), Some("v"));
    settings.delete("ns", "k").unwrap();
    assert_eq!(settings.get("ns", "k"), None);
    settings.flush().unwrap();
}

#[test]
fn names_that_cannot_be_stored_are_refused() {
    let settings = Settings::in_memory();
    assert!(matches!(settings.put("", "k", "v"), Err(SettingsError::Name)));
    assert!(matches!(settings.put("ns", "", "v"), Err(SettingsError::Name)));
    assert!(matches!(settings.put(&"n".repeat(70_000), "k", "v"), Err(SettingsError::Name)));
}

#[test]
fn a_second_server_on_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Settings::open(dir.path()).unwrap();
    let refused = Settings::open(dir.path()).unwrap_err();
    assert!(refused.to_string().contains("another name server"), "{refused}");
}

proptest! {
    #[test]
    fn keys_round_trip(namespace in ".{1,40}", key in ".{1,40}") {
        let bytes = encode_key(&namespace, &key).unwrap();
        prop_assert_eq!(decode_key(&bytes), Some((namespace.as_str(), key.as_str())));
    }

    #[test]
    fn foreign_keys_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode_key(&bytes);
    }
}
