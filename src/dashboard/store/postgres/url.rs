//! The address of a PostgreSQL database, which may hold a password that nothing is to show.

use std::fmt;
use std::str::FromStr;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with sqlx's parameters such as `sslmode=verify-full`, or
/// `postgres://USER@localhost/DATABASE?host=/run/postgresql` for a socket. What is left out is taken from libpq's variables.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

impl PostgresUrl {
    /// Takes an address as it was given; what is wrong in it is said when it is opened.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// What to connect with; `None` where it is no address.
    pub(super) fn options(&self) -> Option<PgConnectOptions> {
        let options = PgConnectOptions::from_str(&self.0).ok()?;
        Some(options.application_name("throughline").disable_statement_logging())
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(options) = self.options() else { return f.write_str("postgres://…") };
        let (user, database) = (options.get_username(), options.get_database());
        let database = database.unwrap_or(user);
        match options.get_socket() {
            Some(socket) => write!(f, "postgres://{user}@localhost/{database}?host={}", socket.display()),
            None => write!(f, "postgres://{user}@{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
