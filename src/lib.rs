//! Rayward.
