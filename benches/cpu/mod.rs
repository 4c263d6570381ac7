//! What a process has cost so far.

/// CPU seconds of a process, `self` or its ID, over all of its threads that still run.
pub fn cpu_s(process: &str) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let used = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        used.split(' ').next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}
