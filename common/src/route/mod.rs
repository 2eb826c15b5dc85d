//! Which broker holds which queue: the view of a route, asking for it, keeping it fresh; traces on their way.

pub mod courier;
pub mod error;
pub mod finder;
pub mod identity;
pub mod links;
pub mod table;
