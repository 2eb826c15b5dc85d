//! Checks of transactions.

mod model;
mod whole;
