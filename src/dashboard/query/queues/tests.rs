//! Verdicts and figures of queues.
