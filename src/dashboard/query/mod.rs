//! Answers to what a person asks: model in, model out.
//!
//! * [`story`]: everything that carries one correlation ID, told in order.
//!
//! What must not live here: HTML, SQL, wire types.

pub mod story;
