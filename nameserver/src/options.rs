//! What this name server does or leaves, changeable while it runs under RocketMQ's names.

use orbitmq_common::config::Key;
use parking_lot::RwLock;

/// Names of RocketMQ that tell a name server where its own files are: nobody changes them from outside.
const FORBIDDEN: [&str; 4] = ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

/// One switch: its names and where its value is.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    /// RocketMQ's name.
    pub apache: &'static str,
    /// Our name, with RocketMQ's as the other.
    pub key: Key,
    value: fn(&mut Switches) -> &mut bool,
}

macro_rules! switches {
    ($($apache:literal is $field:ident),* $(,)?) => {
        [$(Switch {
            apache: $apache,
            key: Key { name: stringify!($field), aliases: &[$apache] },
            value: |switches| &mut switches.$field,
        }),*]
    };
}

/// Every switch there is.
pub const SWITCHES: [Switch; 6] = switches! {
    "orderMessageEnable" is order_message,
    "returnOrderTopicConfigToBroker" is return_order_topics,
    "supportActingMaster" is acting_master,
    "enableAllTopicList" is all_topic_list,
    "enableTopicList" is topic_list,
    "deleteTopicWithBrokerRegistration" is forget_unnamed_topics,
};

/// The values of all switches; the defaults are RocketMQ's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switches {
    /// Route answers carry the queue layout of ordered topics.
    pub order_message: bool,
    /// Registering brokers are told the layouts of all ordered topics.
    pub return_order_topics: bool,
    /// Routes name the smallest slave as master where the group wants that.
    pub acting_master: bool,
    /// The list of all topics may be asked for.
    pub all_topic_list: bool,
    /// Lists of some topics may be asked for.
    pub topic_list: bool,
    /// A registration that no longer names a topic deletes it.
    pub forget_unnamed_topics: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            order_message: false,
            return_order_topics: true,
            acting_master: false,
            all_topic_list: true,
            topic_list: true,
            forget_unnamed_topics: false,
        }
    }
}

impl Switches {
    /// Sets a switch by either name; tells whether there is one.
    pub fn set(&mut self, name: &str, on: bool) -> bool {
        let switch = SWITCHES.iter().find(|switch| switch.apache == name || switch.key.name == name);
        switch.is_some_and(|switch| {
            *(switch.value)(self) = on;
            true
        })
    }
}

/// Why an option is not changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The text is not properties text.
    #[error("'{0}' is not key=value")]
    Syntax(String),
    /// The option belongs to the machine's administrator.
    #[error("{0} cannot be changed over the network: set it at start")]
    Forbidden(String),
    /// No such option.
    #[error("{name} is not an option that can be changed while running; these can: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Not a truth value.
    #[error("{name} is true or false, not '{value}'")]
    Value {
        /// The option.
        name: String,
        /// What was given.
        value: String,
    },
}

/// The switches in force.
#[derive(Debug)]
pub struct Options {
    switches: RwLock<Switches>,
}

impl Options {
    /// Options that begin so.
    pub fn new(switches: Switches) -> Self {
        Self { switches: RwLock::new(switches) }
    }

    /// The values in force.
    pub fn current(&self) -> Switches {
        *self.switches.read()
    }

    /// Puts changes in force.
    pub fn apply(&self, changes: &[(&'static str, bool)]) {
        let mut switches = self.switches.write();
        for (name, on) in changes {
            switches.set(name, *on);
        }
    }

    /// The options as properties text.
    pub fn to_properties(&self) -> String {
        let mut switches = self.current();
        SWITCHES.iter().map(|switch| format!("{}={}\n", switch.apache, (switch.value)(&mut switches))).collect()
    }
}

/// Reads properties text as changes of switches, by RocketMQ's names; all or nothing.
pub fn parse_changes(text: &str) -> Result<Vec<(&'static str, bool)>, OptionError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let changes = lines.map(|line| {
        let (name, value) =
            line.split_once(['=', ':']).ok_or_else(|| OptionError::Syntax(line.chars().take(80).collect()))?;
        change(name.trim(), value.trim())
    });
    changes.collect()
}

fn change(name: &str, value: &str) -> Result<(&'static str, bool), OptionError> {
    if FORBIDDEN.contains(&name) {
        return Err(OptionError::Forbidden(name.to_owned()));
    }
    let switch = SWITCHES.iter().find(|switch| switch.apache == name || switch.key.name == name).ok_or_else(|| {
        let known: Vec<_> = SWITCHES.iter().map(|switch| switch.apache).collect();
        OptionError::Unknown { name: name.to_owned(), known: known.join(", ") }
    })?;
    match value.parse() {
        Ok(on) => Ok((switch.apache, on)),
        Err(_) => Err(OptionError::Value { name: name.to_owned(), value: value.chars().take(80).collect() }),
    }
}

#[cfg(test)]
mod tests;
