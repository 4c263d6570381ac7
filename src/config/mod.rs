//! Settings: one file a concern, each field with its flag, its variable and its default.
//!
//! The only place that reads the environment. What must not live here: anything that acts on a setting.

#[cfg(feature = "demo")]
pub mod certs;
#[cfg(feature = "dashboard")]
pub mod dashboard;
#[cfg(feature = "demo")]
pub mod demo;
#[cfg(feature = "load")]
pub mod load;
#[cfg(feature = "dashboard")]
pub mod store;
