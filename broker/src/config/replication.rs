//! Settings of replication: role, acknowledgement, in-sync set.

use std::net::SocketAddr;
use std::time::Duration;

use orbitmq_common::config::{ConfigError, Settings};

use crate::config::Config;
use crate::replica::role::MasterAddress;
use crate::store::options::Flush;

/// Who decides whether a broker is master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleSetting {
    /// It always is.
    Master,
    /// It copies the master of its name.
    Slave,
    /// The controller does.
    Auto,
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// The message is in the page cache.
    Async,
    /// It is on the disk.
    Flush,
    /// It is on the disk, and on the disk of every slave of the in-sync set.
    Replica,
}

/// Reads the settings of replication; those of the store are read already.
pub fn read(settings: &Settings, config: &mut Config) -> Result<(), ConfigError> {
    let role = role(settings)?;
    config.role = role.0;
    match (config.role, config.id) {
        (RoleSetting::Master, 0) => {}
        (RoleSetting::Master, _) => {
            return Err(settings.refuse(
                "id",
                "a master has id 0; a slave needs role = slave, a broker with a controller role = auto",
            ));
        }
        (RoleSetting::Slave, ..=0) => return Err(settings.refuse("id", "a slave has an id of its own, from 1 on")),
        (RoleSetting::Auto, ..=0) => {
            return Err(
                settings.refuse("id", "with role = auto every broker of a name has an id of its own, from 1 on")
            );
        }
        _ => {}
    }
    acknowledge(settings, config, role.1)?;
    if let Some(copies) = settings.get::<usize>("min_in_sync")? {
        if !(1..=16).contains(&copies) {
            return Err(settings.refuse("min_in_sync", "expected 1 to 16 copies, the master's among them"));
        }
        config.min_in_sync = copies;
    }
    for (key, place) in
        [("acknowledge_timeout", &mut config.acknowledge_timeout), ("in_sync_timeout", &mut config.in_sync_timeout)]
    {
        if let Some(time) = time(settings, key)? {
            *place = time;
        }
    }
    config.controllers = addresses(settings, "controller")?;
    config.whole_log = match settings.text("new_slave_from") {
        None | Some("first") => true,
        Some("last") => false,
        Some(_) => {
            return Err(settings.refuse("new_slave_from", "expected first or last (segment of the master's log)"));
        }
    };
    ports(settings, config)?;
    master(settings, config)?;
    if config.role == RoleSetting::Auto && config.controllers.is_empty() && config.nameservers.is_empty() {
        return Err(settings.refuse("role", "auto needs the controller's addresses: set controller, or nameserver"));
    }
    Ok(())
}

/// The role, and whether RocketMQ's name for it asks slaves to confirm.
fn role(settings: &Settings) -> Result<(RoleSetting, bool), ConfigError> {
    let by_controller = settings.get::<bool>("controller_mode")?.unwrap_or(false);
    let role = match settings.text("role") {
        None | Some("ASYNC_MASTER" | "master") => (RoleSetting::Master, false),
        Some("SYNC_MASTER") => (RoleSetting::Master, true),
        Some("slave" | "SLAVE") => (RoleSetting::Slave, false),
        Some("auto") => (RoleSetting::Auto, false),
        Some(_) => {
            return Err(settings.refuse(
                "role",
                "expected master, slave or auto (ASYNC_MASTER, SYNC_MASTER and SLAVE are understood)",
            ));
        }
    };
    Ok(if by_controller { (RoleSetting::Auto, role.1) } else { role })
}

fn acknowledge(settings: &Settings, config: &mut Config, by_slaves: bool) -> Result<(), ConfigError> {
    let asynchronous = config.store.flush == Flush::Async;
    let given = settings.text("flush").is_some();
    config.acknowledge = match settings.text("acknowledge") {
        None if by_slaves => Acknowledge::Replica,
        None if asynchronous => Acknowledge::Async,
        None => Acknowledge::Flush,
        Some("async") if given && !asynchronous => {
            return Err(settings.refuse("acknowledge", "async contradicts flush = sync; leave one of them out"));
        }
        Some("async") => {
            config.store.flush = Flush::Async;
            Acknowledge::Async
        }
        Some("sync-flush") if asynchronous => {
            return Err(settings.refuse("acknowledge", "sync-flush contradicts flush = async; leave one of them out"));
        }
        Some("sync-flush") => Acknowledge::Flush,
        Some("sync-replica") => Acknowledge::Replica,
        Some(_) => return Err(settings.refuse("acknowledge", "expected async, sync-flush or sync-replica")),
    };
    config.store.replicated = config.acknowledge == Acknowledge::Replica;
    Ok(())
}

/// A duration; RocketMQ's are plain numbers of milliseconds.
fn time(settings: &Settings, key: &str) -> Result<Option<Duration>, ConfigError> {
    let time = match settings.text(key).map(str::parse::<u64>) {
        Some(Ok(millis)) => Some(Duration::from_millis(millis)),
        _ => settings.get::<Duration>(key)?,
    };
    if time.is_some_and(|time| !(Duration::from_millis(100)..=Duration::from_secs(60)).contains(&time)) {
        return Err(settings.refuse(key, "expected 100ms to 60s"));
    }
    Ok(time)
}

fn addresses(settings: &Settings, key: &str) -> Result<Vec<String>, ConfigError> {
    let list = settings.get::<Vec<String>>(key)?.unwrap_or_default();
    if list.iter().any(|address| !is_address(address)) {
        return Err(settings.refuse(key, "expected host:port, several separated by commas"));
    }
    Ok(list)
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

fn ports(settings: &Settings, config: &mut Config) -> Result<(), ConfigError> {
    config.fast_port = settings.get("fast_port")?.unwrap_or(true);
    config.ha_listen = settings.get::<SocketAddr>("ha_listen")?;
    if let Some(port) = settings.get::<u16>("ha_port")? {
        config.ha_listen.get_or_insert(config.listen).set_port(port);
    }
    config.ha_advertise = settings.get("ha_advertise")?;
    Ok(())
}

fn master(settings: &Settings, config: &mut Config) -> Result<(), ConfigError> {
    let (client, ha) = (settings.get::<String>("master")?, settings.get::<String>("ha_master")?);
    for (key, address) in [("master", &client), ("ha_master", &ha)] {
        if address.as_ref().is_some_and(|address| !is_address(address)) {
            return Err(settings.refuse(key, "expected host:port"));
        }
    }
    config.master = match (client, ha) {
        (None, None) => None,
        (Some(client), Some(ha)) => Some(MasterAddress { client, ha }),
        (Some(client), None) => {
            let ha = beside(&client, 1);
            Some(MasterAddress { client, ha })
        }
        (None, Some(ha)) => {
            let client = beside(&ha, -1);
            Some(MasterAddress { client, ha })
        }
    };
    if config.master.is_some() && config.role != RoleSetting::Slave {
        return Err(settings.refuse("master", "only a slave has a master: set role = slave"));
    }
    Ok(())
}

/// The address at a neighbouring port: replication listens at the port after that of clients, unless it is told otherwise.
fn beside(address: &str, step: i16) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    format!("{host}:{}", port.parse::<u16>().unwrap_or(0).saturating_add_signed(step))
}
