//! Room that is kept for when the disk is full: a file beside the database, given up so that retention can remove.
//!
//! SQLite needs room to remove something: what changes is written to the log first. Once a write finds no room the
//! ballast goes, and until it is back nothing new is taken in, so that the room is there for what makes more of it.
//! It comes back as soon as there is enough for it and for some more: then commits go on.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokio::sync::Notify;

/// Bytes: as many as the log holds before it is written into the database.
const SIZE: u64 = 16 << 20;
/// Room that has to be there besides when it comes back, else the next commit would give it up again.
const MORE: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    GivenUp,
    /// It could not be made at the start, and nothing waits for it.
    Missing,
}

/// The file and what became of it.
pub struct Ballast {
    path: PathBuf,
    state: Mutex<State>,
    lost: Notify,
}

impl Ballast {
    /// Makes it, or takes over the one that is there. A disk that has no room for it is no reason not to start.
    pub fn beside(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push(".ballast");
        let path = PathBuf::from(name);
        let state = match std::fs::metadata(&path).is_ok_and(|file| is_whole(&file)) {
            true => State::Held,
            false => match allocate(&path, SIZE) {
                Ok(()) => State::Held,
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "no room is kept for a full disk");
                    State::Missing
                }
            },
        };
        Self { path, state: Mutex::new(state), lost: Notify::new() }
    }

    fn state(&self) -> State {
        *self.state.lock().expect("no holder panics")
    }

    /// Whether nothing new is to be taken in.
    pub fn is_given_up(&self) -> bool {
        self.state() == State::GivenUp
    }

    /// Whether it is not there, for whatever reason.
    pub fn is_wanted(&self) -> bool {
        self.state() != State::Held
    }

    /// Gives its room to whoever removes.
    pub fn give_up(&self) {
        let mut state = self.state.lock().expect("no holder panics");
        if *state != State::Held {
            return;
        }
        match File::options().write(true).truncate(true).open(&self.path) {
            Ok(_) => {
                *state = State::GivenUp;
                tracing::error!("the disk is full: senders are told to come again until there is room");
                self.lost.notify_one();
            }
            Err(error) => {
                *state = State::Missing;
                tracing::error!(%error, path = %self.path.display(), "the room kept for a full disk is not there");
            }
        }
    }

    /// Waits until it is given up.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Takes the room back where there is enough.
    pub fn restore(&self) {
        let mut state = self.state.lock().expect("no holder panics");
        if *state == State::Held || allocate(&self.path, SIZE + MORE).is_err() {
            return;
        }
        let cut = File::options().write(true).open(&self.path).and_then(|file| file.set_len(SIZE));
        if cut.is_ok() {
            if *state == State::GivenUp {
                tracing::info!("there is room on the disk again");
            }
            *state = State::Held;
        }
    }
}

/// Whether the file takes up its size: a copy of one may be all holes.
#[cfg(unix)]
fn is_whole(file: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // Blocks of 512 bytes, whatever those of the file system are.
    file.len() == SIZE && file.blocks() * 512 >= SIZE
}

#[cfg(not(unix))]
fn is_whole(file: &std::fs::Metadata) -> bool {
    file.len() == SIZE
}

/// Makes a file that really takes up its size; nothing of it is left where there is no room.
fn allocate(path: &Path, size: u64) -> io::Result<()> {
    let mut file = File::options().create(true).truncate(true).write(true).open(path)?;
    let filled = reserve(&file, size).or_else(|_| {
        file.set_len(0)?;
        fill(&mut file, size)
    });
    if filled.is_err() {
        file.set_len(0)?;
    }
    filled
}

/// Asks the file system for the room, which takes no time.
#[cfg(target_os = "linux")]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, size)?)
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes what no file system can store in less.
fn fill(file: &mut File, size: u64) -> io::Result<()> {
    let (mut state, mut written) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    let mut piece = Vec::with_capacity(1 << 16);
    while written < size {
        piece.clear();
        while piece.len() < 1 << 16 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            piece.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
        }
        file.write_all(&piece)?;
        written += piece.len() as u64;
    }
    file.set_len(size)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_has_the_size_and_what_is_given_up_takes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let ballast = Ballast::beside(&database);
        let size = || std::fs::metadata(folder.path().join("a.db.ballast")).unwrap().len();
        assert_eq!((size(), ballast.is_wanted()), (SIZE, false));
        ballast.give_up();
        assert_eq!((size(), ballast.is_given_up()), (0, true));
        ballast.restore();
        assert_eq!((size(), ballast.is_wanted()), (SIZE, false));
        let hollow = File::create(folder.path().join("hollow")).unwrap();
        hollow.set_len(SIZE).unwrap();
        assert!(!is_whole(&hollow.metadata().unwrap()), "it takes up nothing");
        let mut file = File::create(folder.path().join("filled")).unwrap();
        fill(&mut file, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }

    #[test]
    fn without_room_at_the_start_nothing_waits_for_it() {
        let ballast = Ballast::beside(Path::new("/no/such/folder/a.db"));
        assert!(ballast.is_wanted() && !ballast.is_given_up());
        ballast.give_up();
        ballast.restore();
        assert!(ballast.is_wanted() && !ballast.is_given_up());
    }
}
