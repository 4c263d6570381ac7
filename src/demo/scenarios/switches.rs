//! Which scenarios are on: a small file, written whole, read by all processes of the shop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{Effect, Scenario, named};
use crate::demo::shop::ServiceName;

/// The file is looked at this often at most.
const LOOK: Duration = Duration::from_millis(200);
/// The longest that a scenario may be on.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A scenario that is on.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub scenario: &'static Scenario,
    /// In milliseconds since 1970, as all times here.
    pub since: u64,
    pub until: u64,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    on: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    since: u64,
    until: u64,
}

#[derive(Default)]
struct Seen {
    looked: Option<Instant>,
    on: Vec<Running>,
}

/// The scenarios that are on; cheap to clone.
#[derive(Clone)]
pub struct Switches {
    path: Arc<Path>,
    seen: Arc<Mutex<Seen>>,
}

impl Switches {
    /// Those of a file. It need not be there.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), seen: Arc::default() }
    }

    /// What is on now.
    pub fn on(&self) -> Vec<Running> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            // A file of some hundred bytes, five times a second: not worth a thread.
            match read(&self.path) {
                Ok(on) => seen.on = on,
                Err(error) => tracing::warn!("{error:#}; nothing is switched on or off by it"),
            }
            seen.looked = Some(Instant::now());
        }
        let now = now();
        seen.on.retain(|running| running.until > now);
        seen.on.clone()
    }

    /// The effects that hold now.
    pub fn effects(&self) -> Vec<Effect> {
        self.on().iter().flat_map(|running| running.scenario.effects).copied().collect()
    }

    /// How a request to a service is to fail, if it is: its delay and its status.
    pub fn fault(&self, of: ServiceName, its_version: &str) -> Option<(Duration, u16)> {
        self.effects().into_iter().find_map(|effect| match effect {
            Effect::Fault { service, version, share, after, status }
                if service == of && version.is_none_or(|version| version == its_version) =>
            {
                rand::random_bool(share).then_some((after, status))
            }
            _ => None,
        })
    }

    /// Whether the bank declines whatever it is to charge.
    pub fn declines(&self) -> bool {
        let share = |effect| if let Effect::Decline { share } = effect { Some(share) } else { None };
        self.effects().into_iter().find_map(share).is_some_and(rand::random_bool)
    }

    /// How much longer a message of a queue is to take.
    pub fn delay(&self, of: &str) -> Duration {
        let delay = |effect| match effect {
            Effect::SlowConsumer { queue, by } if queue == of => Some(by),
            _ => None,
        };
        self.effects().into_iter().filter_map(delay).sum()
    }

    /// Whether nobody reaches the broker.
    pub fn broker_is_lost(&self) -> bool {
        self.effects().contains(&Effect::BrokerLost)
    }

    /// The version that a service is to run as, where that is not its usual one.
    pub fn version(&self, of: ServiceName) -> Option<&'static str> {
        self.effects().into_iter().find_map(|effect| match effect {
            Effect::Deployment { service, version } if service == of => Some(version),
            _ => None,
        })
    }

    /// Switches a scenario on, from now, for its usual time or for another.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn switch_on(&self, scenario: &'static Scenario, lasts: Option<Duration>) -> anyhow::Result<Running> {
        let lasts = lasts.unwrap_or(scenario.lasts).min(LONGEST);
        let since = now();
        let running = Running { scenario, since, until: since.saturating_add(lasts.as_millis() as u64) };
        self.change(|on| on.push(running), scenario)?;
        Ok(running)
    }

    /// Switches a scenario off, whether it is on or not.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn switch_off(&self, scenario: &'static Scenario) -> anyhow::Result<()> {
        self.change(|_| {}, scenario)
    }

    /// Switches everything off, for a start from anew.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn clear(&self) -> anyhow::Result<()> {
        self.write(Vec::new())
    }

    /// Takes a scenario out of what is on, and does something with the rest.
    fn change(&self, with: impl FnOnce(&mut Vec<Running>), scenario: &Scenario) -> anyhow::Result<()> {
        // What cannot be read is written anew.
        let mut on = read(&self.path).unwrap_or_default();
        on.retain(|running| running.scenario.name != scenario.name && running.until > now());
        with(&mut on);
        self.write(on)
    }

    /// Whole or not at all: others read at any time.
    fn write(&self, on: Vec<Running>) -> anyhow::Result<()> {
        let entries = on.iter().map(|running| Entry {
            name: running.scenario.name.to_owned(),
            since: running.since,
            until: running.until,
        });
        let text = serde_json::to_vec_pretty(&File { on: entries.collect() })?;
        let beside = self.path.with_extension("new");
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, &self.path))
            .with_context(|| format!("cannot write {} (--scenarios)", self.path.display()))?;
        let seen = Seen { looked: Some(Instant::now()), on };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }
}

/// What the file says; scenarios of another build are left out.
fn read(path: &Path) -> anyhow::Result<Vec<Running>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display()))?,
    };
    let file: File = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a list of scenarios", path.display()))?;
    let known = file.on.into_iter().filter_map(|entry| {
        Some(Running { scenario: named(&entry.name)?, since: entry.since, until: entry.until })
    });
    Ok(known.collect())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(on: &[Running]) -> Vec<&str> {
        on.iter().map(|running| running.scenario.name).collect()
    }

    #[test]
    fn what_one_process_switches_on_another_sees_until_its_time_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenarios.json");
        let writer = Switches::of(&path);
        assert!(writer.on().is_empty(), "no file, nothing on");
        let outage = named("payment-outage").expect("there is one");
        writer.switch_on(outage, None).expect("written");
        writer
            .switch_on(named("traffic-spike").expect("there is one"), Some(Duration::ZERO))
            .expect("written");
        writer.switch_on(outage, None).expect("again is the same");
        let reader = Switches::of(&path);
        assert_eq!(names(&reader.on()), ["payment-outage"], "the other is over at once");
        assert_eq!(reader.fault(ServiceName::Bank, "1"), Some((Duration::from_secs(3), 503)));
        assert_eq!(reader.fault(ServiceName::Orders, "1"), None);
        writer.switch_off(outage).expect("written");
        assert!(writer.on().is_empty() && Switches::of(&path).on().is_empty());
    }

    #[test]
    fn a_broken_file_switches_nothing_and_can_be_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("scenarios.json");
        for text in [
            "",
            "{}",
            "[]",
            "{\"on\": [{\"name\": \"of another build\", \"since\": 0, \"until\": 9999999999999}]}",
        ] {
            std::fs::write(&path, text).expect("written");
            assert!(Switches::of(&path).on().is_empty(), "{text}");
        }
        let switches = Switches::of(&path);
        switches.switch_on(named("bad-deployment").expect("there is one"), None).expect("written");
        assert_eq!(switches.version(ServiceName::Inventory), Some("2.0.0"));
        assert_eq!(switches.version(ServiceName::Orders), None);
        switches.clear().expect("written");
        assert!(Switches::of(&path).on().is_empty());
        let nowhere = Switches::of(folder.path().join("no folder").join("scenarios.json"));
        let error = nowhere.clear().expect_err("no folder");
        assert!(error.to_string().contains("--scenarios"), "{error:#}");
    }
}
