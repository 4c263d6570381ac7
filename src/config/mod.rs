//! Settings: one file a concern. The only reader of the environment.

#[cfg(feature = "demo")]
pub mod demo;
