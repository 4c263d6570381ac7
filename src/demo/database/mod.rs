//! The services' own databases, one SQLite file each, and the only SQL of the shop.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | opening one |
//! | `captures.rs` | what the bank has captured; a key that comes twice captures once |
//! | `counts.rs` | how often each type of message came; one that comes twice counts once |
//! | `ledger.rs` | the book of payments; what became of one and its message are written together |
//! | `orders.rs` | the book of orders; a placed order and its message are written together |
//! | `stock.rs` | what is in stock; a message that comes twice changes it once |
//! | `users.rs` | the customers, those who were created among them |

pub mod captures;
pub mod counts;
pub mod ledger;
pub mod orders;
pub mod stock;
pub mod users;

use std::time::Duration;

use anyhow::Context as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

use crate::comms::queue::outbox::{self, Relay};
use crate::comms::queue::{Failure, Publisher, inbox};
use crate::config::demo::ServiceSettings;

/// Notes of handled messages are kept this long: longer than a message is on its way.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Opens or makes the database of a service.
async fn open(settings: &ServiceSettings) -> anyhow::Result<SqlitePool> {
    let folder = &settings.shop_data;
    let path = folder.join(format!("{}.db", settings.name.text()));
    let connect = async {
        tokio::fs::create_dir_all(folder).await?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(Duration::from_secs(5));
        anyhow::Ok(SqlitePoolOptions::new().max_connections(4).connect_with(options).await?)
    };
    connect.await.with_context(|| format!("cannot open the database {} (--shop-data)", path.display()))
}

/// Opens the database of a service that writes what it does together with the messages that tell of it, makes its tables by
/// `schema`, and gives the relay that sends what is in the outbox.
async fn open_with_outbox(
    settings: &ServiceSettings,
    schema: &'static str,
    publisher: Publisher,
) -> anyhow::Result<(SqlitePool, Relay)> {
    let pool = open(settings).await?;
    sqlx::raw_sql(schema).execute(&pool).await?;
    outbox::prepare(&pool).await?;
    inbox::prepare(&pool).await?;
    inbox::forget(&pool, REMEMBERED).await?;
    let relay = Relay::new(pool.clone(), publisher);
    Ok((pool, relay))
}

/// A database that cannot be written now: the message may succeed later.
fn failure(error: sqlx::Error) -> Failure {
    Failure::transient("database_unavailable", error.to_string())
}
