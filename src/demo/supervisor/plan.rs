//! Which address belongs to whom, checked before anything starts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::process::Told;
use crate::comms::security::{Authority, PublicKey, SigningKey, Tls};
use crate::config::demo::{DemoSettings, address};
use crate::demo::broker::Named;
use crate::demo::documents;
use crate::demo::shop::{self, SERVICES, ServiceName};

/// The demo's certificates are made anew at each start.
const DAYS: u32 = 30;

/// Who listens where, and what each child is told.
pub(super) struct Plan {
    settings: DemoSettings,
    services: HashMap<ServiceName, SocketAddr>,
    /// What the dashboard is told; nothing when there is to be no dashboard.
    pub dashboard: Option<Told>,
    /// What each service signs its tokens with.
    keys: HashMap<ServiceName, SigningKey>,
    /// The supervisor's own certificate, where the services have some.
    pub tls: Option<Tls>,
}

impl Plan {
    /// Takes free ports for 0 and makes sure that the others are free.
    ///
    /// # Errors
    /// A port is in use.
    pub fn new(settings: &DemoSettings) -> anyhow::Result<Self> {
        let mut settings = settings.clone();
        // Held until all are known, so that no free port is taken twice.
        let mut held = Vec::new();
        let mut take = |address: SocketAddr, flag: &str, who: &str| {
            let listener = TcpListener::bind(address)
                .with_context(|| format!("{address} cannot be used for {who}; choose another with {flag}"))?;
            let bound = listener.local_addr()?;
            held.push(listener);
            anyhow::Ok(bound)
        };
        if !settings.no_dashboard {
            settings.listen = take(settings.listen, "--listen", "the dashboard")?;
            settings.otlp_grpc = take(settings.otlp_grpc, "--otlp-grpc", "OTLP over gRPC")?;
            settings.otlp_http = take(settings.otlp_http, "--otlp-http", "OTLP over HTTP")?;
        }
        let mut services = HashMap::new();
        for service in SERVICES {
            let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.ports.of(service.name)));
            let bound = take(wanted, &format!("--{}-port", service.text), service.text)?;
            services.insert(service.name, bound);
        }
        drop(held);
        for key in &settings.trust_key {
            PublicKey::read(key).context("--trust-key (THROUGHLINE_TRUST_KEY)")?;
        }
        let keys = SERVICES.iter().map(|service| Ok((service.name, SigningKey::generate(service.text)?)));
        let keys = keys.collect::<anyhow::Result<_>>()?;
        let tls = settings.mtls.then(|| certificates(&certs(&settings))).transpose()?;
        let mut plan = Self { settings, services, dashboard: None, keys, tls };
        if !plan.settings.no_dashboard {
            plan.dashboard = Some(dashboard(&plan.settings, plan.url(ServiceName::Gateway)));
        }
        Ok(plan)
    }

    /// Where a service is reached.
    pub fn url(&self, name: ServiceName) -> String {
        let address = self.services.get(&name).copied();
        let address = address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, name.port())));
        // Customers have no certificates.
        let tls = self.tls.is_some() && name != ServiceName::Gateway;
        format!("{}://{address}", if tls { "https" } else { "http" })
    }

    pub fn dashboard_url(&self) -> String {
        format!("http://{}", reachable(self.settings.listen))
    }

    pub fn dashboard_ready_url(&self) -> String {
        format!("{}/readyz", self.dashboard_url())
    }

    /// Where the services export to.
    pub fn otlp_endpoint(&self) -> String {
        format!("http://{}", reachable(self.settings.otlp_grpc))
    }

    /// The address of RabbitMQ, where messages go over it.
    pub fn rabbitmq(&self) -> Option<&str> {
        address(self.settings.rabbitmq.as_ref())
    }

    /// The servers of Kafka, where messages go over it.
    pub fn kafka(&self) -> Option<&str> {
        address(self.settings.kafka.as_ref())
    }

    /// Which broker messages go over.
    ///
    /// # Errors
    /// Two are named.
    pub fn broker(&self) -> anyhow::Result<Named> {
        let DemoSettings { rabbitmq_ca, broker, .. } = &self.settings;
        Named::of(self.rabbitmq(), rabbitmq_ca.clone(), self.kafka(), broker)
    }

    /// What a service is told; as another version than its own, where one is named.
    pub fn service(&self, name: ServiceName, version: Option<&str>) -> Told {
        let behaviour = &self.settings.behaviour;
        let url = self.url(name);
        let listen = url.split_once("://").map_or(url.as_str(), |(_, address)| address).to_owned();
        let mut arguments = vec!["service".to_owned(), name.text().to_owned()];
        let flags = [
            ("--listen", listen),
            ("--otlp-endpoint", self.otlp_endpoint()),
            // Whatever the environment says: this is what the dashboard's own address speaks.
            ("--otlp-protocol", "grpc".to_owned()),
            ("--broker", self.settings.broker.clone()),
            ("--shop-data", self.settings.shop_data.display().to_string()),
            ("--orders-url", self.url(ServiceName::Orders)),
            ("--users-url", self.url(ServiceName::Users)),
            ("--payments-url", self.url(ServiceName::Payments)),
            ("--inventory-url", self.url(ServiceName::Inventory)),
            ("--bank-url", self.url(ServiceName::Bank)),
            ("--scenarios", self.settings.scenarios.display().to_string()),
            ("--service-version", version.unwrap_or(env!("CARGO_PKG_VERSION")).to_owned()),
            ("--retry-delay-ms", behaviour.retry_delay_ms.to_string()),
            ("--breaker-wait-ms", behaviour.breaker_wait_ms.to_string()),
            ("--latency", behaviour.latency.to_string()),
            ("--log", self.settings.service_log.clone()),
        ];
        arguments.extend(flags.map(|(flag, value)| format!("{flag}={value}")));
        let ca = self.settings.rabbitmq_ca.as_ref();
        arguments.extend(ca.map(|file| format!("--rabbitmq-ca={}", file.display())));
        arguments.push("--end-with-stdin".to_owned());
        if self.tls.is_some() {
            arguments.push(format!("--certs={}", certs(&self.settings).display()));
        }
        // Its address may hold a password. An empty one keeps a service from what its environment says.
        let broker = self.rabbitmq().unwrap_or_default().to_owned();
        let own = self.keys.get(&name).map(SigningKey::to_secret_text).unwrap_or_default();
        let keys = self.keys.values().map(|key| key.public().to_string());
        let trusted = keys.chain(self.settings.trust_key.iter().cloned()).collect::<Vec<_>>().join(",");
        let variables = vec![
            ("THROUGHLINE_RABBITMQ", broker),
            ("THROUGHLINE_KAFKA", self.kafka().unwrap_or_default().to_owned()),
            ("THROUGHLINE_TOKEN_KEY", own),
            ("THROUGHLINE_TOKEN_TRUST", trusted),
        ];
        Told { arguments, variables }
    }
}

/// Where the demo keeps the certificates of its services.
fn certs(settings: &DemoSettings) -> PathBuf {
    settings.shop_data.join("certs")
}

/// Certificates for all services, in place of those of the last start, and the supervisor's own.
fn certificates(folder: &Path) -> anyhow::Result<Tls> {
    const SUPERVISOR: &str = "supervisor";
    let names: Vec<String> =
        SERVICES.iter().map(|service| service.text).chain([SUPERVISOR]).map(str::to_owned).collect();
    // By name, so that nothing else is lost that somebody put there.
    for name in names.iter().map(String::as_str).chain(["ca"]) {
        for ending in ["pem", "key"] {
            match std::fs::remove_file(folder.join(format!("{name}.{ending}"))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot renew {}", folder.display()));
                }
                _ => {}
            }
        }
    }
    Authority::new(DAYS)?.write(folder, &names, &[])?;
    Tls::load(folder, SUPERVISOR)
}

/// What the dashboard is told; the gateway is where scenarios are switched.
fn dashboard(settings: &DemoSettings, gateway: String) -> Told {
    let flags = [
        ("--listen", settings.listen.to_string()),
        ("--otlp-grpc", settings.otlp_grpc.to_string()),
        ("--otlp-http", settings.otlp_http.to_string()),
        ("--scenarios-url", gateway.clone()),
        ("--log", settings.log.clone()),
    ];
    let mut arguments = vec!["dashboard".to_owned()];
    let rabbitmq = address(settings.rabbitmq.as_ref());
    let is_embedded = rabbitmq.is_none() && address(settings.kafka.as_ref()).is_none();
    // Whose dead letters can be redriven from the pages.
    if is_embedded {
        arguments.push(format!("--embedded-broker={}", settings.broker));
    }
    arguments.extend(flags.map(|(flag, value)| format!("{flag}={value}")));
    arguments.extend(["--demo", "--end-with-stdin"].map(str::to_owned));
    // Customers and people at the dashboard reach the gateway alone.
    for service in &SERVICES {
        let all = documents::of(service.name).into_iter();
        arguments
            .extend(all.map(|(title, path)| format!("--document={}={title}={gateway}{path}", service.text)));
    }
    arguments.extend(settings.dashboard.iter().cloned());
    // Addresses may hold a password.
    let mut variables = vec![("THROUGHLINE_STORE", settings.store.clone())];
    match rabbitmq {
        Some(url) => {
            variables.push(("THROUGHLINE_TAP", url.to_owned()));
            variables.push(("THROUGHLINE_TAP_EXCHANGE", shop::EXCHANGE.to_owned()));
            variables.push(("THROUGHLINE_RABBITMQ_AMQP", url.to_owned()));
        }
        None if is_embedded => variables.push(("THROUGHLINE_TAP", settings.broker.clone())),
        // There is no tap on Kafka.
        None => {}
    }
    Told { arguments, variables }
}

/// An address that one can connect to: a wildcard is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        IpAddr::V6(_) => SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), address.port()),
    }
}
