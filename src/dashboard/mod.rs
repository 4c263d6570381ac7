//! The dashboard: what receives, keeps, queries and shows.
//!
//! Data flows one way, `receive → model → store → query → view`, and the imports follow it:
//! `view` sees no SQL and no wire types, `receive` sees no pool, `query` makes no HTML, `store` knows no
//! layout, `model` depends on nothing of ours.

pub mod collect;
pub mod documents;
#[cfg(test)]
pub mod fixture;
pub mod keys;
pub mod model;
pub mod operate;
pub mod ops;
pub mod query;
pub mod receive;
mod scenarios;
mod selftest;
pub mod serve;
mod status;
pub mod store;
pub mod view;
