//! The `throughline` binary: parse and dispatch, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    give_memory_back();
    throughline::cli::run()
}

/// What is very large goes back to the system as soon as it is free: glibc would keep room for the largest of it in each of
/// its arenas. Requests of the usual size stay below, since pages that are asked for anew each time cost more than they
/// are worth (decision 18). And there are as many arenas as processors, not eight times as many: what one has free is no
/// use to the others.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    const LARGE: libc::c_int = 1 << 20;
    const KEPT: libc::c_int = 16 << 20;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let arenas = processors.clamp(2, 64) as libc::c_int;
    // SAFETY: it sets three numbers of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        libc::mallopt(libc::M_ARENA_MAX, arenas);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}
