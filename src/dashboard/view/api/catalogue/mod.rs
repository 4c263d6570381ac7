//! Every operation under `/api`: what it is asked and what it answers. The router has the same paths; the tests see to it.
//!
//! * [`reading`]: what the pages show. * [`acting`]: what changes something at a broker, and what was done.

mod acting;
mod reading;

use super::operation::Operation;

/// All operations, by group.
pub fn all() -> Vec<Operation> {
    let mut all = reading::all();
    all.extend(acting::all());
    all.sort_by_key(|one| super::operation::Group::ALL.iter().position(|group| *group == one.group));
    all
}
