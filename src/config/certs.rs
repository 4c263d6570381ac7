//! Settings of `throughline certs`.

use std::path::PathBuf;

use clap::Args;

/// Which certificates to make, and where.
#[derive(Args, Clone, Debug)]
pub struct CertsSettings {
    /// Folder for the files; made for its owner alone where it is not there
    #[arg(long, env = "THROUGHLINE_CERTS", value_name = "FOLDER", default_value = "throughline-certs")]
    pub folder: PathBuf,

    /// For how many days they hold, from 1 to 825
    #[arg(long, env = "THROUGHLINE_CERTS_DAYS", value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=825))]
    pub days: u32,

    /// A further host that each certificate holds for, beside the service's name, localhost, 127.0.0.1 and ::1; may be
    /// given several times
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,

    /// The services; by default those of the demo shop
    #[arg(value_name = "NAME", default_values = ["gateway", "orders", "users", "payments", "inventory", "notifications", "analytics", "bank"])]
    pub names: Vec<String>,
}
