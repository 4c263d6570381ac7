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

/// Which store is packed.
#[derive(clap::Args, Debug, Clone)]
pub struct CompactSettings {
    #[command(flatten)]
    pub store: StoreSettings,

    /// Print what was done as JSON
    #[arg(long, env = "THROUGHLINE_JSON")]
    pub json: bool,
}

/// Which store, and where to.
#[derive(clap::Args, Debug, Clone)]
pub struct CopySettings {
    /// The store to be copied: sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, env = "THROUGHLINE_COPY_FROM", value_name = "URL", hide_env_values = true)]
    pub from: Location,

    /// Where to: a file that is made, or a database without a store in it
    #[arg(long, env = "THROUGHLINE_COPY_TO", value_name = "URL", hide_env_values = true)]
    pub to: Location,

    /// Print what was copied as JSON
    #[arg(long, env = "THROUGHLINE_JSON")]
    pub json: bool,
}
