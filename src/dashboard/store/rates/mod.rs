//! Rates of services, operations and calls, folded into time buckets when spans come, so that pages about them never
//! read spans.
//!
//! * [`histogram`]: durations by class.
//! * [`side`]: what one span contributes ([`peer`]: what its attributes say of the other side).
//! * [`halves`]: spans whose other half may still come.
//! * [`fold`]: counts sides into [`table`]s, joined where both halves are known.
//! * [`pages`]: a run's tables as bytes, in buckets of several lengths.
//! * [`instances`]: versions and instances of services over time.
//! * [`gather`]: the answer out of the tail's and the runs' tables.
//!
//! A call's halves come in different requests, in either order, up to hours apart. Each counts at once as what is
//! known of it; when the other one comes, that is taken back and the joined call is counted. So a table may hold less
//! than nothing: the other part is in an older run. Counts that stay below nothing after all was added up, because
//! that run is gone, are read as none.
//!
//! What must not live here: what a page makes of the rates.

mod fold;
mod gather;
mod halves;
pub mod histogram;
mod instances;
mod names;
mod pages;
mod peer;
mod side;
mod table;

pub use fold::Fold;
pub use gather::{CallSteps, Calls, Operations, Services, Sink, Steps, Sum};
pub use histogram::Histogram;
pub use instances::Instances;
pub use names::ByHash;
pub use pages::{Place, What, read};
pub use side::Sides;
pub use table::Key;

use crate::dashboard::model::Nanos;

/// Length of a bucket, the shortest.
pub const BUCKET: Nanos = 10 * 1_000_000_000;

/// Name of what was counted together, since a run keeps only so many names apart.
pub const OTHERS: &str = "(others)";

/// What a name is the name of. The numbers are part of the stored format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::dashboard::store) enum Tag {
    Service = b's',
    /// Of an operation.
    Name = b'n',
    Database = b'd',
    Outside = b'o',
    Destination = b'q',
    /// Version and instance of a service.
    Instance = b'i',
}

impl Tag {
    fn has_system(self) -> bool {
        matches!(self, Tag::Database | Tag::Destination | Tag::Instance)
    }
}

/// How often, how many failed, how long.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    pub count: u64,
    /// Failed; a call that was refused did not.
    pub errors: u64,
    pub durations: Histogram,
}

/// An operation of a service: spans that serve a request or take a message, and those without a parent, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRates {
    pub service: String,
    /// The span's name, or [`OTHERS`].
    pub operation: String,
    /// Errors are spans with the status ERROR.
    pub rates: Rates,
}

/// Calls from one node to another, or messages on one way.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub caller: Node,
    pub callee: Node,
    /// Where messages were sent to and taken from, each as the span names it; on one way the two may differ. `None`
    /// where that half was not seen, and for what is no message.
    pub sent_to: Option<Destination>,
    pub taken_from: Option<Destination>,
    /// Of the caller's span where that is a CLIENT, else of the callee's. Errors are those of either.
    pub rates: Rates,
    /// Time in the queue: from the end of the span that sent to the begin of the one that took.
    pub waited: Histogram,
}

/// What calls are counted apart by: caller, callee, where messages were sent to and taken from.
pub type Way = (Node, Node, Option<Destination>, Option<Destination>);

/// An end of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    Service(String),
    Database {
        /// As the conventions name it: `postgresql`, `redis`.
        system: String,
        /// May be empty.
        name: String,
    },
    /// An address or name that no service answered for so far.
    Outside(String),
    /// Who calls a server whose span has no parent.
    User,
    /// A half that was not seen: not yet, or never.
    Unknown,
    /// Counted together, since a run keeps only so many apart.
    Others,
}

/// What messages are sent to: an exchange, a queue, a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// `rabbitmq`, `kafka`; may be empty.
    pub system: String,
    pub name: String,
}

/// A service's rates over time.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRates {
    pub service: String,
    /// One for each step: begin of the step and what happened in it, all operations together.
    pub steps: Vec<(Nanos, Rates)>,
}

/// The rates of one instance of a service over time.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRates {
    pub service: String,
    /// `service.version`; may be empty.
    pub version: String,
    /// `service.instance.id`, else the name of the pod or the host; may be empty, or [`OTHERS`].
    pub instance: String,
    /// As [`ServiceRates::steps`], of whole minutes.
    pub steps: Vec<(Nanos, Rates)>,
}
