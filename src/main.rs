//! The `throughline` binary: parse and dispatch, nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    give_memory_back();
    throughline::cli::run()
}

/// What is large goes back to the system as soon as it is free: requests and blocks come and go by the thousand, and glibc
/// would keep room for the largest of them in each of its arenas. Costs nothing that can be measured, and keeps a
/// dashboard at full rate some 25 MB smaller (decision 18).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    const LARGE: libc::c_int = 128 << 10;
    const KEPT: libc::c_int = 1 << 20;
    // SAFETY: it sets two numbers of the allocator, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}
