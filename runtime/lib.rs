//! Pronk
