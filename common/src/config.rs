//! Settings from a file, the environment and flags, each later source over the earlier ones.
//!
//! A file is TOML with one `key = value` a line, or properties text (`key=value`, as in RocketMQ's broker.conf) when its name
//! does not end in `.toml`.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Environment variables that start so are settings: `ORBITMQ_DATA_DIR` is `data_dir`.
pub const ENVIRONMENT_PREFIX: &str = "ORBITMQ_";

/// One setting that a program knows.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Our name for it, in snake_case.
    pub name: &'static str,
    /// Names under which RocketMQ knows it.
    pub aliases: &'static [&'static str],
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "{name}"),
        }
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The file is not what its name promises.
    #[error("{origin}: {cause}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong.
        cause: String,
    },
    /// Nobody knows this key.
    #[error("{origin}: '{key}' is not a setting{hint}")]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// What was written.
        key: String,
        /// What may have been meant.
        hint: String,
    },
    /// A value does not fit its key.
    #[error("{origin}: {key} = '{value}': {cause}")]
    BadValue {
        /// Where.
        origin: Origin,
        /// The setting.
        key: String,
        /// What was written.
        value: String,
        /// What is expected.
        cause: String,
    },
}

/// Values by our names.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
    ignored: Vec<(String, Origin)>,
}

impl Settings {
    /// Gathers the settings. `ignored` are RocketMQ's keys that have no meaning here: they are accepted and listed by
    /// [`Settings::ignored`]. Variables of the environment that name no setting are left alone.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, or an unknown key in a file or flag.
    pub fn gather(
        keys: &[Key],
        ignored: &[&str],
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (String, String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        if let Some(path) = file {
            for (key, value, line) in read_file(path)? {
                settings.put(keys, ignored, &key, value, Origin::File(path.to_owned(), line))?;
            }
        }
        for (variable, value) in environment {
            let Some(key) = variable.strip_prefix(ENVIRONMENT_PREFIX).map(str::to_ascii_lowercase) else { continue };
            if let Some(known) = keys.iter().find(|known| known.name == key) {
                settings.values.insert(known.name, (value, Origin::Environment(variable)));
            }
        }
        for (flag, key, value) in flags {
            settings.put(keys, ignored, &key, value, Origin::Flag(flag))?;
        }
        Ok(settings)
    }

    fn put(
        &mut self,
        keys: &[Key],
        ignored: &[&str],
        key: &str,
        value: String,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let snake = key.replace('-', "_");
        if let Some(known) = keys.iter().find(|known| known.name == snake || known.aliases.contains(&key)) {
            self.values.insert(known.name, (value, origin));
            return Ok(());
        }
        if ignored.contains(&key) {
            self.ignored.push((key.to_owned(), origin));
            return Ok(());
        }
        let names = keys.iter().flat_map(|known| std::iter::once(known.name).chain(known.aliases.iter().copied()));
        let nearest = names.map(|name| (strsim::jaro_winkler(name, key), name)).max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match nearest {
            Some((likeness, name)) if likeness > 0.75 => format!("; did you mean '{name}'?"),
            _ => "; --help lists them".to_owned(),
        };
        Err(ConfigError::UnknownKey { origin, key: key.to_owned(), hint })
    }

    /// Keys that were accepted without effect, and where they stand.
    #[must_use]
    pub fn ignored(&self) -> &[(String, Origin)] {
        &self.ignored
    }

    /// The text of a setting.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// A setting as its type; `None` when nobody set it.
    ///
    /// # Errors
    /// [`ConfigError::BadValue`].
    pub fn get<T: Value>(&self, name: &str) -> Result<Option<T>, ConfigError> {
        let Some((value, _)) = self.values.get(name) else { return Ok(None) };
        T::parse(value.trim()).map(Some).map_err(|cause| self.refuse(name, &cause))
    }

    /// The error for a value that parses but cannot be.
    #[must_use]
    pub fn refuse(&self, name: &str, cause: &str) -> ConfigError {
        let (value, origin) =
            self.values.get(name).cloned().unwrap_or_else(|| (String::new(), Origin::Flag("default".to_owned())));
        ConfigError::BadValue { origin, key: name.to_owned(), value, cause: cause.to_owned() }
    }
}

fn read_file(path: &Path) -> Result<Vec<(String, String, usize)>, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), cause: error.to_string() })?;
    let syntax = |line, cause: String| ConfigError::Syntax { origin: Origin::File(path.to_owned(), line), cause };
    if path.extension().is_some_and(|extension| extension == "toml") {
        let line_of = |at: usize| text.get(..at).map_or(1, |before| before.matches('\n').count() + 1);
        let table = toml::de::DeTable::parse(&text)
            .map_err(|error| syntax(error.span().map_or(1, |span| line_of(span.start)), error.message().to_owned()))?;
        let entries = table.get_ref().iter().map(|(key, value)| {
            let line = line_of(key.span().start);
            let value = toml_text(value.get_ref()).ok_or_else(|| {
                syntax(line, format!("'{}' must be a single value or a list of texts", key.get_ref()))
            })?;
            Ok((key.get_ref().to_string(), value, line))
        });
        return entries.collect();
    }
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', '!']));
    let entries = lines.map(|(at, line)| match line.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned(), at)),
        None => Err(syntax(at, format!("'{line}' is not key=value"))),
    });
    entries.collect()
}

fn toml_text(value: &toml::de::DeValue<'_>) -> Option<String> {
    use toml::de::DeValue;
    Some(match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| toml_text(item.get_ref())).collect();
            texts?.join(",")
        }
        _ => return None,
    })
}

/// A type that a setting's text can be read as.
pub trait Value: Sized {
    /// Reads the text.
    ///
    /// # Errors
    /// What is expected, as text.
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.replace('_', "").parse().map_err(|_| format!("expected a whole number from {} to {}", <$type>::MIN, <$type>::MAX))
            }
        }
    )*};
}
numbers!(u16, u32, u64, usize, i32, i64);

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(Self::from(text)) }
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("expected true or false".to_owned()),
        }
    }
}

impl Value for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "expected an address and a port, such as 0.0.0.0:10911 or [::]:10911".to_owned())
    }
}

impl Value for Vec<String> {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.split([',', ';']).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }
}

/// A number of bytes: `4MiB`, `64 KiB`, `1GB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl Value for ByteSize {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected a size such as 65536, 64KiB, 128MiB or 1GiB".to_owned();
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(split).ok_or_else(expected)?;
        let number: u64 = number.replace('_', "").parse().map_err(|_| expected())?;
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(expected()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(expected)
    }
}

/// `500ms`, `5s`, `2m`, `72h`, `3d`.
impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "expected a duration such as 500ms, 5s, 2m, 72h or 3d".to_owned();
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let (number, unit) = text.split_at_checked(split).ok_or_else(expected)?;
        let number: u64 = number.parse().map_err(|_| expected())?;
        let millis: u64 = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(expected()),
        };
        number.checked_mul(millis).map(Self::from_millis).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests;
