//! Scenes a reader can follow.
