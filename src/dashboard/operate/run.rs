//! How a redrive goes: batch by batch, each published, confirmed and then taken away.

use std::collections::HashMap;
use std::time::Duration;

use super::job::{Ended, Job, Jobs, MOST_RESULTS, Outcome, Row};
use super::letter::Letter;
use super::order::{Copy, Judge, Stamp};
use super::{BATCH, Hands, Move, Moved, Source, Taken, Trouble};
use crate::dashboard::model::now;

/// Different reasons that the words of an end name.
const REASONS: usize = 3;

/// Does what a job is to do, and gives how it ended. `cut_off` says that the last redrive of the queue has no end.
pub(super) async fn run(hands: &dyn Hands, job: &Job, jobs: &Jobs, cut_off: bool) -> Ended {
    let mut source = match hands.open(&job.place, &job.order.nature).await {
        Ok(source) => source,
        Err(trouble) => return Ended::Failed(trouble.to_string()),
    };
    job.lock().ready = Some(source.ready());
    jobs.changed();
    let mut going =
        Going { job, jobs, judge: job.order.wanted.judge(), number: 0, cut_off, would: HashMap::new() };
    let gone = going.all(source.as_mut()).await;
    let finished = source.finish().await;
    match (gone, finished) {
        (Ok(ended), Ok(())) => ended,
        (Err(trouble), _) | (_, Err(trouble)) => Ended::Failed(trouble.to_string()),
    }
}

/// A redrive on its way.
struct Going<'a> {
    job: &'a Job,
    jobs: &'a Jobs,
    judge: Judge<'a>,
    /// Of the message that was meant last.
    number: u64,
    cut_off: bool,
    /// What a dry run found out of each place.
    would: HashMap<(String, String), Result<(), String>>,
}

/// A message that is meant, and its copy or why there can be none.
struct Meant {
    token: u64,
    row: Row,
    copy: Result<Copy, String>,
    was_given_out: bool,
}

impl Going<'_> {
    async fn all(&mut self, source: &mut dyn Source) -> Result<Ended, Trouble> {
        let order = &self.job.order;
        let step = order.rate.map_or(BATCH, |rate| BATCH.min(rate.max(1) as usize));
        let mut next_step = tokio::time::Instant::now();
        loop {
            if self.job.stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
            if self.judge.is_done() || order.most.is_some_and(|most| self.number >= most) {
                return Ok(Ended::Done);
            }
            let taken = source.next(step).await?;
            if taken.is_empty() {
                return Ok(Ended::Done);
            }
            let count = taken.len() as u64;
            let meant = self.sort_out(taken);
            if let Some(rate) = order.rate
                && !meant.is_empty()
            {
                tokio::select! {
                    () = self.job.stop.cancelled() => return Ok(Ended::Stopped),
                    () = tokio::time::sleep_until(next_step) => {}
                }
                let pause = Duration::from_secs_f64(meant.len() as f64 / f64::from(rate.max(1)));
                next_step = tokio::time::Instant::now() + pause;
            }
            let rows =
                if order.is_dry { self.look(source, meant).await } else { self.send(source, meant).await };
            let mut progress = self.job.lock();
            progress.looked_at += count;
            progress.meant = self.number;
            rows.into_iter().for_each(|row| progress.add(row));
            drop(progress);
            self.jobs.changed();
        }
    }

    /// Those that are meant, with their copies.
    fn sort_out(&mut self, taken: Vec<Taken>) -> Vec<Meant> {
        let mut meant = Vec::new();
        for Taken { token, letter } in taken {
            let is_enough = self.job.order.most.is_some_and(|most| self.number >= most);
            if is_enough || !self.judge.wants(&letter) {
                continue;
            }
            self.number += 1;
            let copy = self.job.order.copy(&letter, self.stamp());
            let to = copy.as_ref().ok().map(|copy| (copy.exchange.clone(), copy.routing_key.clone()));
            let row = Row {
                number: self.number,
                message_id: property(&letter, "message_id"),
                correlation: letter.correlation(),
                mark: letter.mark,
                to,
                outcome: Outcome::Would,
            };
            meant.push(Meant { token, row, copy, was_given_out: letter.redelivered });
        }
        meant
    }

    fn stamp(&self) -> Stamp {
        let at = jiff::Timestamp::from_nanosecond(i128::from(now())).unwrap_or_default();
        Stamp {
            number: format!("{}/{}", self.job.id, self.number),
            who: self.job.who.clone(),
            at: format!("{at:.3}"),
        }
    }

    /// A dry run: says what would become of each.
    async fn look(&mut self, source: &mut dyn Source, meant: Vec<Meant>) -> Vec<Row> {
        let mut rows = Vec::with_capacity(meant.len());
        for one in meant {
            let would = match &one.copy {
                Err(why) => Err(why.clone()),
                Ok(copy) => {
                    let place = (copy.exchange.clone(), copy.routing_key.clone());
                    match self.would.get(&place) {
                        Some(known) => known.clone(),
                        None => {
                            let found = source.would(copy).await;
                            if self.would.len() < MOST_RESULTS {
                                self.would.insert(place, found.clone());
                            }
                            found
                        }
                    }
                }
            };
            let outcome = would.map_or_else(Outcome::Kept, |()| Outcome::Would);
            rows.push(Row { outcome, ..one.row });
        }
        rows
    }

    async fn send(&mut self, source: &mut dyn Source, meant: Vec<Meant>) -> Vec<Row> {
        let (mut moves, mut rows) = (Vec::new(), Vec::new());
        for one in meant {
            match one.copy {
                Err(why) => rows.push(Row { outcome: Outcome::Kept(why), ..one.row }),
                Ok(copy) => {
                    moves.push(Move { token: one.token, copy });
                    let sent = match self.cut_off && one.was_given_out {
                        true => Outcome::SentPerhapsTwice,
                        false => Outcome::Sent,
                    };
                    rows.push(Row { outcome: sent, ..one.row });
                }
            }
        }
        let mut answers = source.send(moves).await.into_iter();
        for row in rows.iter_mut().filter(|row| !matches!(row.outcome, Outcome::Kept(_))) {
            match answers.next() {
                Some(Moved::Sent) => {}
                Some(Moved::Kept(why)) => row.outcome = Outcome::Kept(why),
                Some(Moved::Unknown(why)) => row.outcome = Outcome::Unknown(why),
                None => row.outcome = Outcome::Unknown("nothing was answered".to_owned()),
            }
        }
        rows
    }
}

fn property(letter: &Letter, name: &str) -> Option<String> {
    letter.property(name).filter(|id| !id.is_empty()).map(|id| id.chars().take(200).collect())
}

/// How a job ended, in words for the audit.
pub(super) fn words(job: &Job) -> String {
    let progress = job.progress();
    let mut words = match &progress.ended {
        Some((_, Ended::Failed(why))) => format!("failed: {why}; "),
        Some((_, Ended::Stopped)) => "stopped; ".to_owned(),
        _ => String::new(),
    };
    let sent = if job.order.is_dry { "would be sent" } else { "sent" };
    words.push_str(&format!("{} {sent}, {} kept where they were", progress.sent, progress.kept));
    if progress.perhaps_twice > 0 {
        words.push_str(&format!(", {} of those sent perhaps for the second time", progress.perhaps_twice));
    }
    if progress.unknown > 0 {
        words.push_str(&format!(", {} perhaps in both places", progress.unknown));
    }
    let mut reasons: Vec<&str> = Vec::new();
    for row in &progress.results {
        if let Outcome::Kept(why) | Outcome::Unknown(why) = &row.outcome
            && !reasons.contains(&why.as_str())
        {
            reasons.push(why);
        }
    }
    if !reasons.is_empty() {
        let more = if reasons.len() > REASONS { "; …" } else { "" };
        reasons.truncate(REASONS);
        words.push_str(&format!(" ({}{more})", reasons.join("; ")));
    }
    words
}
