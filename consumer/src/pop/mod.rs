//! Popping: messages come from queues that members share, each for a time of its own, and are acknowledged one by one.
//!
//! ```text
//! assignment ──> lanes ──pop──> hands ──> shelf ──> deliveries ──> desk: acknowledgements, several in one request
//!                                                       └──(longer in hand)──> keep: invisible for longer
//! ```

pub(crate) mod answer;
pub(crate) mod assignment;
pub(crate) mod desk;
pub(crate) mod fetch;
pub(crate) mod hand;
pub(crate) mod keep;
pub(crate) mod lane;
pub(crate) mod popped;
