//! Where deeds are asked for: each is written into the audit, done, and its end is added.
//!
//! Whether the visitor may was asked before. A deed goes on where its visitor leaves: it runs in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use super::job::{Ended, Job, Jobs};
use super::kept::{Kept, Peeked};
use super::letter::Letter;
use super::order::{Copy, Edit, Nature, Order, Stamp, Target};
use super::refused::Refused;
use super::{Brokers, Hands, Look, Place, Trouble, run};
use crate::dashboard::keys::Visitor;
use crate::dashboard::model::audit::{Action, AuditFilter, Audited, Ending, Intent};
use crate::dashboard::model::now;
use crate::dashboard::store::{AuditLog, StoreError};

/// Messages that one look shows at most.
pub const MOST_PEEKED: usize = 200;
/// What a row says of an attempt that was refused.
const NOTHING: &str = "nothing: it was refused";
/// How often the end of a deed is tried to be written, and how long apart.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// The desk. Without an audit nothing can be done.
#[derive(Default)]
pub struct Desk {
    brokers: Brokers,
    audit: Option<Arc<dyn AuditLog>>,
    pub jobs: Arc<Jobs>,
    pub kept: Kept,
    refused: Refused,
}

impl Desk {
    /// A desk for brokers.
    pub fn new(brokers: Brokers, audit: Arc<dyn AuditLog>) -> Self {
        Self { brokers, audit: Some(audit), ..Self::default() }
    }

    /// Whether the settings name a way to act on a broker.
    pub fn can_act_on(&self, broker: &str) -> bool {
        self.brokers.0.iter().any(|hands| hands.broker() == broker)
    }

    /// Whether a look into its queues changes nothing.
    pub fn looks_are_free(&self, broker: &str) -> bool {
        self.brokers.0.iter().any(|hands| hands.broker() == broker && hands.looks_are_free())
    }

    fn hands(&self, broker: &str) -> Result<Arc<dyn Hands>, Trouble> {
        self.brokers.0.iter().find(|hands| hands.broker() == broker).cloned().ok_or_else(|| {
            Trouble::NoHands(format!(
                "Throughline has no way to act on “{broker}”: start it with --rabbitmq-amqp {broker}=amqp://USER:PASSWORD@HOST:5672 \
                 (THROUGHLINE_RABBITMQ_AMQP)"
            ))
        })
    }

    fn audit(&self) -> Result<Arc<dyn AuditLog>, Trouble> {
        let none = || StoreError::Unavailable("there is no audit".to_owned());
        self.audit.clone().ok_or_else(|| Trouble::Audit(none()))
    }

    /// Rows of the audit, the newest first.
    pub async fn audited(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError> {
        match &self.audit {
            Some(audit) => audit.audited(filter).await,
            None => Ok(Vec::new()),
        }
    }

    /// Writes down that somebody tried what takes the role `needs`. Nothing was done, so that a store which cannot take the row
    /// is only logged.
    pub async fn refused(&self, by: &Visitor, action: Action, place: &Place, needs: &str) {
        let Some(audit) = &self.audit else { return };
        if !self.refused.is_news(by, action, place, now()) {
            return;
        }
        match audit.begin_audit(intent(by, action, place, NOTHING.to_owned())).await {
            Ok(id) => end(&**audit, id, false, 0, format!("refused: it takes the role {needs}")).await,
            Err(error) => {
                tracing::warn!(%error, who = %by.who, action = action.name(), queue = place.queue, "a refused attempt is not in the audit")
            }
        }
    }

    /// Looks at the first messages of a queue.
    pub async fn peek(
        &self,
        by: &Visitor,
        place: &Place,
        nature: Nature,
        look: Look,
    ) -> Result<Arc<Peeked>, Trouble> {
        let (hands, audit) = (self.hands(&place.broker)?, self.audit()?);
        let mut detail = format!("{} messages at most", look.count);
        if nature.is("stream") {
            detail.push_str(&format!(", from {}", look.offset));
        }
        let id = audit.begin_audit(intent(by, Action::Peek, place, detail)).await?;
        let at = place.clone();
        let work = async move {
            let peeked = hands.peek(&at, &nature, &look).await;
            let (is_done, messages, outcome) = match &peeked {
                Ok(letters) => (true, letters.len() as u64, "looked at and given back".to_owned()),
                Err(trouble) => (false, 0, trouble.to_string()),
            };
            end(&*audit, id, is_done, messages, outcome).await;
            peeked
        };
        let letters = self.owned(work).await??;
        let peeked = Arc::new(Peeked { id, place: place.clone(), at: now(), letters });
        self.kept.keep(peeked.clone());
        Ok(peeked)
    }

    /// Notes that somebody sees what is masked, before they do.
    pub async fn reveal(&self, by: &Visitor, place: &Place, what: &str) -> Result<(), Trouble> {
        let audit = self.audit()?;
        let id = audit.begin_audit(intent(by, Action::Reveal, place, what.to_owned())).await?;
        end(&*audit, id, true, 1, "shown as it is".to_owned()).await;
        Ok(())
    }

    /// Begins a redrive, or a dry run of one.
    pub async fn redrive(&self, by: &Visitor, place: &Place, order: Order) -> Result<Arc<Job>, Trouble> {
        order.check()?;
        let (hands, audit) = (self.hands(&place.broker)?, self.audit()?);
        let reserved = self.jobs.reserve(place)?;
        let cut_off = self.was_cut_off(&*audit, place).await?;
        let action = if order.is_dry { Action::DryRun } else { Action::Redrive };
        let id = audit.begin_audit(intent(by, action, place, order.words())).await?;
        let job = Arc::new(Job::new(id, place.clone(), order, by.who.to_string()));
        self.jobs.put(job.clone());
        drop(reserved);
        let (jobs, mine) = (self.jobs.clone(), job.clone());
        self.jobs.tasks.spawn(async move {
            let ended = run::run(&*hands, &mine, &jobs, cut_off).await;
            let (is_done, sent) = {
                let mut progress = mine.lock();
                progress.ended = Some((now(), ended.clone()));
                (ended == Ended::Done && progress.kept == 0 && progress.unknown == 0, progress.sent)
            };
            jobs.changed();
            end(&*audit, mine.id, is_done, sent, run::words(&mine)).await;
        });
        Ok(job)
    }

    /// Whether the last redrive of a queue has no end: its process ended in the middle of it.
    async fn was_cut_off(&self, audit: &dyn AuditLog, place: &Place) -> Result<bool, Trouble> {
        let filter = AuditFilter {
            action: Some(Action::Redrive),
            broker: Some(place.broker.clone()),
            virtual_host: Some(place.virtual_host.clone()),
            queue: Some(place.queue.clone()),
            most: 20,
            ..AuditFilter::default()
        };
        let rows = audit.audited(&filter).await?;
        let last = rows.iter().find(|row| row.intent.queue == place.queue && row.intent.detail != NOTHING);
        Ok(last.is_some_and(|row| row.ending.is_none() && self.jobs.find(row.id).is_none()))
    }

    /// Publishes a copy of a message that was looked at, and leaves the original.
    pub async fn republish(
        &self,
        by: &Visitor,
        place: &Place,
        letter: Letter,
        target: Target,
        edit: Edit,
    ) -> Result<u64, Trouble> {
        if !letter.is_whole() && edit.body.is_none() {
            return Err(Trouble::Refused(
                "only the begin of this message is known here: redrive it, which sends it whole".to_owned(),
            ));
        }
        let order = Order { target, edit, resets: true, ..Order::default() };
        let one = super::order::Wanted { marks: Some(vec![letter.mark.clone()]), ..Default::default() };
        Order { wanted: one, ..order.clone() }.check()?;
        let (hands, audit) = (self.hands(&place.broker)?, self.audit()?);
        let id = audit
            .begin_audit(intent(
                by,
                Action::Republish,
                place,
                format!("a copy of {}, {}", letter.mark, order.changes()),
            ))
            .await?;
        let stamp = Stamp { number: format!("{id}/1"), who: by.who.to_string(), at: moment() };
        let (at, copy) = (place.clone(), order.copy(&letter, stamp));
        let work = async move {
            let sent = match copy {
                Ok(copy) => send_one(&*hands, &at, &letter, &copy).await,
                Err(why) => Err(Trouble::Refused(why)),
            };
            let outcome = sent.as_ref().map_or_else(ToString::to_string, |to| format!("sent to {to}"));
            end(&*audit, id, sent.is_ok(), u64::from(sent.is_ok()), outcome).await;
            sent
        };
        self.owned(work).await??;
        Ok(id)
    }

    /// Removes all messages of a queue that are ready; gives how many.
    pub async fn purge(&self, by: &Visitor, place: &Place) -> Result<u64, Trouble> {
        let (hands, audit) = (self.hands(&place.broker)?, self.audit()?);
        let id =
            audit.begin_audit(intent(by, Action::Purge, place, "all messages that are ready".into())).await?;
        let at = place.clone();
        let work = async move {
            let purged = hands.purge(&at).await;
            let (is_done, messages, outcome) = match &purged {
                Ok(count) => (true, *count, format!("{count} messages removed")),
                Err(trouble) => (false, 0, trouble.to_string()),
            };
            end(&*audit, id, is_done, messages, outcome).await;
            purged
        };
        self.owned(work).await?
    }

    /// Does work to its end, whether or not somebody waits for it.
    async fn owned<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Trouble> {
        let ended = self.jobs.tasks.spawn(work).await;
        ended.map_err(|_| Trouble::Away("it was broken off by a fault of ours; the log says more".to_owned()))
    }
}

async fn send_one(hands: &dyn Hands, place: &Place, letter: &Letter, copy: &Copy) -> Result<String, Trouble> {
    hands.publish(place, letter, copy).await?;
    Ok(match copy.exchange.as_str() {
        "" => format!("queue {}", copy.routing_key),
        exchange => format!("exchange {exchange} with key {}", copy.routing_key),
    })
}

fn moment() -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(now())).unwrap_or_default();
    format!("{at:.3}")
}

fn intent(by: &Visitor, action: Action, place: &Place, detail: String) -> Intent {
    Intent {
        at: now(),
        action,
        role: by.role.name().to_owned(),
        who: by.who.to_string(),
        session: by.session.as_deref().map(str::to_owned),
        broker: place.broker.clone(),
        virtual_host: place.virtual_host.clone(),
        queue: place.queue.clone(),
        detail,
    }
}

/// Adds how a deed ended. Where that cannot be written for a while the log has it.
async fn end(audit: &dyn AuditLog, id: u64, is_done: bool, messages: u64, outcome: String) {
    let ending = Ending { at: now(), is_done, messages, outcome };
    for _ in 0..TRIES {
        match audit.end_audit(id, ending.clone()).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(id, %error, "the end of a deed is not written into the audit yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::error!(id, outcome = ending.outcome, "the end of a deed is not in the audit");
}
