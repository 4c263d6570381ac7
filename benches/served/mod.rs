//! A dashboard as a process of its own, whose CPU and memory are read: what a bench does itself is not its cost.
#![allow(dead_code)]

#[path = "../cpu/mod.rs"]
mod cpu;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cpu::cpu_s;

/// A number from the environment.
pub fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A dashboard, ended when it is dropped.
pub struct Served {
    process: Child,
    /// Where its pages are.
    pub pages: String,
    /// Where it takes OTLP over HTTP.
    pub otlp: String,
    /// Where it takes OTLP over gRPC, as host and port.
    pub otlp_grpc: String,
}

impl Served {
    /// Starts one on free ports, with its store in a folder and the variables that it is told.
    pub fn start(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_throughline"))
            .current_dir(folder)
            .args(["dashboard", "--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0"])
            .arg("--otlp-http=127.0.0.1:0")
            .args(arguments)
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let mut lines = lines.map_while(Result::ok);
        let (mut pages, mut otlp, mut otlp_grpc) = (String::new(), String::new(), String::new());
        while pages.is_empty() || otlp.is_empty() || otlp_grpc.is_empty() {
            let line = lines.next().expect("it says where it listens");
            if let Some((_, address)) = line.split_once("pages on ") {
                pages = address.trim().to_owned();
            } else if let Some((_, address)) = line.split_once("OTLP over HTTP on ") {
                otlp = format!("http://{}", address.trim());
            } else if let Some((_, address)) = line.split_once("OTLP over gRPC on ") {
                otlp_grpc = address.trim().to_owned();
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, pages, otlp, otlp_grpc }
    }

    /// CPU seconds so far.
    pub fn cpu(&self) -> f64 {
        cpu_s(&self.process.id().to_string())
    }

    /// The most memory so far, in MiB.
    pub fn most_memory(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
