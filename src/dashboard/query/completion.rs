//! What can stand where somebody is typing in the query line: keys, operators and values, out of the newest traces.
//!
//! A store has no list of all its keys, and one of a million values would help nobody: what the newest traces have
//! is what one is looking for, or near to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::language::{self, Typed};
use super::redact;
use crate::dashboard::model::value::Attributes;
use crate::dashboard::model::{Nanos, Value};
use crate::dashboard::store::{Reader, StoreError, TraceFilter};

/// Traces looked at.
const TRACES: usize = 40;
/// Spans looked at, over all of them.
const SPANS: usize = 4_000;
/// Values remembered of a key, and bytes of each.
const VALUES: usize = 200;
const VALUE_LEN: usize = 120;
/// Suggestions given at once.
const MOST: usize = 12;
/// What was learned serves so long.
const AGE: Duration = Duration::from_secs(15);

/// What to offer, and the characters of the line (counted from 0) that it stands for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Suggestions {
    pub from: usize,
    pub to: usize,
    pub items: Vec<String>,
}

/// What the newest traces have, kept for a while: somebody who types asks many times.
#[derive(Default)]
pub struct Vocabulary {
    last: Mutex<Option<(Instant, Arc<Words>)>>,
}

/// Keys as they are written in a query, most frequent first, with their values, most frequent first.
#[derive(Default)]
struct Words {
    keys: Vec<String>,
    values: HashMap<String, Vec<String>>,
    services: Vec<String>,
}

impl Vocabulary {
    /// What can stand at character `at` of a line; `now` ends the time that is looked at.
    pub async fn suggest(
        &self,
        reader: &dyn Reader,
        line: &str,
        at: usize,
        now: Nanos,
    ) -> Result<Suggestions, StoreError> {
        let typed = language::typed(line, at);
        let (from, part) = (typed.from, typed.part);
        let words = self.words(reader, now).await?;
        let all: Vec<String> = match typed.wanted {
            Typed::Key => language::keys().map(str::to_owned).chain(words.keys.iter().cloned()).collect(),
            Typed::Operator => language::OPERATORS.iter().map(|sign| (*sign).to_owned()).collect(),
            Typed::Joint => language::JOINTS.iter().map(|word| (*word).to_owned()).collect(),
            Typed::Value(key) => match language::words_of(&key) {
                [] if key == "service.name" => words.services.clone(),
                [] => words.values.get(&key).cloned().unwrap_or_default(),
                fixed => fixed.iter().map(|word| (*word).to_owned()).collect(),
            },
            Typed::Nothing => Vec::new(),
        };
        Ok(Suggestions { from, to: at, items: chosen(all, &part) })
    }

    async fn words(&self, reader: &dyn Reader, now: Nanos) -> Result<Arc<Words>, StoreError> {
        let mut last = self.last.lock().await;
        if let Some((learned, words)) = &*last
            && learned.elapsed() < AGE
        {
            return Ok(words.clone());
        }
        let words = Arc::new(learn(reader, now).await?);
        *last = Some((Instant::now(), words.clone()));
        Ok(words)
    }
}

/// Those that begin with what was typed, then those that have it in them; nothing where it stands there already.
fn chosen(all: Vec<String>, part: &str) -> Vec<String> {
    let wanted = part.trim_start_matches('"').to_lowercase();
    let plain = |item: &String| item.trim_start_matches('"').to_lowercase();
    let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|item| plain(item).starts_with(&wanted));
    let inside = rest.into_iter().filter(|item| plain(item).contains(&wanted));
    let mut items: Vec<String> = first.into_iter().chain(inside).collect();
    let mut known = std::collections::HashSet::new();
    items.retain(|item| known.insert(item.clone()));
    items.truncate(MOST);
    if items.len() == 1 && items[0] == part { Vec::new() } else { items }
}

async fn learn(reader: &dyn Reader, now: Nanos) -> Result<Words, StoreError> {
    let page = reader.traces(&TraceFilter { limit: TRACES, ..TraceFilter::default() }).await?;
    let mut counts: BTreeMap<String, (usize, HashMap<String, usize>)> = BTreeMap::new();
    let mut add = |key: String, value: Option<String>| {
        let (count, values) = counts.entry(key).or_default();
        *count += 1;
        if let Some(value) = value.filter(|value| value.len() <= VALUE_LEN)
            && (values.len() < VALUES || values.contains_key(&value))
        {
            *values.entry(value).or_default() += 1;
        }
    };
    let mut left = SPANS;
    for row in &page.rows {
        let trace = match reader.trace(row.trace_id).await {
            // Who opens it is told; the others complete what is typed.
            Err(StoreError::Damaged(_)) => continue,
            read => read?,
        };
        let Some(trace) = trace else { continue };
        for span in trace.spans.iter().take(left) {
            add("name".to_owned(), Some(language::value(&span.name)));
            attributes(&span.attributes, "span.", &mut add);
            attributes(&span.resource.attributes, "resource.", &mut add);
            for event in &span.events {
                add("event:name".to_owned(), Some(language::value(&event.name)));
                attributes(&event.attributes, "event.", &mut add);
            }
        }
        if let Some(root) = &row.root {
            add("trace:rootName".to_owned(), Some(language::value(&root.name)));
        }
        left = left.saturating_sub(trace.spans.len());
    }
    let mut words = Words { services: services(reader, now).await?, ..Words::default() };
    let mut keys: Vec<(usize, String)> = Vec::new();
    for (key, (count, values)) in counts {
        let mut values: Vec<(String, usize)> = values.into_iter().collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        words.values.insert(key.clone(), values.into_iter().map(|(value, _)| value).collect());
        keys.push((count, key));
    }
    keys.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    words.keys = keys.into_iter().map(|(_, key)| key).collect();
    Ok(words)
}

async fn services(reader: &dyn Reader, now: Nanos) -> Result<Vec<String>, StoreError> {
    Ok(reader.services(0, now).await?.iter().map(|name| language::value(name)).collect())
}

fn attributes(attributes: &Attributes, scope: &str, add: &mut dyn FnMut(String, Option<String>)) {
    for (key, value) in attributes {
        if key == "service.name" {
            continue;
        }
        let text = match value {
            Value::Text(text) if !redact::shown(key, text).1 => Some(language::value(text)),
            Value::Int(_) | Value::Double(_) | Value::Bool(_) => Some(value.to_text()),
            _ => None,
        };
        add(language::key(scope, key), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fixture::build::NOW;
    use crate::dashboard::fixture::{reader::Memory, shop};

    #[tokio::test]
    async fn keys_and_values_of_the_newest_traces_are_offered() {
        let reader = Memory::new(shop::story(NOW));
        let vocabulary = Vocabulary::default();
        for (line, wanted, completed) in [
            ("serv", "service.name", "service.name"),
            ("status = er", "error", "status = error"),
            ("service.name = pay", "payments", "service.name = payments"),
            ("request.meth", "span.http.request.method", "span.http.request.method"),
            ("span.http.request.method = ", "POST", "span.http.request.method = POST"),
            ("status = error ", "and", "status = error and"),
            ("duration ", ">", "duration >"),
        ] {
            let at = line.chars().count();
            let found = vocabulary.suggest(&reader, line, at, NOW + 1_000_000_000_000).await.unwrap();
            assert!(found.items.iter().any(|item| item == wanted), "{line}: {:?}", found.items);
            let kept: String = line.chars().take(found.from).collect();
            assert_eq!((format!("{kept}{wanted}").as_str(), found.to), (completed, at), "{line}");
        }
        let nothing = vocabulary.suggest(&reader, "span.no.such.key = ", 19, NOW).await.unwrap();
        assert!(nothing.items.is_empty());
    }
}
