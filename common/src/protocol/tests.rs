//! Checks of the wire: round trips, garbage, vectors.
