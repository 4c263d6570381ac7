//! Starting, watching and ending the demo: the dashboard, the eight services, the load.
//!
//! Children are processes of this same executable. Each holds the reading end of a pipe as its standard input
//! and ends when it is closed, so no child outlives the supervisor, not even one that was killed. They end in
//! the order of the flow: load, gateway, orders, the others, and the dashboard last, so that it receives what
//! they have to tell at the end.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | the order of things, what is printed |
//! | `plan.rs` | addresses, checked before anything starts |
//! | `process.rs` | one child: starting, readiness, restarting, ending |
//! | `rollout.rs` | starting services again as another version, where a scenario wants it |

mod plan;
mod process;
mod rollout;

use std::io::Write as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::plan::Plan;
use self::process::{Kept, Process};
use super::broker::Named;
use super::load;
use super::scenarios::{self, Scenario, Switches};
use super::shop::{SERVICES, ServiceName};
use crate::comms::shutdown;
use crate::config::demo::DemoSettings;

/// How long a broker is waited for: it may be starting as well.
const REACH: Duration = Duration::from_secs(5);

/// Runs the demo until the process is asked to end.
///
/// # Errors
/// A port is in use, or a child does not start; everything that was started has ended by then.
pub async fn run(settings: DemoSettings) -> anyhow::Result<()> {
    // For the HTTP clients; a provider that is installed already is kept.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asked = shutdown::wait(false);
    let stop = asked.token();
    let plan = Plan::new(&settings)?;
    let switches = Switches::of(&settings.scenarios);
    switches.clear()?;
    let named = plan.broker()?;
    if !matches!(named, Named::Embedded { .. }) {
        // So that one line says what is wrong, and not each of the services.
        named.connect("demo", Some(REACH)).await?.close().await;
    }
    let mut running = Running::default();
    let started = tokio::select! {
        started = start(&plan, &mut running) => started,
        () = stop.cancelled() => Ok(()),
    };
    if started.is_err() || stop.is_cancelled() {
        running.end().await;
        return started;
    }
    // Named in the settings, which know them all.
    for scenario in settings.scenario.iter().filter_map(|name| scenarios::named(name)) {
        switches.switch_on(scenario, None)?;
    }
    announce(&plan, &settings, &switches)?;
    let customers = load::Customers::new(plan.url(ServiceName::Gateway), switches.clone())?;
    let load = tokio::spawn(load::run(customers, settings.rate, stop.child_token()));
    rollout::watch(&plan, &switches, &mut running.services, &stop).await;
    say("ending: the load stops, the services drain, then the dashboard");
    let load = load.await;
    running.end().await;
    load??;
    Ok(())
}

/// The children, in the order in which they were started.
#[derive(Default)]
struct Running {
    dashboard: Option<Kept>,
    services: Vec<(ServiceName, Kept)>,
}

impl Running {
    /// Ends callers before those they call, and the dashboard last.
    async fn end(&mut self) {
        for caller in [ServiceName::Gateway, ServiceName::Orders] {
            if let Some(at) = self.services.iter().position(|(name, _)| *name == caller) {
                self.services.remove(at).1.end().await;
            }
        }
        futures_util::future::join_all(self.services.drain(..).map(|(_, kept)| kept.end())).await;
        if let Some(dashboard) = self.dashboard.take() {
            dashboard.end().await;
        }
    }
}

/// The dashboard first, so that nothing is told to nobody; then all services at once.
async fn start(plan: &Plan, running: &mut Running) -> anyhow::Result<()> {
    if let Some(told) = &plan.dashboard {
        let mut process = Process::start("dashboard", told.clone())?;
        if let Err(error) = process.ready(&plan.dashboard_ready_url(), None).await {
            process.end().await;
            return Err(error);
        }
        running.dashboard = Some(Kept::new(process));
    }
    let mut processes = Vec::new();
    for service in SERVICES {
        processes.push((service.name, Process::start(service.text, plan.service(service.name, None))?));
    }
    let waits = processes.iter_mut().map(|(name, process)| {
        let url = format!("{}/readyz", plan.url(*name));
        async move { process.ready(&url, plan.tls.as_ref()).await }
    });
    // The first that fails is the one to tell of; the others need not be waited for.
    if let Err(error) = futures_util::future::try_join_all(waits).await {
        futures_util::future::join_all(processes.into_iter().map(|(_, process)| process.end())).await;
        return Err(error);
    }
    running.services = processes.into_iter().map(|(name, process)| (name, Kept::new(process))).collect();
    Ok(())
}

fn announce(plan: &Plan, settings: &DemoSettings, switches: &Switches) -> std::io::Result<()> {
    let rate = settings.rate;
    let mut out = std::io::stdout().lock();
    if plan.dashboard.is_some() {
        writeln!(out, "\nThroughline is at {}\n", plan.dashboard_url())?;
    } else {
        writeln!(out, "\nThe services export to {}\n", plan.otlp_endpoint())?;
    }
    writeln!(out, "  {:<14} {:<24} {:<21} ", "service", "address", "speaks")?;
    for service in SERVICES {
        let url = plan.url(service.name);
        writeln!(out, "  {:<14} {url:<24} {:<21} {}", service.text, service.speaks, service.does)?;
    }
    writeln!(out)?;
    if plan.tls.is_some() {
        writeln!(out, "The services call each other over mutual TLS; the gateway's door is plain.")?;
    }
    if plan.rabbitmq().is_some() {
        writeln!(out, "Messages go over RabbitMQ.")?;
    }
    if plan.kafka().is_some() {
        writeln!(out, "Messages go over Kafka; nothing taps it, so their bodies are not shown.")?;
    }
    if rate > 0.0 {
        writeln!(out, "{rate} orders a second come in; one in ten has a card that is declined.")?;
    }
    let door = plan.url(ServiceName::Gateway);
    writeln!(out, "Things that can go wrong: {}.", scenarios::names().collect::<Vec<_>>().join(", "))?;
    let first = scenarios::SCENARIOS[0].name;
    if plan.dashboard.is_some() {
        writeln!(out, "  {}/scenarios      has a button for each", plan.dashboard_url())?;
    }
    writeln!(out, "  curl -X POST {door}/scenarios/{first}      switches one on, /off behind it off again")?;
    for running in switches.on() {
        let Scenario { title, does, look, lasts, .. } = running.scenario;
        writeln!(out, "\n{title}, for {} s. {does}\nLook at {look}", lasts.as_secs())?;
    }
    writeln!(out, "Ctrl-C ends all of it.")?;
    out.flush()
}

/// Tells the person at the terminal.
fn say(text: &str) {
    eprintln!("demo: {text}");
}

/// A token for a child's end, apart from the supervisor's own.
fn token() -> CancellationToken {
    CancellationToken::new()
}
