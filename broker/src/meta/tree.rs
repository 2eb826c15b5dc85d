//! Kinds of metadata: the names under which they are on disk, and which of them slaves have too.

/// Kinds of metadata; each is a tree of its own. The names are on disk and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tree {
    /// Topic settings by name.
    Topics,
    /// Group settings by name.
    Groups,
    /// Offsets by topic, group and queue.
    Offsets,
    /// How far each delay level was delivered.
    Delay,
    /// How far timer messages were delivered.
    Timers,
    /// Offsets that an administrator set and the group has yet to follow; keys as of [`Self::Offsets`].
    Resets,
    /// Deleted topics, with the log offset up to which their messages are gone.
    Deletions,
    /// Which mastership wrote which part of the log; this broker's own.
    Epochs,
    /// Topics that a group may not read.
    Forbidden,
    /// Facts about this directory, and settings changed while the broker ran.
    About,
    /// Offsets that were committed here while another broker was the master, and does not have yet.
    Taken,
    /// How often producers were asked about open half messages.
    Asked,
    /// Batches in hand of groups that pop in order; keys as of [`Self::Offsets`].
    Orders,
    /// How groups get the messages of topics: by topic and group.
    RequestModes,
}

impl Tree {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Deletions,
        Self::Topics,
        Self::Groups,
        Self::Offsets,
        Self::Delay,
        Self::Timers,
        Self::Resets,
        Self::Forbidden,
        Self::Epochs,
        Self::About,
        Self::Taken,
        Self::Asked,
        Self::Orders,
        Self::RequestModes,
    ];

    /// Whether slaves have the same; what concerns one directory alone does not follow.
    #[must_use]
    pub fn replicates(self) -> bool {
        !matches!(self, Self::About | Self::Epochs | Self::Taken)
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tree| tree.name() == name)
    }

    /// The name on disk and between brokers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Groups => "groups",
            Self::Offsets => "offsets",
            Self::Delay => "delay",
            Self::Timers => "timers",
            Self::Resets => "resets",
            Self::Forbidden => "forbidden",
            Self::Deletions => "deletions",
            Self::Epochs => "epochs",
            Self::About => "about",
            Self::Taken => "taken",
            Self::Asked => "asked",
            Self::Orders => "orders",
            Self::RequestModes => "request_modes",
        }
    }
}
