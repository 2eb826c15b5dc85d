//! Checks of popping.
