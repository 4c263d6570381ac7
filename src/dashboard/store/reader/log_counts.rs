//! Logs counted over time, out of their rows: no block is opened.

use std::ops::Bound;
use std::sync::Arc;

use super::super::StoreError;
use super::super::engine::Shared;
use super::super::entry::Loc;
use super::super::logs::filter::{LogCounts, LogFilter};
use super::super::logs::{self, Chunk, Place};
use super::super::run::RunMeta;
use super::log_parts::Ask;
use crate::dashboard::model::{Nanos, Severity};

const MS: Nanos = 1_000_000;
const DAY: Nanos = 86_400_000 * MS;
/// Steps of a round length, in ms; longer ones are whole days.
const STEPS: [u64; 25] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
    300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 28_800_000,
];
/// Most steps.
const MOST_STEPS: u64 = 1_000;

impl LogCounts {
    /// Nothing yet: at most `wanted` steps of a round length over `from..=to`, and one more since they begin at round
    /// times.
    fn over(from: Nanos, to: Nanos, wanted: usize) -> Self {
        let least = (to.saturating_sub(from) / (wanted as u64).clamp(1, MOST_STEPS)).max(1);
        let step = STEPS.iter().map(|step| step * MS).find(|step| *step >= least);
        let step = step.unwrap_or_else(|| least.next_multiple_of(DAY));
        let from = from - from % step;
        let count = (to - from) / step + 1;
        Self { from, step, steps: vec![[0; Severity::COUNT]; count as usize], complete: true }
    }

    fn at(&mut self, time: Nanos) -> Option<&mut [u64; Severity::COUNT]> {
        self.steps.get_mut((time.checked_sub(self.from)? / self.step) as usize)
    }

    /// Adds a whole chunk where it lies in one step.
    fn add_chunk(&mut self, chunk: &Chunk, least: u8) -> bool {
        let step = |time: Nanos| time.checked_sub(self.from).map(|since| since / self.step);
        if step(chunk.oldest) != step(chunk.newest) {
            return false;
        }
        let least = Severity::of(least) as usize;
        if let Some(counts) = self.at(chunk.oldest) {
            let both = counts.iter_mut().zip(chunk.counts);
            both.skip(least).for_each(|(sum, count)| *sum += u64::from(count));
        }
        true
    }
}

impl Shared {
    pub(super) async fn count_logs(&self, filter: &LogFilter, steps: usize) -> Result<LogCounts, StoreError> {
        let ask = self.ask(filter).await?;
        let (from, to) = (ask.from, ask.to.max(ask.from));
        let mut counts = LogCounts::over(from, to, steps);
        counts.complete = !ask.truncated;
        if ask.to < from {
            return Ok(counts);
        }
        let mut examined = 0;
        let runs = {
            let index = self.index.read().expect("no holder panics");
            if let Some(wanted) = Self::wanted_of_tail(&ask, &index) {
                let last = Place { loc: Loc { block: u64::MAX, offset: u32::MAX }, number: u32::MAX };
                for row in index.tail.rows(filter.kind).older(from, Bound::Included((to, last))) {
                    examined += 1;
                    if wanted.has(&row)
                        && let Some(counts) = counts.at(row.time)
                    {
                        counts[Severity::of(row.severity) as usize] += 1;
                    }
                }
            }
            index.runs.clone()
        };
        let mut newest_first: Vec<&Arc<RunMeta>> = runs.iter().collect();
        newest_first.sort_by_key(|run| {
            let newest = run.index(filter.kind).and_then(|index| index.chunks.last());
            std::cmp::Reverse(newest.map(|chunk| chunk.newest))
        });
        for run in newest_first {
            self.count_run(&ask, run, (from, to), &mut counts, &mut examined).await?;
        }
        Ok(counts)
    }

    async fn count_run(
        &self,
        ask: &Ask<'_>,
        run: &RunMeta,
        (from, to): (Nanos, Nanos),
        counts: &mut LogCounts,
        examined: &mut u64,
    ) -> Result<(), StoreError> {
        let Some(index) = run.index(ask.filter.kind) else { return Ok(()) };
        let least = ask.filter.least_severity;
        let (begin, end) = (
            index.chunks.partition_point(|chunk| chunk.newest < from),
            index.chunks.partition_point(|chunk| chunk.oldest <= to),
        );
        if begin >= end {
            return Ok(());
        }
        let Some(wanted) = self.wanted_of_run(ask, run, index).await? else { return Ok(()) };
        // Chunks are counted by bands of severity.
        let by_chunk = wanted.is_by_severity() && Severity::of(least).least() == least;
        for (number, chunk) in index.chunks.iter().enumerate().take(end).skip(begin).rev() {
            let inside = from <= chunk.oldest && chunk.newest <= to;
            if !wanted.may_be_in(chunk) || by_chunk && inside && counts.add_chunk(chunk, least) {
                continue;
            }
            if *examined >= LogFilter::ROWS {
                counts.complete = false;
                return Ok(());
            }
            let rows = self.readable(self.read_page(run.id, index.page(number), logs::read_chunk).await)?;
            counts.complete &= rows.is_some();
            for (row, _) in rows.flatten().into_iter().flatten() {
                *examined += 1;
                if (from..=to).contains(&row.time)
                    && wanted.has(&row)
                    && let Some(counts) = counts.at(row.time)
                {
                    counts[Severity::of(row.severity) as usize] += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_hold_the_whole_range() {
        for (from, to, wanted, step) in [
            (7_000 * MS, 307_000 * MS, 60, 5_000 * MS),
            (0, 3_600_000 * MS, 90, 60_000 * MS),
            (5, 5, 90, MS),
            (30_000 * MS, 400 * DAY, 90, 5 * DAY),
            (0, Nanos::MAX, 90, 2_373 * DAY),
        ] {
            let counts = LogCounts::over(from, to, wanted);
            assert_eq!(counts.step, step, "{from}..{to}");
            assert!(counts.steps.len() <= wanted + 1, "{} steps", counts.steps.len());
            assert!(counts.from <= from && (to - counts.from) / step < counts.steps.len() as u64);
        }
    }
}
