//! What is written: each function is one transaction, or a step that may be the last.

use sqlx::{Connection, PgConnection};

use super::super::backend::STEP;
use super::super::block::ItemKind;

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
pub(super) async fn next_version(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
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
