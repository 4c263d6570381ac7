//! Where a store is, as it stands in the settings.

use std::path::PathBuf;
use std::str::FromStr;

use super::OpenError;
use super::postgres::PostgresUrl;

/// Where the data is. Neither `Debug` nor the words of an error show a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresUrl),
}

impl Location {
    /// Refuses a file that is not there, where none is to be made.
    pub(super) fn must_exist(&self) -> Result<(), OpenError> {
        match self {
            Location::Sqlite(path) if !path.exists() => {
                Err(OpenError::Missing { path: path.display().to_string() })
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            // What is wrong in it is said when it is opened: here the whole text would be shown with it.
            return Ok(Location::Postgres(PostgresUrl::new(text)));
        }
        let path = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
        match path {
            Some("") => Err("a file is missing: sqlite://FILE, such as sqlite://throughline.db".into()),
            Some(path) => Ok(Location::Sqlite(path.into())),
            None => Err("use sqlite://FILE, such as sqlite://throughline.db, \
                         or postgres://USER:PASSWORD@HOST:PORT/DATABASE"
                .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_kinds_and_shows_no_password() {
        assert_eq!("sqlite://a/b.db".parse(), Ok(Location::Sqlite("a/b.db".into())));
        for wrong in ["sqlite://", "mysql://x", "throughline.db"] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
        for given in ["postgres://ann:secret@db.example/shop", "postgresql://ann:secret@db.example/shop"] {
            let location: Location = given.parse().expect("an address");
            let Location::Postgres(url) = &location else { panic!("{location:?}") };
            assert_eq!(url.to_string(), "postgres://ann@db.example:5432/shop");
            assert!(!format!("{location:?}").contains("secret"), "{location:?}");
        }
    }
}
