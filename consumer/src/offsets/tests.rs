//! Checks of the window against a model that remembers everything.
