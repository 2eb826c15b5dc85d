//! Settings of every source, and those that are wrong.

use std::io::Write;

use super::*;

fn gather(flags: &[&str], environment: &[(&str, &str)], file: Option<&str>) -> Result<Daemon, ConfigError> {
    let mut args = vec!["orbitmq-nameserver".to_owned()];
    args.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let file = file.map(|text| {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    });
    if let Some(file) = &file {
        args.extend(["--config".to_owned(), file.path().to_str().unwrap().to_owned()]);
    }
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Daemon::gather(Args::parse_from(args), environment)
}

#[test]
fn defaults_are_rocketmqs() {
    let daemon = gather(&[], &[], None).unwrap();
    assert_eq!(daemon.server, Config::default());
    assert_eq!(daemon.server.listen.port(), 9876);
}

#[test]
fn flags_win_over_environment_and_file() {
    let file = "listen = \"127.0.0.1:1\"\ndata_dir = \"/file\"\nlog = \"warn\"";
    let environment = [("ORBITMQ_LISTEN", "127.0.0.1:2"), ("ORBITMQ_DATA_DIR", "/environment")];
    let daemon = gather(&["--listen", "127.0.0.1:3"], &environment, Some(file)).unwrap();
    assert_eq!(daemon.server.listen.port(), 3);
    assert_eq!(daemon.server.data_dir, Some(PathBuf::from("/environment")));
    assert_eq!(daemon.log, "warn");
}

#[test]
fn rocketmqs_names_are_understood() {
    let daemon = gather(
        &["--set", "listenPort=9999", "--set", "orderMessageEnable=true", "--set", "rocketmqHome=/x"],
        &[],
        None,
    )
    .unwrap();
    assert_eq!(daemon.server.listen.port(), 9999);
    assert!(daemon.server.switches.order_message);
    assert_eq!(daemon.ignored.len(), 1);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let told = |result: Result<Daemon, ConfigError>| result.unwrap_err().to_string();
    let unknown = told(gather(&[], &[], Some("log = \"info\"\ndata_dri = \"/x\"")));
    assert!(unknown.contains("line 2") && unknown.contains("data_dir"), "{unknown}");
    assert!(told(gather(&["--listen", "nowhere"], &[], None)).contains("--listen"));
    assert!(told(gather(&["--set", "max_connections=0"], &[], None)).contains("at least 1"));
    assert!(told(gather(&["--log-format", "xml"], &[], None)).contains("text or json"));
}
