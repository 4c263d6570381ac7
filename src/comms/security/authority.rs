//! An authority for development: certificates for services on this machine, made anew whenever somebody wants to.
//!
//! Not for production: its key lies in a file beside those that it signed.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// Hosts that every certificate holds for, beside its service's own name.
pub const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// An authority that signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
    days: u32,
}

/// A certificate and its key, both as PEM.
#[derive(Clone)]
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Certified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certified").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one, whose certificates hold for so many days from now.
    ///
    /// # Errors
    /// A key cannot be made.
    pub fn new(days: u32) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Of two authorities of one name, who checks says that the signature is wrong, and not that it knows none of these.
        let name = format!("Throughline development authority {}", uuid::Uuid::now_v7().simple());
        params.distinguished_name.push(DnType::CommonName, name);
        (params.not_before, params.not_after) = period(days);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        let text = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, key: text, days })
    }

    /// Its own certificate, as PEM: what others trust it by.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate of a service, as server and as client, for its name, [`LOCAL`] and further hosts.
    ///
    /// # Errors
    /// A host is neither a name nor an address.
    pub fn issue(&self, name: &str, hosts: &[String]) -> anyhow::Result<Certified> {
        self.issue_for(name, hosts, period(self.days))
    }

    /// As [`Self::issue`], with a time of its own: from when until when, in seconds since 1970.
    ///
    /// # Errors
    /// As [`Self::issue`], or the times are none.
    pub fn issue_between(
        &self,
        name: &str,
        hosts: &[String],
        from: i64,
        until: i64,
    ) -> anyhow::Result<Certified> {
        let time = OffsetDateTime::from_unix_timestamp;
        self.issue_for(name, hosts, (time(from)?, time(until)?))
    }

    fn issue_for(
        &self,
        name: &str,
        hosts: &[String],
        (from, until): (OffsetDateTime, OffsetDateTime),
    ) -> anyhow::Result<Certified> {
        let local = LOCAL.iter().map(|host| (*host).to_owned());
        let all: Vec<String> = std::iter::once(name.to_owned()).chain(local).chain(hosts.to_vec()).collect();
        for host in &all {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            let fits = host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.bytes().all(plain));
            anyhow::ensure!(fits, "`{host}` is neither a host's name nor an address");
        }
        let mut params = CertificateParams::new(all)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (from, until);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certified { certificate, key: key.serialize_pem() })
    }

    /// Writes `ca.pem`, `ca.key`, and `NAME.pem` and `NAME.key` for each service, into a folder that only its owner may
    /// look into. Gives what was written. What is there is not overwritten: nothing is written then.
    ///
    /// # Errors
    /// A file is there already or cannot be written; a name cannot be one of a file or a host.
    pub fn write(&self, folder: &Path, names: &[String], hosts: &[String]) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = vec![
            (folder.join("ca.pem"), self.certificate.clone()),
            (folder.join("ca.key"), self.key.clone()),
        ];
        for name in names {
            let plain = !name.is_empty()
                && name != "ca"
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            anyhow::ensure!(plain, "`{name}` is no name of a service: letters, digits and -, and not `ca`");
            let Certified { certificate, key } = self.issue(name, hosts)?;
            files.push((folder.join(format!("{name}.pem")), certificate));
            files.push((folder.join(format!("{name}.key")), key));
        }
        for (path, _) in &files {
            anyhow::ensure!(
                !path.exists(),
                "{} is there already and is not overwritten; remove it or name another folder",
                path.display()
            );
        }
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        for (path, text) in &files {
            write_new(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }
}

/// A file that was not there, for its owner alone.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// From yesterday, as clocks differ.
fn period(days: u32) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - Duration::days(1), now + Duration::days(i64::from(days)))
}
