//! One child: starting it, waiting until it is ready, restarting it when it crashes, ending it.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{say, token};
use crate::comms::retry::Backoff;
use crate::comms::security::Tls;

/// How long a child may take to be ready.
const START: Duration = Duration::from_secs(30);
/// How long a child may take to end before it is killed.
const END: Duration = Duration::from_secs(12);
/// A child that ran this long has started well; the next crash waits the shortest time again.
const STEADY: Duration = Duration::from_secs(30);

const RESTARTS: Backoff =
    Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(15), retries: 6 };

/// What a child is told.
#[derive(Clone)]
pub(super) struct Told {
    pub arguments: Vec<String>,
    /// Variables, for what other users of the machine are not to see.
    pub variables: Vec<(&'static str, String)>,
}

/// A running child.
pub(super) struct Process {
    name: &'static str,
    told: Told,
    child: Child,
    /// The other end of the child's standard input. Not left with `child`, whose `wait` would close it.
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts this executable, told something else.
    ///
    /// # Errors
    /// The system starts no further process.
    pub fn start(name: &'static str, told: Told) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("cannot find this executable")?;
        let mut command = Command::new(executable);
        command
            .args(&told.arguments)
            .envs(told.variables.iter().cloned())
            .stdin(Stdio::piped())
            .kill_on_drop(true);
        // Apart from the terminal's group: Ctrl-C is the supervisor's, which ends children in order.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let lifeline = child.stdin.take();
        Ok(Self { name, told, child, lifeline })
    }

    /// Waits until `url` answers with success; a certificate is shown where it asks for one.
    ///
    /// # Errors
    /// The child ended, or took too long.
    pub async fn ready(&mut self, url: &str, tls: Option<&Tls>) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy();
        let client = match tls {
            Some(tls) => client.tls_backend_preconfigured(tls.client_config()?),
            None => client,
        };
        let client = client.build()?;
        let answers = async {
            let mut interval = tokio::time::interval(Duration::from_millis(25));
            loop {
                interval.tick().await;
                if client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
            }
        };
        tokio::select! {
            () = answers => Ok(()),
            status = self.child.wait() => {
                anyhow::bail!("{} ended before it was ready ({})", self.name, describe(status))
            }
            () = tokio::time::sleep(START) => {
                anyhow::bail!("{} was not ready within {} s", self.name, START.as_secs())
            }
        }
    }

    /// Lets the child drain and end; kills it when it takes too long.
    pub async fn end(mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        drop(self.lifeline.take());
        match tokio::time::timeout(END, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(status) => say(&format!("{} ended badly ({})", self.name, describe(status))),
            Err(_) => {
                say(&format!("{} did not end within {} s and is killed", self.name, END.as_secs()));
                if let Err(error) = self.child.kill().await {
                    say(&format!("{} cannot be killed: {error}", self.name));
                }
            }
        }
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// A child under watch: started again whenever it ends by itself.
pub(super) struct Kept {
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Kept {
    pub fn new(process: Process) -> Self {
        let end = token();
        let task = tokio::spawn(keep(process, end.clone()));
        Self { end, task }
    }

    /// Ends the child and waits for it.
    pub async fn end(self) {
        self.end.cancel();
        if let Err(error) = self.task.await {
            say(&format!("a child's watch failed: {error}"));
        }
    }
}

async fn keep(mut process: Process, end: CancellationToken) {
    let mut waits = RESTARTS.delays();
    loop {
        let started = Instant::now();
        let status = tokio::select! {
            status = process.child.wait() => status,
            () = end.cancelled() => return process.end().await,
        };
        if started.elapsed() > STEADY {
            waits = RESTARTS.delays();
        }
        let wait = waits.next().unwrap_or(RESTARTS.longest);
        let (name, how) = (process.name, describe(status));
        say(&format!("{name} ended by itself ({how}); starting it again in {} ms", wait.as_millis()));
        let again = loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = end.cancelled() => return,
            }
            match Process::start(name, process.told.clone()) {
                Ok(again) => break again,
                Err(error) => say(&format!("{error:#}; trying again")),
            }
        };
        process = again;
    }
}
