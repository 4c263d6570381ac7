//! Many blobs in one row.
//!
//! SQLite works in a thread of its own here, and each row that comes out of it wakes who waits for it: of a search that
//! reads forty blobs those wake-ups were a third. So they are put behind one another, with a list of their IDs and lengths
//! beside them. Blobs that are joined are text to SQLite, which looks at none of its bytes, and the cast makes a blob of
//! it again; the database is UTF-8, as every one is that nobody made otherwise.

use sqlx::{AssertSqlSafe, Row};

use super::readers::Readers;

/// A row's ID and its blob.
type Blob = (i64, Vec<u8>);

/// Rows of a table of blobs by their IDs, in no order.
pub(super) async fn listed(
    readers: &Readers,
    table: &'static str,
    ids: impl Iterator<Item = i64>,
) -> Result<Vec<Blob>, sqlx::Error> {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    // One text instead of a parameter each: then the statement is the same every time, and is kept.
    let statement = joined(table, "id IN (SELECT value FROM json_each(?))");
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(format!("[{}]", ids.join(",")))
        .fetch_one(&mut *readers.one().await)
        .await?;
    apart(row.try_get(0)?, row.try_get(1)?)
}

/// Rows of a table of blobs whose IDs are in a range, both ends included, in order.
pub(super) async fn between(
    readers: &Readers,
    table: &'static str,
    first: i64,
    last: i64,
) -> Result<Vec<Blob>, sqlx::Error> {
    let statement = joined(table, "id BETWEEN ? AND ?");
    let row = sqlx::query(AssertSqlSafe(statement))
        .bind(first)
        .bind(last)
        .fetch_one(&mut *readers.one().await)
        .await?;
    let mut found = apart(row.try_get(0)?, row.try_get(1)?)?;
    found.sort_unstable_by_key(|(id, _)| *id);
    Ok(found)
}

fn joined(table: &str, condition: &str) -> String {
    format!(
        "SELECT group_concat(id || ' ' || octet_length(data)), CAST(group_concat(data, '') AS BLOB)
         FROM {table} WHERE {condition}"
    )
}

/// Undoes what [`joined`] does.
fn apart(list: Option<&str>, data: Option<&[u8]>) -> Result<Vec<Blob>, sqlx::Error> {
    let (list, mut rest) = (list.unwrap_or_default(), data.unwrap_or_default());
    let other = || sqlx::Error::Decode("joined blobs are not as long as their list says".into());
    let mut blob = |item: &str| -> Option<Blob> {
        let (id, length) = item.split_once(' ')?;
        let (blob, after) = rest.split_at_checked(length.parse().ok()?)?;
        rest = after;
        Some((id.parse().ok()?, blob.to_vec()))
    };
    let items = list.split(',').filter(|item| !item.is_empty());
    let found = items.map(|item| blob(item).ok_or_else(other)).collect::<Result<Vec<_>, _>>()?;
    if rest.is_empty() { Ok(found) } else { Err(other()) }
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    use super::*;

    #[tokio::test]
    async fn blobs_come_out_as_they_went_in_whatever_their_bytes_are() {
        let folder = tempfile::tempdir().unwrap();
        let options =
            SqliteConnectOptions::new().filename(folder.path().join("a.db")).create_if_missing(true);
        let mut writer = options.connect().await.unwrap();
        let table = sqlx::query("CREATE TABLE block (id INTEGER PRIMARY KEY, data BLOB NOT NULL)");
        table.execute(&mut writer).await.unwrap();
        let readers = Readers::open(&options).await.unwrap();
        // Every byte, zeros, what no text has, nothing at all, and more than lies in one page.
        let all: Vec<u8> = (0..=255).collect();
        let blobs = [
            (2, all.clone()),
            (4, vec![0; 3]),
            (5, Vec::new()),
            (-6, vec![0xc3, 0x28, 0xff, 0]),
            (i64::MAX, all.repeat(900)),
            (8, b",1 2".to_vec()),
        ];
        for (id, data) in &blobs {
            let insert = sqlx::query("INSERT INTO block VALUES (?, ?)").bind(id).bind(data);
            insert.execute(&mut writer).await.unwrap();
        }
        // What another program made of one may be a text with zeros in it.
        let text = sqlx::query("INSERT INTO block VALUES (9, x'61' || x'00' || x'62ff')");
        text.execute(&mut writer).await.unwrap();
        assert_eq!(listed(&readers, "block", [9].into_iter()).await.unwrap(), [(9, b"a\0b\xff".to_vec())]);
        sqlx::query("DELETE FROM block WHERE id = 9").execute(&mut writer).await.unwrap();
        let mut found = listed(&readers, "block", blobs.iter().map(|(id, _)| *id).chain([7])).await.unwrap();
        let mut wanted = blobs.to_vec();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
        assert_eq!(between(&readers, "block", i64::MIN, i64::MAX).await.unwrap(), wanted);
        assert_eq!(between(&readers, "block", 4, 5).await.unwrap(), wanted[2..4]);
        assert_eq!(between(&readers, "block", 6, 7).await.unwrap(), []);
        assert_eq!(listed(&readers, "block", [].into_iter()).await.unwrap(), []);
        assert_eq!(listed(&readers, "block", [7].into_iter()).await.unwrap(), []);
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        assert_eq!(apart(Some("1 2,3 0"), Some(&[7, 8])).unwrap(), [(1, vec![7, 8]), (3, Vec::new())]);
        for (list, data) in [("1 2", &[7][..]), ("1 2", &[7, 8, 9]), ("1", &[7]), ("x 1", &[7]), ("", &[7])] {
            assert!(apart(Some(list), Some(data)).is_err(), "{list:?}");
        }
    }
}
