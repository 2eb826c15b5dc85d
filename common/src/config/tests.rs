//! Checks of settings.

use std::io::Write;

use super::*;

const KEYS: [Key; 3] = [
    Key { name: "listen", aliases: &["listenPort"] },
    Key { name: "flush", aliases: &["flushDiskType"] },
    Key { name: "data_dir", aliases: &[] },
];

fn gather(
    name: &str,
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, ConfigError> {
    let dir = std::env::temp_dir().join(format!("orbitmq-config-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    let environment: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let flags: Vec<_> = flags.iter().map(|(k, v)| (format!("--{k}"), (*k).to_owned(), (*v).to_owned())).collect();
    let gathered = Settings::gather(&KEYS, &["storePathIndex"], Some(&path), environment, flags);
    std::fs::remove_dir_all(&dir).unwrap();
    gathered
}

#[test]
fn flags_go_over_environment_over_file() {
    let settings = gather(
        "b.toml",
        "listen = 1\nflush = \"sync\"\ndata_dir = \"/a\"",
        &[("ORBITMQ_FLUSH", "x"), ("ORBITMQ_DATA_DIR", "/b")],
        &[("data-dir", "/c")],
    )
    .unwrap();
    assert_eq!(
        (settings.text("listen"), settings.text("flush"), settings.text("data_dir")),
        (Some("1"), Some("x"), Some("/c"))
    );
}

#[test]
fn properties_take_rocketmq_names_and_list_what_is_ignored() {
    let settings = gather("broker.conf", "# x\nlistenPort=7\nstorePathIndex = /i\n", &[], &[]).unwrap();
    assert_eq!(settings.text("listen"), Some("7"));
    assert_eq!(settings.ignored().len(), 1);
}

#[test]
fn errors_name_place_and_nearest_key() {
    let unknown = gather("b.toml", "listen = 1\n\nflsh = \"sync\"\n", &[], &[]).unwrap_err().to_string();
    assert!(unknown.contains("line 3") && unknown.contains("'flush'"), "{unknown}");
    let syntax = gather("b.toml", "listen = \n", &[], &[]).unwrap_err().to_string();
    assert!(syntax.contains("line 1"), "{syntax}");
    let nested = gather("b.toml", "[listen]\na = 1\n", &[], &[]).unwrap_err().to_string();
    assert!(nested.contains("single value"), "{nested}");
    let value =
        gather("b.toml", "listen = \"many\"\n", &[], &[]).unwrap().get::<u32>("listen").unwrap_err().to_string();
    assert!(value.contains("line 1") && value.contains("whole number"), "{value}");
}

#[test]
fn sizes_and_durations_are_written_as_people_write_them() {
    assert_eq!(ByteSize::parse("128MiB"), Ok(ByteSize(128 << 20)));
    assert_eq!(ByteSize::parse("4_096"), Ok(ByteSize(4096)));
    assert_eq!(ByteSize::parse("1 GB"), Ok(ByteSize(1_000_000_000)));
    assert_eq!(Duration::parse("72h"), Ok(Duration::from_secs(72 * 3600)));
    for bad in ["", "5", "5 parsecs", "-1s", "99999999999999999999s", "MiB"] {
        assert!(Duration::parse(bad).is_err(), "{bad}");
    }
    for bad in ["", "MiB", "1.5GiB", "99999999999TiB"] {
        assert!(ByteSize::parse(bad).is_err(), "{bad}");
    }
}
