//! Messages as a tap saw them, and as spans tell of them.
//!
//! * [`body`]: what a body says, whatever it was sent as.
//!
//! What must not live here: HTML, AMQP, where messages come from.

pub mod body;
