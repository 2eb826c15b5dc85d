//! A bug planted on purpose, so that it can be seen that the fault harness finds it. Without the feature `plant` there is none.

/// Whether masters are chosen from all members that live, not only from those that have everything.
#[cfg(feature = "plant")]
pub fn promotes_outside_the_set() -> bool {
    static PLANTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *PLANTED.get_or_init(|| std::env::var("ORBITMQ_PLANT").as_deref() == Ok("promote-outside-set"))
}

/// Nothing is planted.
#[cfg(not(feature = "plant"))]
pub const fn promotes_outside_the_set() -> bool {
    false
}
