//! Why a store cannot be opened, in words for whoever started the dashboard.

use super::postgres::PostgresError;

/// Why something cannot be the store. Each text is one line that names it and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot write to the store {path}: {why}; name another file with --store sqlite://FILE")]
    Unwritable { path: String, why: String },
    #[error(
        "the store {path} has no place to be: there is no folder {folder}; make it, or name another file with --store sqlite://FILE"
    )]
    NoFolder { path: String, folder: String },
    #[error(
        "{path} is a database of another program; name another file with --store sqlite://FILE, it will be created"
    )]
    Foreign { path: String },
    #[error(
        "{path} is not a SQLite database; name another file with --store sqlite://FILE, it will be created"
    )]
    NotADatabase { path: String },
    #[error(
        "{path} is in use by another Throughline; end that one, or name another file with --store sqlite://FILE"
    )]
    InUse { path: String },
    #[error(
        "{path} is damaged ({why}); move it away and start again, or restore a copy; nothing was changed in it"
    )]
    Damaged { path: String, why: String },
    #[error(
        "{path} was made by a {age} version of Throughline; open it with that version, or name another file with --store sqlite://FILE; nothing was changed in it"
    )]
    OtherVersion { path: String, age: &'static str },
    #[error("there is no store at {path}; name the file of one")]
    Missing { path: String },
    #[error(
        "{path} is a copy that is not finished; call the same `throughline store copy` again and it goes on, or name another store"
    )]
    Unfinished { path: String },
    #[error("this build has SQLite {0}, which can corrupt its files; build with 3.51.3 or newer")]
    OldSqlite(String),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}
