//! The customers: those who are there from the start, and those who were created.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::open;
use crate::comms::grpc::user::User;
use crate::config::demo::ServiceSettings;

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS users (
    id    TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    name  TEXT NOT NULL,
    role  TEXT NOT NULL
) STRICT, WITHOUT ROWID;";

/// The customers, by ID; cheap to clone.
#[derive(Clone)]
pub struct UserBook {
    pool: SqlitePool,
}

impl UserBook {
    /// Opens the book; who is not in it yet comes in as given.
    ///
    /// # Errors
    /// The database cannot be opened or written.
    pub async fn open(settings: &ServiceSettings, first: impl Iterator<Item = User>) -> anyhow::Result<Self> {
        let pool = open(settings).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
        for user in first {
            sqlx::query(
                "INSERT INTO users (id, email, name, role) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(user.id)
            .bind(user.email)
            .bind(user.name)
            .bind(user.role)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(Self { pool })
    }

    /// # Errors
    /// The database cannot be read.
    pub async fn find(&self, id: &str) -> anyhow::Result<Option<User>> {
        let select = sqlx::query("SELECT id, email, name, role FROM users WHERE id = ?").bind(id);
        Ok(select.fetch_optional(&self.pool).await?.as_ref().map(read))
    }

    /// Those of some IDs that there are, by ID.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn find_all(&self, ids: &[String]) -> anyhow::Result<HashMap<String, User>> {
        let rows = sqlx::query(
            "SELECT id, email, name, role FROM users WHERE id IN (SELECT value FROM json_each(?))",
        )
        .bind(serde_json::to_string(ids)?)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(read).map(|user| (user.id.clone(), user)).collect())
    }

    /// Takes somebody new, unless there are `most` already; whether it did.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn add(&self, user: &User, most: u32) -> anyhow::Result<bool> {
        let added = sqlx::query(
            "INSERT INTO users (id, email, name, role)
             SELECT ?, ?, ?, ? WHERE (SELECT count(*) FROM users) < ?",
        )
        .bind(&user.id)
        .bind(&user.email)
        .bind(&user.name)
        .bind(&user.role)
        .bind(most)
        .execute(&self.pool)
        .await?;
        Ok(added.rows_affected() == 1)
    }
}

fn read(row: &SqliteRow) -> User {
    User { id: row.get("id"), email: row.get("email"), name: row.get("name"), role: row.get("role") }
}
