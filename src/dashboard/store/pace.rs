//! How much a statement may take on, so that nobody waits for it: learned from how long the last one took.

use std::time::{Duration, Instant};

/// How long a step is to take: a commit that comes in between waits no longer.
const AIM: Duration = Duration::from_millis(8);
/// Bytes that a statement of a seal writes at most, but for a row that is larger by itself.
const SEAL_STEP: usize = 256 << 10;

/// The size of the next step.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    size: u32,
    most: u32,
    began: Option<Instant>,
}

impl Pace {
    /// Begins with `size`, and takes on no more than `most`.
    pub fn new(size: u32, most: u32) -> Self {
        Self { size, most, began: None }
    }

    /// The size of the step that begins now.
    pub fn begin(&mut self) -> u32 {
        self.began = Some(Instant::now());
        self.size
    }

    /// The step is done.
    pub fn end(&mut self) {
        let took = self.began.take().map_or(AIM, |began| began.elapsed());
        tracing::trace!(size = self.size, step_us = took.as_micros() as u64, "a step of a removal");
        self.learn(took);
    }

    fn learn(&mut self, took: Duration) {
        self.size = match took {
            _ if took > AIM * 2 => self.size / 4,
            _ if took > AIM => self.size / 2,
            _ if took < AIM / 4 => self.size.saturating_mul(2),
            _ => self.size,
        }
        .clamp(1, self.most);
    }
}

/// Takes the next rows that one statement of a seal is to write; none where there are no more.
pub fn portion<T>(rows: &mut Vec<T>, size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut bytes = 0;
    let fits = |row: &T| {
        bytes += size(row);
        bytes <= SEAL_STEP
    };
    let count = rows.iter().map(fits).take_while(|fits| *fits).count();
    let rest = rows.split_off(count.max(1).min(rows.len()));
    std::mem::replace(rows, rest)
}

/// Waits for a statement of a seal, and tells how long it took.
pub async fn timed<T>(what: &'static str, statement: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = statement.await;
    tracing::trace!(what, statement_us = began.elapsed().as_micros() as u64, "a statement of a seal");
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_seal_is_written_in_portions_and_in_order() {
        let sizes = [1, SEAL_STEP, SEAL_STEP * 3, 7, 8, SEAL_STEP - 15, 1];
        let (mut rows, mut portions) = (sizes.to_vec(), Vec::new());
        while !rows.is_empty() {
            portions.push(portion(&mut rows, |size| *size));
        }
        let lengths: Vec<usize> = portions.iter().map(Vec::len).collect();
        assert_eq!((lengths, portions.concat()), (vec![1, 1, 1, 3, 1], sizes.to_vec()));
    }

    #[test]
    fn slow_steps_get_smaller_and_quick_ones_larger() {
        let mut pace = Pace::new(64, 256);
        pace.learn(Duration::from_millis(50));
        assert_eq!(pace.begin(), 16);
        (0..9).for_each(|_| pace.learn(Duration::from_millis(50)));
        assert_eq!(pace.begin(), 1);
        (0..20).for_each(|_| pace.learn(Duration::ZERO));
        assert_eq!(pace.begin(), 256);
        pace.learn(AIM / 2);
        assert_eq!(pace.begin(), 256);
    }
}
