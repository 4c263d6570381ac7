//! Which queues a message comes to: by bindings with topic patterns, or by a queue's name over the default exchange.

use std::collections::BTreeSet;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// The queues that want a message; an error in words where none does, or where one is full.
pub(super) async fn queues(
    connection: &mut SqliteConnection,
    exchange: &str,
    key: &str,
) -> Result<Result<BTreeSet<String>, String>, sqlx::Error> {
    let queues: BTreeSet<String> = if exchange.is_empty() {
        let found = sqlx::query("SELECT name FROM queue WHERE name = ?").bind(key);
        found.fetch_all(&mut *connection).await?.iter().map(|row| row.get("name")).collect()
    } else {
        let found = sqlx::query("SELECT 1 FROM exchange WHERE name = ?").bind(exchange);
        if found.fetch_optional(&mut *connection).await?.is_none() {
            return Ok(Err(format!("there is no exchange “{exchange}”")));
        }
        let bound = sqlx::query("SELECT pattern, queue FROM binding WHERE exchange = ?").bind(exchange);
        let bound = bound.fetch_all(&mut *connection).await?;
        let fits = bound.iter().filter(|row| matches(&row.get::<String, _>("pattern"), key));
        fits.map(|row| row.get("queue")).collect()
    };
    if queues.is_empty() {
        return Ok(Err(match exchange {
            "" => format!("there is no queue “{key}”"),
            _ => format!("no queue is bound to exchange “{exchange}” for the key “{key}”"),
        }));
    }
    for queue in &queues {
        // A queue with a limit drops its oldest messages for new ones: nothing may be lost by a redrive.
        let full = sqlx::query(
            "SELECT 1 FROM queue q WHERE q.name = ?1 AND q.max_length IS NOT NULL
             AND (SELECT count(*) FROM message m WHERE m.queue = ?1) >= q.max_length",
        );
        if full.bind(queue).fetch_optional(&mut *connection).await?.is_some() {
            return Ok(Err(format!("queue “{queue}” is full")));
        }
    }
    Ok(Ok(queues))
}

/// Whether a topic pattern fits a key: `*` is one word, `#` any number of them.
fn matches(pattern: &str, key: &str) -> bool {
    let words = |text: &str| -> Vec<String> { text.split('.').map(str::to_owned).collect() };
    let (pattern, key) = (words(pattern), words(key));
    // Row by row: whether the first words of the pattern fit the first words of the key.
    let mut fits = vec![false; key.len() + 1];
    fits[0] = true;
    for word in &pattern {
        let mut next = vec![false; key.len() + 1];
        for at in 0..=key.len() {
            next[at] = match word.as_str() {
                "#" => fits[at] || (at > 0 && next[at - 1]),
                "*" => at > 0 && fits[at - 1],
                word => at > 0 && fits[at - 1] && key[at - 1] == word,
            };
        }
        fits = next;
    }
    fits[key.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_fit_as_in_rabbitmq() {
        for (pattern, key, fits) in [
            ("order.placed", "order.placed", true),
            ("order.placed", "order.placed.again", false),
            ("order.*", "order.placed", true),
            ("order.*", "order", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("order.#", "order", true),
            ("*.#.end", "a.end", true),
            ("*.#.end", "a.b.c.end", true),
            ("*.#.end", "end", false),
        ] {
            assert_eq!(matches(pattern, key), fits, "{pattern} {key}");
        }
    }
}
