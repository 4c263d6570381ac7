//! Holds the layers of the house: reads what every file of `src` names and compares it with the tables in
//! `layers/rules.rs`. One package cannot keep these borders by itself.

#[path = "layers/rules.rs"]
mod rules;
#[path = "layers/source.rs"]
mod source;

use std::path::{Path, PathBuf};

use rules::{EXCUSED, LAYERS, MAX_LINES, MIGRATIONS, NO_SETTING, OWNED, READS_ENVIRONMENT, SPAWN};
use source::{Named, Source, within};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` that end with `ending`, sorted, from the root of the repository.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut open: Vec<PathBuf> = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                let file = path.strip_prefix(root()).expect("below the root");
                found.push(file.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// What a file breaks, each in a line.
fn breaks(source: &Source) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut broken = |line: usize, what: String| out.push(format!("{}:{line}: {what}", source.file));
    if !source.documented {
        broken(1, "has no module docs: say what lives here and what must not (`//! `)".into());
    }
    if source.lines > MAX_LINES {
        broken(MAX_LINES, format!("has {} lines, more than {MAX_LINES}: split it by idea", source.lines));
    }
    for named in &source.named {
        for layer in LAYERS {
            if source.is_in(layer.room) && !may_use(layer, &named.path) {
                broken(named.line, format!("`{}` may not use `{}`", layer.room, named.path));
            }
        }
        for owned in OWNED {
            if within(&named.path, owned.path) && !owned.rooms.iter().any(|room| source.is_in(room)) {
                broken(named.line, format!("`{}` is not used here: {}", named.path, owned.why));
            }
        }
        let asks =
            within(&named.path, "std::env") && !NO_SETTING.iter().any(|free| within(&named.path, free));
        if asks && !reads_environment(source) {
            broken(named.line, format!("`{}`: only config reads the environment", named.path));
        }
        if is_spawn(source, named) && drops_result(source, named) {
            broken(named.line, format!("the handle of `{}` is dropped: a task has an owner", named.path));
        }
    }
    for line in clap_env(source) {
        if !reads_environment(source) {
            broken(line, "a flag with `env`: only config reads the environment".into());
        }
    }
    out
}

fn may_use(layer: &rules::Layer, path: &str) -> bool {
    let Some(path) = path.strip_prefix("crate::") else { return true };
    let may = within(path, layer.room) || layer.may_use.iter().any(|room| within(path, room));
    may && !layer.never.iter().any(|never| within(path, never))
}

fn reads_environment(source: &Source) -> bool {
    READS_ENVIRONMENT.iter().any(|room| source.is_in(room))
}

/// A spawn by its whole path or by what a `use` made of it: `tokio::spawn`, `task::spawn`, `thread::spawn`.
fn is_spawn(source: &Source, named: &Named) -> bool {
    let called = source.tokens.get(named.end).is_some_and(|token| token.text == "(");
    called && SPAWN.iter().any(|spawn| *spawn == named.path || spawn.ends_with(&format!("::{}", named.path)))
}

/// Whether the call is a statement of its own, or bound to `_`.
fn drops_result(source: &Source, named: &Named) -> bool {
    let text = |at: usize| source.tokens.get(at).map_or("", |token| token.text.as_str());
    let (mut depth, mut at) = (0, named.end);
    loop {
        match text(at) {
            "(" => depth += 1,
            ")" => depth -= 1,
            "" => return false,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    let before = |back: usize| named.begin.checked_sub(back).map_or("", text);
    let statement = matches!(before(1), ";" | "{" | "}" | "") && text(at) == ";";
    statement || (before(1) == "=" && before(2) == "_" && before(3) == "let")
}

/// Lines with `env` as an option of an `#[arg(…)]`.
fn clap_env(source: &Source) -> Vec<usize> {
    let mut lines = Vec::new();
    let mut inside = 0usize;
    for (at, token) in source.tokens.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| source.tokens[at].text.as_str());
        match token.text.as_str() {
            "(" if before(1) == "arg" && before(2) == "[" => inside = 1,
            "(" if inside > 0 => inside += 1,
            ")" if inside > 0 => inside -= 1,
            "env" if inside == 1 && matches!(before(1), "(" | ",") => lines.push(token.line),
            _ => {}
        }
    }
    lines
}

#[test]
fn every_file_keeps_to_its_room() {
    let files = files("src", ".rs");
    let mut broken = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(root().join(file)).expect("a readable file");
        broken.extend(breaks(&Source::read(file, &text)));
    }
    for (file, said, why) in EXCUSED {
        let all = broken.len();
        broken.retain(|line| !(line.starts_with(file) && line.contains(said)));
        assert!(
            broken.len() < all,
            "{file}: excused because {why}, but it breaks nothing: take the line out"
        );
    }
    assert!(broken.is_empty(), "{} rules broken:\n{}", broken.len(), broken.join("\n"));
    for layer in LAYERS {
        let path = format!("src/{}", layer.room.replace("::", "/"));
        let there = |file: &String| *file == format!("{path}.rs") || file.starts_with(&format!("{path}/"));
        assert!(files.iter().any(there), "the rule of `{}` is about nothing: no such room", layer.room);
    }
}

#[test]
fn a_shipped_migration_stays_as_it_is() {
    let fnv = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let found: Vec<(String, u64)> = files("migrations", ".sql")
        .into_iter()
        .map(|file| {
            let sum = fnv(&std::fs::read(root().join(&file)).expect("a readable file"));
            (file, sum)
        })
        .collect();
    for (file, sum) in MIGRATIONS {
        let now = found.iter().find(|(name, _)| name == file).map(|(_, sum)| *sum);
        assert_eq!(now, Some(*sum), "{file} was shipped and must not change or go (its sum now: {now:x?})");
    }
    for (file, sum) in &found {
        let known = MIGRATIONS.iter().any(|(name, _)| name == file);
        assert!(known, "a new migration: add (\"{file}\", {sum:#x}) to MIGRATIONS");
    }
}

/// Each rule is broken once, by a file that is not there, and must be found.
#[test]
fn a_broken_rule_is_found() {
    let cases: &[(&str, &str, &str)] = &[
        ("dashboard/model/a.rs", "use crate::dashboard::store::Reader;", "`dashboard::model` may not use"),
        ("dashboard/model/a.rs", "use super::super::store::{Reader, self};", "crate::dashboard::store"),
        (
            "dashboard/receive/a.rs",
            "use super::super::store::{Ingest, Store};",
            "crate::dashboard::store::Store`",
        ),
        (
            "dashboard/receive/mod.rs",
            "fn a() { super::view::b() }",
            "may not use `crate::dashboard::view::b`",
        ),
        ("dashboard/receive/a.rs", "use sqlx::{Row as _, Column};", "SQL lives behind"),
        (
            "dashboard/store/a.rs",
            "use crate::{cli, dashboard::{model::Span, query::story}};",
            "dashboard::query::story",
        ),
        ("dashboard/store/a.rs", "fn a(b: axum::Router) {}", "know no HTTP"),
        ("dashboard/query/a.rs", "use askama::Template;", "HTML is made in the view"),
        ("dashboard/query/a.rs", "use axum::Router;", "know no HTTP"),
        ("dashboard/query/a.rs", "use crate::dashboard::view::format;", "`dashboard::query` may not use"),
        ("dashboard/view/a.rs", "use sqlx::Row;", "SQL lives behind"),
        (
            "dashboard/view/a.rs",
            "use crate::dashboard::model::{Span, proto::fields};",
            "dashboard::model::proto",
        ),
        (
            "dashboard/view/a.rs",
            "fn a() { crate::dashboard::model::otlp::decode() }",
            "dashboard::model::otlp",
        ),
        (
            "dashboard/a.rs",
            "use crate::comms::queue::Broker;",
            "`dashboard` may not use `crate::comms::queue",
        ),
        ("dashboard/a.rs", "use throughline::demo::shop;", "`dashboard` may not use `crate::demo::shop`"),
        ("demo/a.rs", "use crate::dashboard::model::Span;", "`demo` may not use"),
        ("comms/a.rs", "use crate::telemetry::init;", "`comms` may not use"),
        ("comms/a.rs", "use opentelemetry_sdk::Resource;", "decided in one place"),
        (
            "demo/mod.rs",
            "mod a { fn b() { super::super::cli::run() } }",
            "`demo` may not use `crate::cli::run`",
        ),
        ("cli/a.rs", "fn a() { let _ = std::env::var(\"A\"); }", "only config reads"),
        ("cli/a.rs", "use std::env;", "only config reads"),
        ("cli/a.rs", "struct A { #[arg(long, env = \"A\")] a: u8 }", "only config reads"),
        ("cli/a.rs", "use tokio::sync::mpsc::{self, unbounded_channel};", "a channel has a bound"),
        ("cli/a.rs", "fn a() { tokio::spawn(async { b(); }); }", "a task has an owner"),
        ("cli/a.rs", "fn a() { let _ = tokio::task::spawn(b()); }", "a task has an owner"),
        ("cli/a.rs", "fn a() { use std::thread; thread::spawn(|| b()); }", "a task has an owner"),
    ];
    for (file, code, expected) in cases {
        let found = breaks(&Source::read(&format!("src/{file}"), &format!("//! Docs.\n{code}\n")));
        assert!(found.iter().any(|line| line.contains(expected)), "{file}: {code}\nfound only: {found:#?}");
    }
    let bare = breaks(&Source::read("src/cli/a.rs", "fn a() {}\n"));
    assert!(bare.iter().any(|line| line.contains("no module docs")), "{bare:?}");
}

/// What looks like a break and is none.
#[test]
fn a_kept_rule_is_left_alone() {
    let cases: &[(&str, &str)] = &[
        ("dashboard/store/a.rs", "// use axum::Router;\nfn a() -> &'static str { \"use sqlx::Row;\" }"),
        ("dashboard/store/a.rs", "/* axum::b /* c */ axum::d */ fn a<'x>(b: &'x str) -> char { '\"' }"),
        ("dashboard/store/a.rs", "const A: &str = r#\"axum::b \" axum::c\"#;"),
        ("dashboard/store/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests { use axum::Router; fn b() { {} } }"),
        ("dashboard/store/sqlite/a.rs", "use sqlx::{Row, Column};"),
        ("dashboard/receive/a.rs", "use super::super::store::{Ingest, StoreError};"),
        ("dashboard/view/a.rs", "use crate::dashboard::store::Reader; use crate::dashboard::model::Span;"),
        ("config/a.rs", "struct A { #[arg(long, env = \"A\")] a: u8 }"),
        ("demo/a.rs", "fn a() { let exe = std::env::current_exe(); }"),
        ("cli/a.rs", "fn a() { let task = tokio::spawn(async { b(); }); tasks.spawn(c()); }"),
        ("cli/a.rs", "fn a() -> JoinHandle<()> { tokio::spawn(async { b(); }) }"),
    ];
    for (file, code) in cases {
        let found = breaks(&Source::read(&format!("src/{file}"), &format!("//! Docs.\n{code}\n")));
        assert!(found.is_empty(), "{file}: {code}\nfound: {found:#?}");
    }
}
