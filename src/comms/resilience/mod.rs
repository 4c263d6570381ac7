//! Calls that live with failure: timeouts, retries within a budget, breakers, and what else keeps one service's trouble
//! from becoming everybody's.

pub mod policy;
pub mod retry;

pub use policy::Policy;
pub use retry::{Retry, RetryBudget, Transient};
