//! Seals: megabytes in one transaction, brought to disk while it is written and not all at its end.
//!
//! PostgreSQL's log is one file after the other, and a commit waits until all before it is on disk: whatever a long
//! transaction has written, a sender's commit would pay for. So after every megabyte a connection beside it commits next to
//! nothing, which takes what came before along. What is written stays invisible until the seal's own commit.

use sqlx::postgres::PgPool;
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use super::super::backend::Seal;
use super::super::pace::{portion, timed};
use super::super::run::RunMeta;
use super::super::series::chunk::NewChunk;
use super::{samples, with, writes};

/// Bytes of a seal that wait for the disk at once. Decides how long a sender's commit may have to wait.
const AT_ONCE: usize = 1 << 20;

/// Writes a run where the tail still begins with its first block. `beside` are connections that are not the keeper's.
pub(super) async fn seal(
    connection: &mut PgConnection,
    beside: &PgPool,
    seal: Seal,
    rest: Vec<u8>,
) -> Result<(), sqlx::Error> {
    let meta = &seal.run.meta;
    let mut sealing = Sealing { tx: connection.begin().await?, beside, waiting: 0 };
    sealing.move_tail(meta).await?;
    sealing.blocks(seal.blocks).await?;
    sealing.replaced(seal.replaced).await?;
    let pages = "INSERT INTO throughline.run_page (run, number, data)
                 SELECT $1, $2 + place::integer - 1, data
                 FROM unnest($3::bytea[]) WITH ORDINALITY AS sent (data, place)";
    let chunks = "INSERT INTO throughline.run_chunk (run, number, data)
                  SELECT $1, $2 + place::integer - 1, data
                  FROM unnest($3::bytea[]) WITH ORDINALITY AS sent (data, place)";
    let own = [&seal.run.pages, &seal.run.chunks].into_iter().flatten().map(Vec::len).sum::<usize>();
    sealing.parts(pages, meta.id, seal.run.pages).await?;
    sealing.parts(chunks, meta.id, seal.run.chunks).await?;
    sealing.samples(seal.samples).await?;
    let bytes = own + rest.len();
    sealing.wrote(rest.len()).await?;
    let mut tx = sealing.tx;
    timed("run", insert_run(&mut tx, meta, bytes, rest)).await?;
    writes::next_version(&mut tx).await?;
    timed("commit", tx.commit()).await
}

/// A transaction, and what of it may not be on disk yet.
struct Sealing<'a> {
    tx: Transaction<'a, Postgres>,
    beside: &'a PgPool,
    waiting: usize,
}

impl Sealing<'_> {
    /// So many bytes were written.
    async fn wrote(&mut self, bytes: usize) -> Result<(), sqlx::Error> {
        self.waiting += bytes;
        if self.waiting < AT_ONCE {
            return Ok(());
        }
        self.waiting = 0;
        // A message that nobody decodes: the least that makes a commit wait for the disk.
        let message = "SELECT pg_logical_emit_message(true, 'throughline', '')";
        let commit = with(self.beside, move |connection| {
            Box::pin(async move { sqlx::query(message).execute(connection).await })
        });
        timed("to disk", commit).await.map(drop)
    }

    async fn move_tail(&mut self, meta: &RunMeta) -> Result<(), sqlx::Error> {
        let moved = sqlx::query(
            "UPDATE throughline.counter SET value = $1 WHERE name = 'first_of_tail' AND value = $2",
        )
        .bind(meta.last_block as i64 + 1)
        .bind(meta.first_block as i64)
        .execute(&mut *self.tx)
        .await?;
        match moved.rows_affected() {
            1 => Ok(()),
            _ => Err(sqlx::Error::Protocol("another dashboard has sealed the same tail".into())),
        }
    }

    /// Blocks that were packed anew.
    async fn blocks(&mut self, mut blocks: Vec<(u64, Vec<u8>)>) -> Result<(), sqlx::Error> {
        let insert =
            "INSERT INTO throughline.block (id, data) SELECT * FROM unnest($1::bigint[], $2::bytea[])";
        while !blocks.is_empty() {
            let (ids, data): (Vec<i64>, Vec<Vec<u8>>) = portion(&mut blocks, |(_, data)| data.len())
                .into_iter()
                .map(|(id, data)| (id as i64, data))
                .unzip();
            let bytes = data.iter().map(Vec::len).sum();
            timed("blocks", sqlx::query(insert).bind(ids).bind(data).execute(&mut *self.tx)).await?;
            self.wrote(bytes).await?;
        }
        Ok(())
    }

    /// The blocks in whose place others were packed.
    async fn replaced(&mut self, ids: impl IntoIterator<Item = u64>) -> Result<(), sqlx::Error> {
        let ids: Vec<i64> = ids.into_iter().map(|id| id as i64).collect();
        let insert =
            sqlx::query("INSERT INTO throughline.replaced (id) SELECT unnest($1::bigint[])").bind(ids);
        timed("replaced", insert.execute(&mut *self.tx)).await.map(drop)
    }

    /// Pages or chunks of a run, under their numbers.
    async fn parts(
        &mut self,
        statement: &'static str,
        run: u64,
        mut parts: Vec<Vec<u8>>,
    ) -> Result<(), sqlx::Error> {
        let mut number = 0;
        while !parts.is_empty() {
            let portion = portion(&mut parts, Vec::len);
            let (count, bytes) = (portion.len() as i32, portion.iter().map(Vec::len).sum());
            let insert = sqlx::query(statement).bind(run as i64).bind(number).bind(portion);
            timed("parts", insert.execute(&mut *self.tx)).await?;
            self.wrote(bytes).await?;
            number += count;
        }
        Ok(())
    }

    async fn samples(&mut self, mut chunks: Vec<NewChunk>) -> Result<(), sqlx::Error> {
        while !chunks.is_empty() {
            let portion = portion(&mut chunks, |chunk| chunk.data.len());
            let bytes = portion.iter().map(|chunk| chunk.data.len()).sum();
            timed("samples", samples::insert(&mut self.tx, portion)).await?;
            self.wrote(bytes).await?;
        }
        Ok(())
    }
}

async fn insert_run(
    tx: &mut PgConnection,
    meta: &RunMeta,
    own: usize,
    rest: Vec<u8>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO throughline.run
             (id, first_block, last_block, min_start, max_start, sealed, entries, spans, logs, rest, bytes)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 + coalesce(sum(octet_length(data)), 0)
         FROM throughline.block WHERE id BETWEEN $2 AND $3
              AND NOT EXISTS (SELECT FROM throughline.replaced WHERE replaced.id = block.id)",
    )
    .bind(meta.id as i64)
    .bind(meta.first_block as i64)
    .bind(meta.last_block as i64)
    .bind(meta.min_start as i64)
    .bind(meta.max_start as i64)
    .bind(meta.sealed as i64)
    .bind(meta.entries as i32)
    .bind(meta.spans as i64)
    .bind(meta.logs as i64)
    .bind(rest)
    .bind(own as i64)
    .execute(tx)
    .await
    .map(drop)
}
