//! The store: opens a backend, holds the index in memory, hands batches to the writer and entries to the reads.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::damage::{Damage, if_readable};
use super::pack::Incoming;
use super::postgres::Postgres;
use super::reader::in_shares;
use super::retention::{self, Limits};
use super::run::{CHUNK, Chunk, RunMeta};
use super::series::live::Live;
use super::sqlite::Sqlite;
use super::tail::Tail;
use super::writer::{Job, Writer};
use super::{Ingest, Location, OpenError, PostgresError, PostgresUrl, StoreError, Stored};
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::otlp::{Batch, Points};

/// Batches that may wait for the writer.
pub const QUEUE: usize = 64;
/// KiB of batches that may wait or be written at once.
const QUEUE_KIB: usize = 128 << 10;
/// How long a batch waits for room before its sender is told to come again.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a batch waits to be committed before its sender is told to come again: behind a lock or a slow disk
/// it would wait for all groups before it. Longer than the one commit that a lock holds up.
const COMMITTED: Duration = Duration::from_secs(5);
/// Open chunks kept, some 35 kB each: as many as a chart of 600 failed traces needs where one in fifty fails.
const CHUNKS_KEPT: usize = 256;
/// Chunks that pay for another thread.
const CHUNKS_A_THREAD: usize = 8;
/// Chunks read at once where neighbours are likely to be wanted.
const CHUNKS_AHEAD: u32 = 16;

/// What was committed and is known without asking the backend.
#[derive(Default)]
pub(super) struct Index {
    pub tail: Tail,
    /// The series of the tail.
    pub live: Live,
    /// In order of their ID.
    pub runs: Arc<Vec<Arc<RunMeta>>>,
}

impl Index {
    /// Whether nothing waits to be sealed.
    pub fn is_sealed(&self) -> bool {
        self.tail.is_empty() && self.live.is_empty()
    }

    /// Whether it is time to seal.
    pub fn is_full(&self) -> bool {
        self.tail.is_full() || self.live.is_full()
    }
}

/// An open chunk under its run and number.
type KeptChunk = ((u64, u32), Arc<Chunk>);

/// Reads and opens chunks. One that cannot be is named by who needs it.
async fn opened(backend: Arc<dyn Backend>, places: Vec<(u64, u32)>) -> Result<Vec<KeptChunk>, StoreError> {
    let found = if_readable(backend.chunks_at(&places).await)?;
    let opened =
        found.into_iter().filter_map(|(place, data)| Some((place, Arc::new(Chunk::open(&data).ok()?))));
    Ok(opened.collect())
}

/// What the writer, the reads and retention share.
pub(super) struct Shared {
    pub backend: Arc<dyn Backend>,
    pub index: RwLock<Index>,
    pub commits: watch::Sender<u64>,
    pub limits: Limits,
    pub latency: super::Latency,
    pub damage: Damage,
    /// Bytes of the logs of runs, where they are limited; as of the last look.
    pub log_bytes: AtomicU64,
    chunks: Mutex<VecDeque<KeptChunk>>,
    /// Cancelled when a part of the store that works by itself has ended by a panic.
    broken: CancellationToken,
}

/// Tells that who holds it has panicked: what is in memory may be half changed, and nobody mends it.
pub(super) struct Alarm(CancellationToken);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// The store. Dropping it ends the writer after what is queued; [`Store::close`] waits for that.
pub struct Store {
    pub(super) shared: Arc<Shared>,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    room: Arc<Semaphore>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    retention: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Store {
    /// Opens or makes a store. `keys` are those that carry correlation IDs.
    pub async fn open(location: &Location, limits: Limits, keys: &Keys) -> Result<Self, OpenError> {
        match location {
            Location::Sqlite(path) => Self::open_sqlite(path, limits, keys).await,
            Location::Postgres(url) => Self::open_postgres(url, limits, keys).await,
        }
    }

    /// Opens or makes a store in a SQLite file.
    pub async fn open_sqlite(path: &Path, limits: Limits, keys: &Keys) -> Result<Self, OpenError> {
        let backend = Arc::new(Sqlite::open(path).await?);
        Self::over(backend, limits, keys)
            .await
            .map_err(|error| OpenError::Damaged { path: path.display().to_string(), why: error.to_string() })
    }

    /// Opens or makes a store in a PostgreSQL database. Several dashboards may have it open.
    pub async fn open_postgres(url: &PostgresUrl, limits: Limits, keys: &Keys) -> Result<Self, OpenError> {
        let backend = Arc::new(Postgres::open(url).await?);
        let unreadable = |error: StoreError| {
            PostgresError::Unreadable { location: url.to_string(), why: error.to_string() }.into()
        };
        Self::over(backend, limits, keys).await.map_err(unreadable)
    }

    async fn over(backend: Arc<dyn Backend>, limits: Limits, keys: &Keys) -> Result<Self, StoreError> {
        let mut loaded = backend.load().await?;
        let runs = std::mem::take(&mut loaded.runs);
        let runs = Arc::new(runs.into_iter().map(Arc::new).collect());
        let shared = Arc::new(Shared {
            backend,
            index: RwLock::new(Index { runs, ..Index::default() }),
            commits: watch::Sender::new(0),
            limits,
            latency: super::Latency::default(),
            damage: Damage::default(),
            log_bytes: AtomicU64::default(),
            chunks: Mutex::default(),
            broken: CancellationToken::new(),
        });
        retention::sweep(&shared, loaded.first_of_tail).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = Writer::new(shared.clone(), &loaded, keys).await?;
        let alarm = shared.alarm();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                let _alarm = alarm;
                writer.run(queue);
            })
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let retention = tokio::spawn(retention::run(shared.clone()));
        Ok(Self {
            shared,
            jobs: Mutex::new(Some(jobs)),
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            writer: Mutex::new(Some(thread)),
            retention: Mutex::new(Some(retention)),
        })
    }

    /// Commits what is queued and ends. Batches that come later are refused.
    pub async fn close(&self) {
        let retention = self.retention.lock().expect("no holder panics").take();
        if let Some(retention) = retention {
            retention.abort();
            // It holds the store open until it has ended.
            let _ = retention.await;
        }
        self.jobs.lock().expect("no holder panics").take();
        let thread = self.writer.lock().expect("no holder panics").take();
        if let Some(thread) = thread {
            // The writer has all replies sent when it ends; a panic in it was logged by the hook.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Waits until a part of it has ended by a panic, which its message went before. From then on nothing is taken in
    /// and reads may fail: who runs the store ends, and what was acknowledged is there at the next start.
    pub async fn broken(&self) {
        self.shared.broken.cancelled().await;
    }

    /// Batches waiting for the writer.
    pub fn queued(&self) -> usize {
        let jobs = self.jobs.lock().expect("no holder panics");
        jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity())
    }

    /// Where it is, without any password.
    pub fn location(&self) -> String {
        self.shared.backend.location()
    }

    /// How long commits took lately.
    pub fn latency(&self) -> &super::Latency {
        &self.shared.latency
    }
}

#[async_trait]
impl Ingest for Store {
    async fn ingest(&self, batch: Batch) -> Result<Stored, StoreError> {
        if batch.spans.is_empty() && batch.logs.is_empty() {
            return Ok(Stored::default());
        }
        let bytes = batch.buffer.len();
        self.hand_over(bytes, Incoming::new(batch), Points::default()).await
    }

    async fn keep(&self, points: Points) -> Result<Stored, StoreError> {
        if points.samples.is_empty() {
            return Ok(Stored::default());
        }
        let bytes = points.bytes;
        self.hand_over(bytes, Incoming::new(Batch::default()), points).await
    }
}

impl Store {
    /// Puts a request of so many bytes into the writer's queue and waits until it is committed.
    async fn hand_over(
        &self,
        bytes: usize,
        incoming: Incoming,
        points: Points,
    ) -> Result<Stored, StoreError> {
        let jobs = self.jobs.lock().expect("no holder panics").clone();
        let Some(jobs) = jobs else { return Err(StoreError::Unavailable("it is shutting down".into())) };
        let kib = (bytes >> 10).clamp(1, QUEUE_KIB) as u32;
        let waited = tokio::time::timeout(PATIENCE, async {
            let room = self.room.clone().acquire_many_owned(kib).await.ok()?;
            Some((room, jobs.reserve().await.ok()?))
        });
        let Ok(Some((room, place))) = waited.await else { return Err(StoreError::Overloaded) };
        let (reply, answer) = oneshot::channel();
        place.send(Job { incoming, points, reply, _room: room });
        // The writer leaves out what nobody waits for any more; what it has begun may be stored all the same.
        let answered = tokio::time::timeout(COMMITTED, answer).await.map_err(|_| StoreError::Overloaded)?;
        answered.map_err(|_| StoreError::Unavailable("the writer ended".into()))?
    }
}

#[cfg(test)]
impl Store {
    /// Makes the writer panic, as a fault in packing would: by a span whose bytes are not there.
    pub async fn break_writer(&self) {
        use crate::dashboard::model::proto::{put_bytes, put_message};
        let span = |out: &mut Vec<u8>| {
            put_bytes(out, 1, &[7; 16]);
            put_bytes(out, 2, &[7; 8]);
        };
        let mut body = Vec::new();
        put_message(&mut body, 1, |out| put_message(out, 2, |out| put_message(out, 2, span)));
        let batch = Batch::traces(body.into(), &Keys::default()).expect("a valid request");
        let mut incoming = Incoming::new(batch);
        incoming.batch.buffer = bytes::Bytes::new();
        let answer = self.hand_over(1, incoming, Points::default()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
}

impl Shared {
    /// To be held by what works by itself for as long as it does.
    pub fn alarm(&self) -> Alarm {
        Alarm(self.broken.clone())
    }

    /// The runs as they are now.
    pub fn runs(&self) -> Arc<Vec<Arc<RunMeta>>> {
        self.index.read().expect("no holder panics").runs.clone()
    }

    /// A chunk of a run; `None` where the run was dropped meanwhile. With `dense` its older neighbours, which a
    /// walk from the newest to the oldest wants next, are read with it. One that is damaged has no entries.
    pub async fn chunk(&self, run: u64, number: u32, dense: bool) -> Result<Option<Arc<Chunk>>, StoreError> {
        if let Some(chunk) = self.kept_chunk((run, number)) {
            return Ok(Some(chunk));
        }
        if dense {
            let first = number.saturating_sub(CHUNKS_AHEAD - 1);
            for (number, data) in if_readable(self.backend.chunks(run, first, number).await)? {
                if let Ok(chunk) = Chunk::open(&data) {
                    self.keep_chunk((run, number), Arc::new(chunk));
                }
            }
            if let Some(chunk) = self.kept_chunk((run, number)) {
                return Ok(Some(chunk));
            }
        }
        let chunk = match self.readable(self.read_chunk(run, number).await)? {
            Some(None) => return Ok(None),
            Some(Some(chunk)) => Arc::new(chunk),
            None => Arc::new(Chunk::default()),
        };
        self.keep_chunk((run, number), chunk.clone());
        Ok(Some(chunk))
    }

    async fn read_chunk(&self, run: u64, number: u32) -> Result<Option<Chunk>, StoreError> {
        let at = |error| self.at(&format!("run {run}, chunk {number}"), error);
        let read = self.backend.chunks(run, number, number).await.map_err(at)?;
        match read.first() {
            Some((_, data)) => Chunk::open(data).map(Some).map_err(at),
            None => self.must_be_gone(run, &format!("chunk {number}")).await.map(|()| None),
        }
    }

    /// Reads the chunks that hold entries, given by run and ordinal, in one statement where they are not kept already.
    pub async fn chunks_ahead(&self, entries: &[(u64, u32)]) -> Result<(), StoreError> {
        let mut wanted: Vec<(u64, u32)> =
            entries.iter().map(|(run, ordinal)| (*run, (*ordinal as usize / CHUNK) as u32)).collect();
        wanted.dedup();
        wanted.retain(|place| self.kept_chunk(*place).is_none());
        if wanted.len() > 1 {
            let opened = in_shares(wanted, CHUNKS_A_THREAD, |wanted| opened(self.backend.clone(), wanted));
            opened.await?.into_iter().for_each(|(place, chunk)| self.keep_chunk(place, chunk));
        }
        Ok(())
    }

    /// Lets go of what was read of runs and of what is known of damage: something was removed.
    pub fn forget_read(&self) {
        self.chunks.lock().expect("no holder panics").clear();
        self.damage.clear();
    }

    fn keep_chunk(&self, place: (u64, u32), chunk: Arc<Chunk>) {
        let mut chunks = self.chunks.lock().expect("no holder panics");
        chunks.truncate(CHUNKS_KEPT - 1);
        chunks.push_front((place, chunk));
    }

    pub fn kept_chunk(&self, key: (u64, u32)) -> Option<Arc<Chunk>> {
        let chunks = self.chunks.lock().expect("no holder panics");
        chunks.iter().find(|(known, _)| *known == key).map(|(_, chunk)| chunk.clone())
    }
}
