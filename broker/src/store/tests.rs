//! The store as its callers see it.

mod basics;
mod chaos;
mod copied;
mod crash;
mod derived;
mod faults;
mod index;
mod keep;
mod model;
mod power;
mod support;
