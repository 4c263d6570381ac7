//! How many connections the system lets this process have.

/// Descriptors asked for where the system gives few: enough for some thousand connections.
const WANTED: u64 = 16_384;
/// Descriptors for everything that is no connection: the store's files, pipes, the runtime.
const OTHERS: u64 = 48;
/// Connections of one address at most.
const MOST: u64 = 4_096;

/// Connections that each of `doors` addresses may have, after the soft limit on descriptors was raised as far as
/// is wanted and allowed.
pub fn connections(doors: u64) -> usize {
    // However few there are, some are for connections: what cannot be opened then is an error where it happens.
    let each = |descriptors: u64| (descriptors.saturating_sub(OTHERS) / doors).clamp(4, MOST) as usize;
    each(raised())
}

#[cfg(unix)]
fn raised() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let soft = now.current.unwrap_or(u64::MAX);
    let wanted = WANTED.min(now.maximum.unwrap_or(u64::MAX));
    if wanted <= soft {
        return soft;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::debug!(%error, soft, "the limit on file descriptors stays as it is");
            soft
        }
    }
}

#[cfg(not(unix))]
fn raised() -> u64 {
    WANTED
}
