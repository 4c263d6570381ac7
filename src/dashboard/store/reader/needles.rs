//! What is looked up in the index for a list: the filter and its query's plan as terms.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::engine::Shared;
use super::super::run::RunMeta;
use super::super::tail::Tail;
use super::super::term::Term;
use super::super::{Plan, StatusFilter, StoreError, TraceFilter};
use super::ahead::Pages;
use crate::dashboard::model::TraceId;

/// A resource's attribute that more resources of a run have than this narrows little, and is not looked up.
const MAX_RESOURCES: usize = 256;

/// Terms in the ways that they are to be joined.
pub enum Needles {
    All,
    None,
    /// Entries with one of these terms.
    Terms(Vec<Term>),
    /// Entries of a trace.
    Trace(TraceId),
    /// Entries with a correlation ID.
    Correlation(String),
    /// Entries of resources that have an attribute with one of these hashes.
    Resource(Vec<u32>),
    Both(Vec<Needles>),
    Either(Vec<Needles>),
}

impl Needles {
    /// What a filter looks for.
    pub fn of(filter: &TraceFilter) -> Self {
        let service = |name: &String| match filter.status {
            Some(StatusFilter::Error) => Term::service_error(name),
            _ => Term::service(name),
        };
        let status = match filter.status {
            Some(StatusFilter::Error) if filter.service.is_none() => Some(Term::error()),
            Some(StatusFilter::Broke) => Some(Term::broke()),
            _ => None,
        };
        let terms = filter.operation.as_deref().map(Term::operation).into_iter();
        let terms = terms.chain(filter.service.as_ref().map(service)).chain(status);
        let mut all: Vec<Needles> = terms.map(|term| Needles::Terms(vec![term])).collect();
        all.extend(filter.correlation.clone().map(Needles::Correlation));
        all.extend(filter.select.as_ref().map(|select| Needles::plan(select.plan())));
        match all.len() {
            0 => Needles::All,
            1 => all.remove(0),
            _ => Needles::Both(all),
        }
    }

    fn plan(plan: &Plan) -> Self {
        let term = |term| Needles::Terms(vec![term]);
        match plan {
            Plan::Everything => Needles::All,
            Plan::Nothing => Needles::None,
            Plan::Trace(id) => Needles::Trace(*id),
            Plan::Span(id) => term(Term::span(*id)),
            Plan::LinkTo(id) => term(Term::link_to(*id)),
            Plan::Service(name) => term(Term::service(name)),
            Plan::ServiceError(name) => term(Term::service_error(name)),
            Plan::Error => term(Term::error()),
            Plan::RootName(name) => term(Term::operation(name)),
            Plan::SpanName(name) => term(Term::span_name(name.as_bytes())),
            Plan::Correlation(value) => Needles::Correlation(value.clone()),
            Plan::Attribute(hashes) => Needles::Terms(hashes.iter().map(|hash| Term(*hash)).collect()),
            Plan::Resource(hashes) => Needles::Resource(hashes.clone()),
            Plan::All(plans) => Needles::Both(plans.iter().map(Needles::plan).collect()),
            Plan::Any(plans) => Needles::Either(plans.iter().map(Needles::plan).collect()),
        }
    }

    /// Which of the tail's entries have what is looked for; `None` for all of them.
    pub fn in_tail(&self, tail: &Tail) -> Option<Vec<u32>> {
        match self {
            Needles::All => None,
            Needles::None => Some(Vec::new()),
            Needles::Terms(terms) => Some(union(terms.iter().map(|term| tail.ordinals(*term)))),
            Needles::Trace(id) => Some(tail.ordinals(Term::trace(*id))),
            Needles::Correlation(value) => Some(tail.ordinals(Term::correlation(value))),
            Needles::Resource(hashes) => match tail.resources_with(hashes) {
                many if many.len() > MAX_RESOURCES => None,
                terms => Some(union(terms.into_iter().map(|term| tail.ordinals(term)))),
            },
            Needles::Both(all) => {
                all.iter().filter_map(|one| one.in_tail(tail)).reduce(|a, b| common(&a, &b))
            }
            Needles::Either(all) => {
                all.iter().map(|one| one.in_tail(tail)).collect::<Option<Vec<_>>>().map(union)
            }
        }
    }
}

impl Needles {
    /// Whether nothing is looked up.
    pub(super) fn want_all(&self) -> bool {
        matches!(self, Needles::All)
    }

    /// Adds the pages of a run that [`Shared::in_run`] will look into.
    pub(super) fn pages_in(&self, run: &RunMeta, wanted: &mut Vec<(u64, u32)>) {
        let mut term = |term: Term| {
            let (first, end) = run.pages_of(term).map_or((0, 0), |(first, last)| (first, last + 1));
            wanted.extend((first..end).map(|number| (run.id, number)));
        };
        match self {
            Needles::All | Needles::None => {}
            Needles::Terms(terms) => terms.iter().copied().for_each(term),
            Needles::Trace(id) if run.may_hold(*id) => term(Term::trace(*id)),
            Needles::Correlation(value) if run.may_carry(value) => term(Term::correlation(value)),
            Needles::Trace(_) | Needles::Correlation(_) => {}
            Needles::Resource(_) => wanted.push((run.id, run.resources_page())),
            Needles::Both(all) | Needles::Either(all) => all.iter().for_each(|one| one.pages_in(run, wanted)),
        }
    }
}

impl Shared {
    /// Which of a run's entries have what is looked for; `None` for all of them.
    pub(super) fn in_run<'a>(
        &'a self,
        needles: &'a Needles,
        run: &'a RunMeta,
        ahead: &'a Pages,
    ) -> BoxFuture<'a, Result<Option<Vec<u32>>, StoreError>> {
        async move {
            Ok(match needles {
                Needles::All => None,
                Needles::None => Some(Vec::new()),
                Needles::Terms(terms) => Some(self.with_terms(run, terms, ahead).await?),
                Needles::Trace(id) if !run.may_hold(*id) => Some(Vec::new()),
                Needles::Trace(id) => Some(self.ordinals(run, Term::trace(*id), ahead).await?),
                Needles::Correlation(value) if !run.may_carry(value) => Some(Vec::new()),
                Needles::Correlation(value) => {
                    Some(self.ordinals(run, Term::correlation(value), ahead).await?)
                }
                Needles::Resource(hashes) => match self.resources_with(run, hashes, ahead).await? {
                    many if many.len() > MAX_RESOURCES => None,
                    terms => Some(self.with_terms(run, &terms, ahead).await?),
                },
                Needles::Both(all) => {
                    let mut left: Option<Vec<u32>> = None;
                    for one in all {
                        if left.as_ref().is_some_and(Vec::is_empty) {
                            break;
                        }
                        left = match (left, self.narrowing(one, run, ahead).await?) {
                            (Some(a), Some(b)) => Some(common(&a, &b)),
                            (a, b) => a.or(b),
                        };
                    }
                    left
                }
                Needles::Either(all) => {
                    let mut lists = Vec::new();
                    for one in all {
                        let Some(found) = self.in_run(one, run, ahead).await? else { return Ok(None) };
                        lists.push(found);
                    }
                    Some(union(lists))
                }
            })
        }
        .boxed()
    }

    async fn with_terms(&self, run: &RunMeta, terms: &[Term], ahead: &Pages) -> Result<Vec<u32>, StoreError> {
        let mut lists = Vec::with_capacity(terms.len());
        for term in terms {
            lists.push(self.ordinals(run, *term, ahead).await?);
        }
        Ok(union(lists))
    }
}

/// All of some ascending lists, each once, ascending.
fn union(lists: impl IntoIterator<Item = Vec<u32>>) -> Vec<u32> {
    let mut lists = lists.into_iter();
    let mut all = lists.next().unwrap_or_default();
    let first = all.len();
    lists.for_each(|list| all.extend(list));
    if all.len() > first {
        all.sort_unstable();
        all.dedup();
    }
    all
}

/// What two ascending lists have in common.
pub(super) fn common(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut rest = long;
    let mut found = Vec::with_capacity(short.len());
    for wanted in short {
        let at = rest.partition_point(|known| known < wanted);
        rest = &rest[at..];
        if rest.first() == Some(wanted) {
            found.push(*wanted);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_joined() {
        assert_eq!(common(&[1, 3, 5, 9], &[2, 3, 9, 10]), [3, 9]);
        assert_eq!(common(&[], &[1]), Vec::<u32>::new());
        assert_eq!(union([vec![2, 4], vec![], vec![1, 4, 7]]), [1, 2, 4, 7]);
    }
}
