//! One trace: which spans it has, when each begins and ends, and which of them fail.
//!
//! Times are nanoseconds from the begin of the trace. A failure begins in a database or in the last service, and goes
//! up to the root, as it does where nobody catches it. What must not live here: attributes and the wire.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::names::{self, BREAKAGES};
use super::plan::{INSTANCES, Joined, Shape, Step, System};

/// A millisecond in nanoseconds.
const MS: u64 = 1_000_000;
/// Share of the calls that are not made, since the answer is known from before.
const KNOWN: f64 = 0.2;

/// The spans that come of one request of a customer: a trace, and those that are linked to it.
#[derive(Debug, PartialEq)]
pub struct Tree {
    /// Each before its children.
    pub spans: Vec<Draft>,
    /// Its begin to the end of its last span, in ns.
    pub length: u64,
    pub correlation: Option<String>,
    /// The customer, below the cardinality that was asked for.
    pub user: u64,
}

/// A span before it is written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub service: usize,
    pub instance: usize,
    pub trace: [u8; 16],
    pub id: [u8; 8],
    /// `None` at a root.
    pub parent: Option<[u8; 8]>,
    /// The producer's span, in another trace.
    pub link: Option<([u8; 16], [u8; 8])>,
    pub start: u64,
    pub end: u64,
    pub role: Role,
    pub failure: Option<Failure>,
    /// Whether a log record goes with it.
    pub logged: bool,
}

/// What a span stands for. Numbers are places in the [`System`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The service works on a request.
    Server {
        operation: usize,
    },
    /// The service waits for another one.
    Client {
        service: usize,
        operation: usize,
    },
    Query {
        operation: usize,
        writes: bool,
    },
    Work(usize),
    /// A message leaves; its ID is the producer's span ID.
    Send {
        queue: usize,
    },
    /// A message is worked on, by the ID of the producer's span.
    Process {
        queue: usize,
        message: [u8; 8],
    },
}

/// Why a span failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Of [`BREAKAGES`].
    pub breakage: usize,
    /// Whether it broke here first.
    pub origin: bool,
}

/// The `number`-th trace of a load: the same for the same seed.
pub fn grow(system: &System, shape: &Shape, number: u64) -> Tree {
    // A generator of its own for each trace, spread by the golden ratio: neighbours have nothing in common.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(shape.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let correlation = rng.random_bool(shape.correlation_share).then(|| correlation(&mut rng));
    let user = rng.random_range(0..shape.cardinality);
    let fails = rng.random_bool(shape.error_share);
    let breakage = rng.random_range(0..BREAKAGES.len());
    let (service, operation) = system.door(&mut rng);
    let left = shape.spans_per_trace.unwrap_or(usize::MAX);
    let mut growth = Growth { system, shape, rng, spans: Vec::new(), left, breakage };
    let trace = growth.rng.random();
    growth.serve(&Asked { service, operation, trace, parent: None, at: 0, fails, first: true });
    let length = growth.spans.iter().map(|span| span.end).max().unwrap_or_default();
    Tree { spans: growth.spans, length, correlation, user }
}

/// A UUID of version 4, as services make them for this.
fn correlation(rng: &mut Xoshiro256PlusPlus) -> String {
    let bits = rng.random::<u128>() & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A request to a service.
struct Asked {
    service: usize,
    operation: usize,
    trace: [u8; 16],
    parent: Option<[u8; 8]>,
    at: u64,
    fails: bool,
    /// Whether this is the root, which has as many spans below it as were asked for.
    first: bool,
}

/// A span under way whose steps are being made.
struct Open {
    service: usize,
    instance: usize,
    operation: usize,
    trace: [u8; 16],
    id: [u8; 8],
}

struct Growth<'a> {
    system: &'a System,
    shape: &'a Shape,
    rng: Xoshiro256PlusPlus,
    spans: Vec<Draft>,
    /// Spans that there may still be.
    left: usize,
    breakage: usize,
}

impl Growth<'_> {
    /// The SERVER span of a request and all below it; gives its end, or `None` where there may be no more spans.
    fn serve(&mut self, asked: &Asked) -> Option<u64> {
        let instance = self.rng.random_range(0..INSTANCES);
        let role = Role::Server { operation: asked.operation };
        let (at, id) = self.push(asked.service, instance, asked.trace, asked.parent, asked.at, role)?;
        let operation = asked.operation;
        let open = Open { service: asked.service, instance, operation, trace: asked.trace, id };
        let plan = &self.system.services[asked.service].operations[asked.operation];
        let mut steps = plan.steps.clone();
        if asked.fails {
            self.put_breaking_last(&mut steps);
        }
        let mut now = asked.at + self.about(300_000);
        let mut broke = false;
        loop {
            let before = self.spans.len();
            let breaking = if asked.fails && !broke { steps.len().checked_sub(1) } else { None };
            now = self.take(&open, &steps, plan.parallel, now, breaking, &mut broke);
            let whole = self.shape.spans_per_trace.is_none() || self.left == 0 || self.spans.len() == before;
            if !asked.first || whole {
                break;
            }
        }
        let end = now + self.about(200_000);
        self.spans[at].end = end;
        if asked.fails {
            self.spans[at].failure = Some(Failure { breakage: self.breakage, origin: !broke });
        }
        Some(end)
    }

    /// Makes the steps of an operation; gives when they are through. `broke` tells whether the step `breaking` was
    /// made and failed.
    fn take(
        &mut self,
        open: &Open,
        steps: &[Step],
        parallel: bool,
        from: u64,
        breaking: Option<usize>,
        broke: &mut bool,
    ) -> u64 {
        let (mut now, mut latest, mut called) = (from, from, false);
        for (number, step) in steps.iter().enumerate() {
            let breaks = breaking == Some(number) && matches!(step, Step::Call { .. } | Step::Query { .. });
            let call = matches!(step, Step::Call { .. });
            // Now and then the answer is known from before; never that of the first call.
            if call && !breaks && called && self.rng.random_bool(KNOWN) {
                continue;
            }
            called |= call;
            if !(parallel && call) {
                now = latest;
            }
            let start = now + self.about(60_000);
            let Some(end) = self.step(open, *step, start, breaks) else { break };
            *broke |= breaks;
            latest = latest.max(end);
            if parallel && call {
                now = start;
            }
        }
        latest
    }

    /// One step and what comes of it; gives when the operation can go on.
    fn step(&mut self, open: &Open, step: Step, start: u64, fails: bool) -> Option<u64> {
        match step {
            Step::Call { service, operation } => self.call(open, service, operation, start, fails),
            Step::Query { writes } => {
                let plan = &self.system.services[open.service].operations[open.operation];
                let usual = if writes { 3.0 } else { 1.5 } * plan.slowness;
                let took = match self.breakage {
                    names::TIMEOUT if fails => 2000 * MS + self.about(MS),
                    _ => self.about((usual * MS as f64) as u64),
                };
                let role = Role::Query { operation: open.operation, writes };
                let at = self.leaf(open, role, start, took)?;
                self.spans[at].failure = fails.then_some(Failure { breakage: self.breakage, origin: true });
                Some(start + took)
            }
            Step::Work(name) => {
                let took = self.about(MS);
                self.leaf(open, Role::Work(name), start, took).map(|_| start + took)
            }
            Step::Publish(queue) => self.publish(open, queue, start),
        }
    }

    fn call(
        &mut self,
        open: &Open,
        service: usize,
        operation: usize,
        start: u64,
        fails: bool,
    ) -> Option<u64> {
        let at = self.leaf(open, Role::Client { service, operation }, start, 0)?;
        let parent = Some(self.spans[at].id);
        let there = self.about(400_000);
        let asked =
            Asked { service, operation, trace: open.trace, parent, at: start + there, fails, first: false };
        let answered = self.serve(&asked);
        let end = answered.unwrap_or(start + there + self.about(5 * MS)) + self.about(400_000);
        self.spans[at].end = end;
        // Where no server's span is left to break, it is the connection that breaks.
        self.spans[at].failure =
            fails.then_some(Failure { breakage: self.breakage, origin: answered.is_none() });
        Some(end)
    }

    /// A message: the operation goes on at once, and the consumer begins when the message has waited.
    fn publish(&mut self, open: &Open, queue: usize, start: u64) -> Option<u64> {
        let took = self.about(MS);
        let at = self.leaf(open, Role::Send { queue }, start, took)?;
        let message = self.spans[at].id;
        let waited = self.about(40 * MS);
        let plan = &self.system.queues[queue];
        let begin = start + took + waited;
        let instance = self.rng.random_range(0..INSTANCES);
        let role = Role::Process { queue, message };
        let (trace, parent) = match plan.joined {
            Joined::Parent => (open.trace, Some(message)),
            Joined::Link => (self.rng.random(), None),
        };
        // There may be no more spans: then nobody has taken the message yet.
        if let Some((at, id)) = self.push(plan.consumer, instance, trace, parent, begin, role) {
            if plan.joined == Joined::Link {
                self.spans[at].link = Some((open.trace, message));
            }
            let operation = self.rng.random_range(0..self.shape.operations);
            let consumer = Open { service: plan.consumer, instance, operation, trace, id };
            let steps = [Step::Query { writes: false }, Step::Query { writes: true }];
            let now = begin + self.about(MS);
            let through = self.take(&consumer, &steps, false, now, None, &mut false);
            self.spans[at].end = through + self.about(MS);
        }
        Some(start + took)
    }

    /// A failing operation breaks in one of the steps that can break, and makes the others before.
    fn put_breaking_last(&mut self, steps: &mut [Step]) {
        let can: Vec<usize> = (0..steps.len())
            .filter(|at| matches!(steps[*at], Step::Call { .. } | Step::Query { .. }))
            .collect();
        if !can.is_empty() {
            let chosen = can[self.rng.random_range(0..can.len())];
            steps[chosen..].rotate_left(1);
        }
    }

    /// A span of the open one's service, below it; gives its place.
    fn leaf(&mut self, open: &Open, role: Role, start: u64, took: u64) -> Option<usize> {
        let (at, _) = self.push(open.service, open.instance, open.trace, Some(open.id), start, role)?;
        self.spans[at].end = start + took;
        Some(at)
    }

    fn push(
        &mut self,
        service: usize,
        instance: usize,
        trace: [u8; 16],
        parent: Option<[u8; 8]>,
        start: u64,
        role: Role,
    ) -> Option<(usize, [u8; 8])> {
        self.left = self.left.checked_sub(1)?;
        let id = self.rng.random();
        let logged = self.rng.random_bool(self.shape.log_share);
        self.spans.push(Draft {
            service,
            instance,
            trace,
            id,
            parent,
            link: None,
            start,
            end: start,
            role,
            failure: None,
            logged,
        });
        Some((self.spans.len() - 1, id))
    }

    /// A time around the usual one: half to one and a half of it, and in one of fifty cases up to eight times.
    fn about(&mut self, usual: u64) -> u64 {
        let slow = if self.rng.random_bool(0.02) { self.rng.random_range(2.0..8.0) } else { 1.0 };
        (usual as f64 * self.rng.random_range(0.5..1.5) * slow) as u64
    }
}
