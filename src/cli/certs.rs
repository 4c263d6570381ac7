//! `throughline certs`: certificates for mutual TLS between services, for development.

use std::io::Write as _;

use crate::comms::security::Authority;
use crate::config::certs::CertsSettings;

/// Makes an authority for development and a certificate for each service, for mutual TLS between them
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    pub settings: CertsSettings,
}

/// Writes the files and says which.
///
/// # Errors
/// A file is there already or cannot be written, or a name cannot be used.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let CertsSettings { folder, days, hosts, names } = &args.settings;
    let written = Authority::new(*days)?.write(folder, names, hosts)?;
    let mut out = std::io::stdout().lock();
    for path in written {
        writeln!(out, "{}", path.display())?;
    }
    writeln!(
        out,
        "They hold for {days} days. NAME.key and ca.key are secrets; whoever has ca.key is any service."
    )?;
    Ok(())
}
