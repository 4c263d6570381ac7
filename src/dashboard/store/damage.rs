//! What was met in reading that is damaged: said once in the log, and told to whoever looks at a page.
//!
//! An answer that is put together out of many parts leaves out what cannot be read, or finds it in another way. So that
//! nobody takes the answer for whole, each place is kept here.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::StoreError;
use super::engine::Shared;

/// Places kept; a store with more of them is told well enough by these.
const MOST: usize = 50;

/// The places that could not be read, since the start or since something was removed, which may have been they.
#[derive(Default)]
pub struct Damage(Mutex<BTreeSet<String>>);

impl Damage {
    /// What was met, each in one line that names the store and the place.
    pub fn places(&self) -> Vec<String> {
        self.places_kept().iter().cloned().collect()
    }

    /// Keeps a place, and says it in the log where that is new.
    pub fn note(&self, what: &str) {
        let mut places = self.places_kept();
        if places.len() < MOST && places.insert(what.to_owned()) {
            tracing::error!(damage = what, "left out of answers; all else is readable");
        }
    }

    /// Forgets all: what is still there will be met again.
    pub fn clear(&self) {
        self.places_kept().clear();
    }

    fn places_kept(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().expect("no holder panics")
    }
}

impl Shared {
    /// One of many reads of an answer: what is damaged is left out of it and kept in mind.
    pub fn left_out<T: Default>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        self.readable(read).map(Option::unwrap_or_default)
    }

    /// The same, with `None` for what is damaged.
    pub fn readable<T>(&self, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(StoreError::Damaged(what)) => {
                self.damage.note(&what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Says in which store something is damaged, and where in it.
    pub fn at(&self, place: &str, error: StoreError) -> StoreError {
        match error {
            StoreError::Damaged(why) => {
                StoreError::Damaged(format!("{}, {place}: {why}", self.backend.location()))
            }
            other => other,
        }
    }

    /// A part of a run was not there: that is damage, unless the run was dropped meanwhile.
    pub async fn must_be_gone(&self, run: u64, part: &str) -> Result<(), StoreError> {
        match self.backend.kept().await?.contains_key(&run) {
            true => Err(self.at(&format!("run {run}, {part}"), StoreError::Damaged("it is missing".into()))),
            false => Ok(()),
        }
    }

    /// A page of a run; `None` where the run was dropped meanwhile. Damaged where it is missing.
    pub async fn run_page(&self, run: u64, number: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let place = || format!("run {run}, page {number}");
        let pages = self.backend.pages(run, number, number).await;
        let page = pages.map_err(|error| self.at(&place(), error))?.pop();
        if page.is_none() {
            self.must_be_gone(run, &format!("page {number}")).await?;
        }
        Ok(page)
    }

    /// A page of a run and what is read out of it.
    pub async fn read_page<T>(
        &self,
        run: u64,
        number: u32,
        read: impl FnOnce(&[u8]) -> Result<T, StoreError> + Send,
    ) -> Result<Option<T>, StoreError> {
        let page = self.run_page(run, number).await?;
        let read = page.map(|page| read(&page)).transpose();
        read.map_err(|error| self.at(&format!("run {run}, page {number}"), error))
    }
}

/// What is read ahead of its time: where it is damaged nothing is, and who needs it says so.
pub fn if_readable<T: Default>(read: Result<T, StoreError>) -> Result<T, StoreError> {
    match read {
        Err(StoreError::Damaged(_)) => Ok(T::default()),
        other => other,
    }
}
