//! What is written: each function is one transaction, or a step that may be the last.

use sqlx::{Connection, PgConnection};

use super::super::backend::{STEP, Seal};
use super::super::block::ItemKind;
use super::super::pace::{portion, timed};
use super::super::run::RunMeta;
use super::samples;

/// One statement, hence one transaction and one round trip; gives the first block's ID.
pub(super) async fn commit(connection: &mut PgConnection, blocks: Vec<Vec<u8>>) -> Result<u64, sqlx::Error> {
    let room = blocks.len() as i64 * STEP as i64;
    let first: Option<i64> = sqlx::query_scalar(
        "WITH given AS (
             UPDATE throughline.counter SET value = value + $1 WHERE name = 'next_block'
             RETURNING value - $1 AS first
         ), stored AS (
             INSERT INTO throughline.block (id, data)
             SELECT given.first + $2 * (sent.place - 1), sent.data
             FROM given, unnest($3::bytea[]) WITH ORDINALITY AS sent (data, place)
         )
         SELECT first FROM given",
    )
    .bind(room)
    .bind(STEP as i64)
    .bind(blocks)
    .fetch_optional(connection)
    .await?;
    let lost = || sqlx::Error::Decode("the counter of the blocks is missing".into());
    first.map(|first| first as u64).ok_or_else(lost)
}

/// Writes a run where the tail still begins with its first block.
pub(super) async fn seal(
    connection: &mut PgConnection,
    seal: Seal,
    rest: Vec<u8>,
) -> Result<(), sqlx::Error> {
    let meta = &seal.run.meta;
    let mut tx = connection.begin().await?;
    let moved =
        sqlx::query("UPDATE throughline.counter SET value = $1 WHERE name = 'first_of_tail' AND value = $2")
            .bind(meta.last_block as i64 + 1)
            .bind(meta.first_block as i64)
            .execute(&mut *tx)
            .await?;
    if moved.rows_affected() != 1 {
        return Err(sqlx::Error::Protocol("another dashboard has sealed the same tail".into()));
    }
    insert_blocks(&mut tx, seal.blocks).await?;
    let replaced: Vec<i64> = seal.replaced.iter().map(|id| *id as i64).collect();
    let replaced =
        sqlx::query("INSERT INTO throughline.replaced (id) SELECT unnest($1::bigint[])").bind(replaced);
    timed("replaced", replaced.execute(&mut *tx)).await?;
    let pages = "INSERT INTO throughline.run_page (run, number, data)
                 SELECT $1, $2 + place::integer - 1, data
                 FROM unnest($3::bytea[]) WITH ORDINALITY AS sent (data, place)";
    let chunks = "INSERT INTO throughline.run_chunk (run, number, data)
                  SELECT $1, $2 + place::integer - 1, data
                  FROM unnest($3::bytea[]) WITH ORDINALITY AS sent (data, place)";
    let own = [&seal.run.pages, &seal.run.chunks].into_iter().flatten().map(Vec::len).sum::<usize>();
    insert_parts(&mut tx, pages, meta.id, seal.run.pages).await?;
    insert_parts(&mut tx, chunks, meta.id, seal.run.chunks).await?;
    let mut chunks = seal.samples;
    while !chunks.is_empty() {
        let portion = portion(&mut chunks, |chunk| chunk.data.len());
        timed("samples", samples::insert(&mut tx, portion)).await?;
    }
    timed("run", insert_run(&mut tx, meta, own + rest.len(), rest)).await?;
    next_version(&mut tx).await?;
    timed("commit", tx.commit()).await
}

/// Blocks that were packed anew.
async fn insert_blocks(tx: &mut PgConnection, mut blocks: Vec<(u64, Vec<u8>)>) -> Result<(), sqlx::Error> {
    while !blocks.is_empty() {
        let (ids, data): (Vec<i64>, Vec<Vec<u8>>) = portion(&mut blocks, |(_, data)| data.len())
            .into_iter()
            .map(|(id, data)| (id as i64, data))
            .unzip();
        let insert =
            "INSERT INTO throughline.block (id, data) SELECT * FROM unnest($1::bigint[], $2::bytea[])";
        timed("blocks", sqlx::query(insert).bind(ids).bind(data).execute(&mut *tx)).await?;
    }
    Ok(())
}

/// Pages or chunks of a run, under their numbers.
async fn insert_parts(
    tx: &mut PgConnection,
    statement: &'static str,
    run: u64,
    mut parts: Vec<Vec<u8>>,
) -> Result<(), sqlx::Error> {
    let mut number = 0;
    while !parts.is_empty() {
        let portion = portion(&mut parts, Vec::len);
        let count = portion.len() as i32;
        let insert = sqlx::query(statement).bind(run as i64).bind(number).bind(portion);
        timed("parts", insert.execute(&mut *tx)).await?;
        number += count;
    }
    Ok(())
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

/// Removes a run's row, so that no reader is led to what is going.
pub(super) async fn drop_run(connection: &mut PgConnection, run: u64) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::query("DELETE FROM throughline.run WHERE id = $1").bind(run as i64).execute(&mut *tx).await?;
    next_version(&mut tx).await?;
    tx.commit().await
}

/// Counts a kind of a run no more; `ids` are the blocks that hold it.
pub(super) async fn forget(
    connection: &mut PgConnection,
    run: u64,
    kind: ItemKind,
    ids: Vec<u64>,
) -> Result<(), sqlx::Error> {
    let statement = match kind {
        ItemKind::Span => "UPDATE throughline.run SET spans = 0, bytes = bytes - $2 WHERE id = $1",
        ItemKind::Log => "UPDATE throughline.run SET logs = 0, bytes = bytes - $2 WHERE id = $1",
    };
    let mut tx = connection.begin().await?;
    let bytes: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(octet_length(data)), 0)::bigint FROM throughline.block WHERE id = ANY($1)
         AND NOT EXISTS (SELECT FROM throughline.replaced WHERE replaced.id = block.id)",
    )
    .bind(signed(ids))
    .fetch_one(&mut *tx)
    .await?;
    sqlx::query(statement).bind(run as i64).bind(bytes).execute(&mut *tx).await?;
    next_version(&mut tx).await?;
    tx.commit().await
}

fn signed(ids: Vec<u64>) -> Vec<i64> {
    ids.into_iter().map(|id| id as i64).collect()
}

/// Tells all dashboards that the runs have changed.
async fn next_version(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE throughline.counter SET value = value + 1 WHERE name = 'version'")
        .execute(tx)
        .await
        .map(drop)
}

/// What is removed of a range of IDs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Going {
    Pages,
    Chunks,
    Blocks,
}

/// Removes some rows of what belongs to a range of IDs; gives how many.
pub(super) async fn drop_some(
    connection: &mut PgConnection,
    what: Going,
    (first, last): (u64, u64),
    most: u32,
) -> Result<u64, sqlx::Error> {
    let statement = match what {
        Going::Pages => {
            "DELETE FROM throughline.run_page WHERE (run, number) IN
                 (SELECT run, number FROM throughline.run_page WHERE run BETWEEN $1 AND $2 LIMIT $3)"
        }
        Going::Chunks => {
            "DELETE FROM throughline.run_chunk WHERE (run, number) IN
                 (SELECT run, number FROM throughline.run_chunk WHERE run BETWEEN $1 AND $2 LIMIT $3)"
        }
        Going::Blocks => {
            "WITH going AS (
                 SELECT id FROM throughline.block WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3
             ), forgotten AS (
                 DELETE FROM throughline.replaced USING going WHERE replaced.id = going.id
             )
             DELETE FROM throughline.block USING going WHERE block.id = going.id"
        }
    };
    let statement = sqlx::query(statement).bind(first as i64).bind(last as i64).bind(i64::from(most));
    statement.execute(connection).await.map(|removed| removed.rows_affected())
}

/// Removes blocks by their IDs.
pub(super) async fn drop_listed(connection: &mut PgConnection, ids: Vec<u64>) -> Result<(), sqlx::Error> {
    let statement = "DELETE FROM throughline.block WHERE id = ANY($1)";
    sqlx::query(statement).bind(signed(ids)).execute(connection).await.map(drop)
}

/// Removes blocks that were packed anew a minute ago: by now every dashboard that is alive knows where their items
/// lie.
pub(super) async fn drop_replaced(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH old AS (
             DELETE FROM throughline.replaced WHERE at < now() - interval '1 minute' RETURNING id
         )
         DELETE FROM throughline.block USING old WHERE block.id = old.id",
    )
    .execute(connection)
    .await
    .map(drop)
}
