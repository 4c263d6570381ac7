//! Deployments: a service is ended and started again as another version, where a scenario wants it, and back.

use std::collections::HashMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::plan::Plan;
use super::process::{Kept, Process};
use super::say;
use crate::demo::scenarios::Switches;
use crate::demo::shop::ServiceName;

/// How often scenarios are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Keeps each service at the version that it is to have, until `stop`.
pub(super) async fn watch(
    plan: &Plan,
    switches: &Switches,
    services: &mut Vec<(ServiceName, Kept)>,
    stop: &CancellationToken,
) {
    let mut versions: HashMap<ServiceName, &'static str> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        for at in 0..services.len() {
            let name = services[at].0;
            let wanted = switches.version(name);
            if wanted == versions.get(&name).copied() {
                continue;
            }
            let (name, kept) = services.remove(at);
            kept.end().await;
            match Process::start(name.text(), plan.service(name, wanted)) {
                Ok(process) => {
                    let version = wanted.unwrap_or(env!("CARGO_PKG_VERSION"));
                    say(&format!("{} is deployed as {version}", name.text()));
                    services.insert(at, (name, Kept::new(process)));
                    match wanted {
                        Some(version) => versions.insert(name, version),
                        None => versions.remove(&name),
                    };
                }
                // Nothing else starts either then; the others go on.
                Err(error) => {
                    say(&format!("{error:#}"));
                    break;
                }
            }
        }
    }
}
