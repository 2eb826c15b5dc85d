//! Checks of transactions.

mod model;
mod promoted;
mod whole;
