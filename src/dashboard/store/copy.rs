//! Copies a store into an empty place, between SQLite and PostgreSQL in either direction, byte by byte.
//!
//! Each run goes over in one transaction, rows before their run's own, and after the runs the tail in one more. So a
//! copy that was cut off at any moment holds whole runs, and the same command goes on with the next. Chunks of samples go
//! with the tail. Until it is finished the target bears a mark, and no dashboard opens it.
//!
//! A PostgreSQL source may be in use. A run's row is read again after all that belongs to it: it is the first to
//! change and to go when something of the run does, so an equal row means that all was there. The tail was read
//! whole if no run was sealed meanwhile. What has changed is copied again, until a count of both sides, run by run, finds
//! no difference: the copy is then the source up to the block that was the next one when that round began.

use super::postgres::PostgresSide;
use super::side::{self, Before, Key, Marks, Rows, RunRow, Side, TABLES, Table};
pub use super::side::{Count, Counts};
use super::sqlite::SqliteSide;
use super::{Location, OpenError, StoreError};

/// Bytes of rows held in memory at once, but for a row that is larger by itself.
const AT_ONCE: u64 = 4 << 20;
/// Rounds over a source that is in use, each over what has changed in the one before.
const ROUNDS: usize = 16;

/// Why a copy did not come about. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("--from and --to are the same store")]
    Same,
    #[error("{0} holds data already; name an empty place with --to; nothing was changed in it")]
    Held(String),
    #[error(
        "{0} holds an unfinished copy of another store; finish that one, or name another place with --to; nothing was changed in it"
    )]
    OfAnother(String),
    #[error("{0}; the same command goes on where this one stopped")]
    Stopped(#[from] StoreError),
    #[error(
        "{location} is not equal to its source yet ({what}); where the source is in use, the same command goes on; else check it with `throughline store check`"
    )]
    Differs { location: String, what: String },
}

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub from: String,
    pub to: String,
    /// All that the copy holds, counted on both sides.
    pub counts: Counts,
    /// Runs that were there already from a copy that was cut off.
    pub runs_before: u64,
}

impl Copied {
    /// Rows and bytes of each table.
    pub fn tables(&self) -> impl Iterator<Item = (&'static str, Count)> {
        let tables = TABLES.iter().map(|table| table.name).zip(self.counts.tables);
        tables.chain([("sample_chunk", self.counts.samples), ("audit", self.counts.audit)])
    }
}

/// Copies the store at `from` to the empty place `to`, or goes on with such a copy. `progress` is told how many of
/// how many bytes are there.
///
/// # Errors
/// One of both cannot be opened or is in use, the target holds something else, or reading or writing failed.
pub async fn copy(
    from: &Location,
    to: &Location,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Copied, CopyError> {
    if from == to {
        return Err(CopyError::Same);
    }
    let source = side::open(from).await?;
    let target: Box<dyn Side> = match to {
        Location::Sqlite(path) => Box::new(SqliteSide::target(path).await?),
        Location::Postgres(url) => Box::new(PostgresSide::target(url).await.map_err(OpenError::from)?),
    };
    Copying { source, target, progress, done: 0, all: 0, runs_before: 0 }.run().await
}

struct Copying<P> {
    source: Box<dyn Side>,
    target: Box<dyn Side>,
    progress: P,
    /// Bytes.
    done: u64,
    all: u64,
    runs_before: u64,
}

impl<P: FnMut(u64, u64) + Send> Copying<P> {
    async fn run(mut self) -> Result<Copied, CopyError> {
        let identity = self.source.identity().await?;
        if self.target.identity().await? == identity {
            return Err(CopyError::Same);
        }
        let before = self.target.before().await?;
        match before {
            Before::Empty => self.target.mark(identity).await?,
            Before::Unfinished(of) if of == identity => {}
            Before::Unfinished(_) => return Err(CopyError::OfAnother(self.target.location())),
            // The same command once more.
            Before::Held(Some(of)) if of == identity => {}
            Before::Held(_) => return Err(CopyError::Held(self.target.location())),
        }
        let counts = match self.compare().await? {
            Ok(counts) if matches!(before, Before::Held(_)) => {
                self.runs_before = counts.runs;
                counts
            }
            _ if matches!(before, Before::Held(_)) => return Err(CopyError::Held(self.target.location())),
            _ => self.rounds().await?,
        };
        self.target.finish(identity).await?;
        (self.progress)(self.all, self.all);
        let (from, to) = (self.source.location(), self.target.location());
        Ok(Copied { from, to, counts, runs_before: self.runs_before })
    }

    /// Round by round, until the copy equals its source.
    async fn rounds(&mut self) -> Result<Counts, CopyError> {
        let mut what = String::new();
        for round in 0..ROUNDS {
            let marks = self.source.marks().await?;
            (self.done, self.all) = (0, self.size(marks).await?);
            self.tell(0);
            let kept = self.keep_what_is_equal().await?;
            if round == 0 {
                self.runs_before = kept;
            }
            self.runs().await?;
            self.tail(marks).await?;
            match self.compare().await? {
                Ok(counts) => return Ok(counts),
                Err(difference) => what = difference,
            }
        }
        Err(CopyError::Differs { location: self.target.location(), what })
    }

    /// Bytes of the source.
    async fn size(&mut self, marks: Marks) -> Result<u64, StoreError> {
        let (mut after, mut bytes) = (0, count_tail(&mut self.source, marks).await?.bytes());
        while let Some(run) = self.source.run_after(after).await? {
            after = run.id();
            bytes += count_run(&mut self.source, &run).await?.bytes();
        }
        Ok(bytes)
    }

    /// Removes runs from the target that the source does not have, or not like that, any more; gives how many stay.
    async fn keep_what_is_equal(&mut self) -> Result<u64, StoreError> {
        let (mut after, mut kept) = (0, 0);
        while let Some(run) = self.target.run_after(after).await? {
            after = run.id();
            let counts = count_run(&mut self.target, &run).await?;
            if self.source.run(run.id()).await?.as_ref() == Some(&run)
                && count_run(&mut self.source, &run).await? == counts
            {
                kept += 1;
                self.tell(counts.bytes());
                continue;
            }
            self.target.begin().await?;
            self.target.remove(run.id(), run.blocks()).await?;
            self.target.commit().await?;
        }
        Ok(kept)
    }

    /// Copies the runs that the target lacks, but for those that change or go meanwhile.
    async fn runs(&mut self) -> Result<(), StoreError> {
        let mut after = 0;
        while let Some(run) = self.source.run_after(after).await? {
            after = run.id();
            if self.target.run(run.id()).await?.is_some() {
                continue;
            }
            self.target.begin().await?;
            // What is sealed now may have been copied as part of the tail a round ago.
            self.target.remove(run.id(), run.blocks()).await?;
            let mut bytes = run.rest.len() as u64;
            for table in TABLES {
                let (first, last) = Key::range(table, run.id(), run.blocks());
                bytes += self.rows(table, first, last).await?;
            }
            if self.source.run(run.id()).await?.as_ref() == Some(&run) {
                self.target.put_run(run, bytes).await?;
                self.target.commit().await?;
            } else {
                self.target.rollback().await?;
            }
        }
        Ok(())
    }

    /// Copies the tail anew, unless it is sealed meanwhile.
    async fn tail(&mut self, marks: Marks) -> Result<(), StoreError> {
        self.target.begin().await?;
        self.target.remove(0, (marks.first_of_tail, i64::MAX as u64)).await?;
        for (table, first, last) in of_tail(marks) {
            self.rows(table, first, last).await?;
        }
        self.samples().await?;
        self.audit().await?;
        if self.source.marks().await?.first_of_tail != marks.first_of_tail {
            return self.target.rollback().await;
        }
        self.target.put_marks(marks).await?;
        self.target.commit().await
    }

    /// Copies all chunks of samples anew: they are merged and thinned as they grow old.
    async fn samples(&mut self) -> Result<(), StoreError> {
        self.target.remove_samples().await?;
        let mut after = 0;
        loop {
            let chunks = self.source.samples_after(after).await?;
            let Some((last, _)) = chunks.last() else { return Ok(()) };
            after = *last;
            let chunks: Vec<_> = chunks.into_iter().map(|(_, chunk)| chunk).collect();
            let size = chunks.iter().map(|chunk| chunk.data.len() as u64).sum();
            self.target.put_samples(chunks).await?;
            self.tell(size);
        }
    }

    /// Copies the audit anew: rows of it end late.
    async fn audit(&mut self) -> Result<(), StoreError> {
        self.target.remove_audit().await?;
        let mut after = 0;
        loop {
            let rows = self.source.audit_after(after).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            self.target.put_audit(rows).await?;
        }
    }

    /// Copies rows in pieces; gives their bytes.
    async fn rows(&mut self, table: Table, first: Key, last: Key) -> Result<u64, StoreError> {
        let (mut first, mut copied) = (first, 0);
        while let Some(end) = side::piece(&mut *self.source, table, (first, last), AT_ONCE).await? {
            let rows = self.source.rows(table, first, end).await?;
            let size = rows.iter().map(|(_, data)| data.len() as u64).sum();
            self.target.put(table, rows).await?;
            copied += size;
            self.tell(size);
            first = end.next(table);
        }
        Ok(copied)
    }

    fn tell(&mut self, more: u64) {
        self.done += more;
        (self.progress)(self.done.min(self.all), self.all);
    }

    /// Counts both sides, run by run; says what differs where something does.
    async fn compare(&mut self) -> Result<Result<Counts, String>, StoreError> {
        let marks = self.target.marks().await?;
        if self.source.marks().await?.first_of_tail != marks.first_of_tail {
            return Ok(Err("the tail".into()));
        }
        let mut counts = count_tail(&mut self.target, marks).await?;
        if count_tail(&mut self.source, marks).await? != counts {
            return Ok(Err("the tail".into()));
        }
        let mut after = 0;
        loop {
            let (here, there) = (self.source.run_after(after).await?, self.target.run_after(after).await?);
            let run = match (here, there) {
                (None, None) => return Ok(Ok(counts)),
                (Some(here), Some(there)) if here == there => here,
                (here, there) => {
                    let id = here.or(there).map_or(0, |run| run.id());
                    return Ok(Err(format!("run {id}")));
                }
            };
            after = run.id();
            let here = count_run(&mut self.target, &run).await?;
            if count_run(&mut self.source, &run).await? != here {
                return Ok(Err(format!("run {after}")));
            }
            counts.add(here);
        }
    }
}

/// Where the tail's rows lie.
fn of_tail(marks: Marks) -> impl Iterator<Item = (Table, Key, Key)> {
    let blocks = (marks.first_of_tail, marks.next_block.max(1) - 1);
    TABLES.into_iter().filter(|table| table.rows == Rows::Ranged).map(move |table| {
        let (first, last) = Key::range(table, 0, blocks);
        (table, first, last)
    })
}

async fn count_run(side: &mut Box<dyn Side>, run: &RunRow) -> Result<Counts, StoreError> {
    let mut counts = Counts { runs: 1, ..Counts::default() };
    for (table, count) in TABLES.into_iter().zip(&mut counts.tables) {
        let (first, last) = Key::range(table, run.id(), run.blocks());
        *count = side.count(table, first, last).await?;
    }
    Ok(counts)
}

async fn count_tail(side: &mut Box<dyn Side>, marks: Marks) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    for (table, first, last) in of_tail(marks) {
        let at = TABLES.iter().position(|known| *known == table).expect("it is one of them");
        counts.tables[at] = side.count(table, first, last).await?;
    }
    counts.samples = side.count_samples().await?;
    counts.audit = side.count_audit().await?;
    Ok(counts)
}
