//! What topics remember: beside a model, across crashes, and at whole brokers.

mod model;
mod sends;
