//! Checks of sharing queues, against RocketMQ's results.
