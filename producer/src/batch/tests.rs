//! Checks of cutting batches.
