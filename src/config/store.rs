//! Settings of the commands about a store.

use crate::dashboard::store::Location;

/// Which store.
#[derive(clap::Args, Debug, Clone)]
pub struct StoreSettings {
    /// The store: sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(
        long,
        env = "THROUGHLINE_STORE",
        value_name = "URL",
        default_value = "sqlite://throughline.db",
        hide_env_values = true
    )]
    pub store: Location,
}
