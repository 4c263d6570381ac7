//! Whether a trace satisfies a query.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use super::tree::{Condition, Field, Intrinsic, Join, Literal, Operator, Pattern, Scope, Spans};
use crate::dashboard::model::value::Attributes;
use crate::dashboard::model::{Kind, Span, SpanId, StatusCode, Trace, TraceSummary, Value};

/// Whether some spans of the trace satisfy the whole.
pub fn matches(spans: &Spans, summary: &TraceSummary, trace: &Trace) -> bool {
    let judge = Judge { summary, trace, by_id: HashMap::new() };
    judge.with_ids(spans).found(spans).contains(&true)
}

/// Which spans of a trace are in a set, by their index.
type Found = Vec<bool>;

struct Judge<'a> {
    summary: &'a TraceSummary,
    trace: &'a Trace,
    /// The first span of each ID, where the query asks for parents.
    by_id: HashMap<SpanId, usize>,
}

impl<'a> Judge<'a> {
    fn with_ids(mut self, spans: &Spans) -> Self {
        if matches!(spans, Spans::Joined(..)) {
            for (index, span) in self.trace.spans.iter().enumerate() {
                self.by_id.entry(span.span_id).or_insert(index);
            }
        }
        self
    }

    fn found(&self, spans: &Spans) -> Found {
        match spans {
            Spans::Where(None) => vec![true; self.trace.spans.len()],
            Spans::Where(Some(condition)) => {
                self.trace.spans.iter().map(|span| self.holds(condition, span)).collect()
            }
            Spans::Joined(left, join, right) => {
                let (left, right) = (self.found(left), self.found(right));
                match join {
                    Join::Or => left.iter().zip(&right).map(|(a, b)| *a || *b).collect(),
                    Join::And if left.contains(&true) && right.contains(&true) => {
                        left.iter().zip(&right).map(|(a, b)| *a || *b).collect()
                    }
                    Join::And => vec![false; left.len()],
                    Join::Child => self.below(&left, &right, false),
                    Join::Descendant => self.below(&left, &right, true),
                    Join::Sibling => self.beside(&left, &right),
                }
            }
        }
    }

    fn parent(&self, index: usize) -> Option<usize> {
        self.by_id.get(&self.trace.spans[index].parent?).copied().filter(|parent| *parent != index)
    }

    /// Those of `right` that are below one of `left`: right below, or anywhere with `deep`.
    fn below(&self, left: &[bool], right: &[bool], deep: bool) -> Found {
        // Whether something above a span is in `left`, as far as that is known.
        let mut known: Vec<Option<bool>> = vec![None; left.len()];
        let mut above = |index: usize| {
            let (mut path, mut at) = (Vec::new(), index);
            let answer = loop {
                if let Some(answer) = known[at] {
                    break answer;
                }
                path.push(at);
                // In a ring of parents nothing more is found on the second round.
                known[at] = Some(false);
                match self.parent(at) {
                    None => break false,
                    Some(parent) if left[parent] => break true,
                    Some(_) if !deep => break false,
                    Some(parent) => at = parent,
                }
            };
            if deep {
                path.into_iter().for_each(|passed| known[passed] = Some(answer));
            } else {
                known[index] = Some(answer);
            }
            answer
        };
        (0..right.len()).map(|index| right[index] && above(index)).collect()
    }

    /// Those of `right` with the parent of another span in `left`.
    fn beside(&self, left: &[bool], right: &[bool]) -> Found {
        let mut parents: HashMap<SpanId, usize> = HashMap::new();
        for (span, _) in self.trace.spans.iter().zip(left).filter(|(_, found)| **found) {
            if let Some(parent) = span.parent {
                *parents.entry(parent).or_default() += 1;
            }
        }
        let beside = |index: usize| {
            let others = self.trace.spans[index].parent.and_then(|parent| parents.get(&parent).copied());
            others.is_some_and(|count| count > usize::from(left[index]))
        };
        (0..right.len()).map(|index| right[index] && beside(index)).collect()
    }

    fn holds(&self, condition: &Condition, span: &Span) -> bool {
        match condition {
            Condition::And(a, b) => self.holds(a, span) && self.holds(b, span),
            Condition::Or(a, b) => self.holds(a, span) || self.holds(b, span),
            Condition::Not(inner) => !self.holds(inner, span),
            Condition::Compare(field, operator, literal) => {
                self.any(field, span, &mut |seen| compare(&seen, *operator, literal))
            }
            Condition::Match(field, pattern) => self.any(field, span, &mut |seen| is_match(&seen, pattern)),
            Condition::Exists(field) => self.any(field, span, &mut |_| true),
            Condition::Missing(field) => !self.any(field, span, &mut |_| true),
        }
    }

    /// Whether one of the field's values satisfies `test`.
    fn any(&self, field: &Field, span: &Span, test: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        match field {
            Field::Intrinsic(intrinsic) => self.intrinsic(*intrinsic, span, test),
            Field::Attribute(scope, key) => {
                let mut of = |attributes: &Attributes| {
                    attributes.iter().any(|(name, value)| name == key && any_of(value, test))
                };
                match scope {
                    Scope::Any => of(&span.attributes) || of(&span.resource.attributes),
                    Scope::Span => of(&span.attributes),
                    Scope::Resource if key == "service.name" => test(Seen::Text(span.service().into())),
                    Scope::Resource => of(&span.resource.attributes),
                    Scope::Instrumentation => of(&span.scope.attributes),
                    Scope::Event => span.events.iter().any(|event| of(&event.attributes)),
                    Scope::Link => span.links.iter().any(|link| of(&link.attributes)),
                }
            }
        }
    }

    fn intrinsic(&self, field: Intrinsic, span: &Span, test: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
        if let Some(answer) = of_trace(field, self.summary, test) {
            return answer;
        }
        let filled = |text: &str| (!text.is_empty()).then(|| Seen::Text(text.to_owned().into()));
        match field {
            Intrinsic::Name => test(Seen::Text((&span.name).into())),
            Intrinsic::Duration => test(Seen::Duration(span.duration())),
            Intrinsic::Status => test(Seen::Status(span.status)),
            Intrinsic::Kind => test(Seen::Kind(span.kind)),
            Intrinsic::SpanId => test(Seen::Text(span.span_id.to_string().into())),
            Intrinsic::StatusMessage => filled(&span.status_message).is_some_and(test),
            Intrinsic::ScopeName => filled(&span.scope.name).is_some_and(test),
            Intrinsic::ScopeVersion => filled(&span.scope.version).is_some_and(test),
            Intrinsic::ParentId => span.parent.is_some_and(|id| test(Seen::Text(id.to_string().into()))),
            Intrinsic::EventName => span.events.iter().any(|event| test(Seen::Text((&event.name).into()))),
            Intrinsic::LinkTraceId => {
                span.links.iter().any(|link| test(Seen::Text(link.trace_id.to_string().into())))
            }
            Intrinsic::LinkSpanId => {
                let mut ids = span.links.iter().filter_map(|link| link.span_id);
                ids.any(|id| test(Seen::Text(id.to_string().into())))
            }
            // Answered from the summary, above.
            _ => false,
        }
    }
}

/// A field of the whole trace, out of its summary; `None` for fields of spans.
pub fn of_trace(
    field: Intrinsic,
    summary: &TraceSummary,
    test: &mut dyn FnMut(Seen<'_>) -> bool,
) -> Option<bool> {
    Some(match field {
        Intrinsic::TraceId => test(Seen::Text(summary.trace_id.to_string().into())),
        Intrinsic::TraceDuration => test(Seen::Duration(summary.duration())),
        Intrinsic::TraceErrors => test(Seen::Int(i64::from(summary.errors))),
        Intrinsic::TraceSpans => test(Seen::Int(i64::from(summary.spans))),
        Intrinsic::RootName => {
            summary.root.as_ref().is_some_and(|root| test(Seen::Text((&root.name).into())))
        }
        Intrinsic::RootService => {
            summary.root.as_ref().is_some_and(|root| test(Seen::Text((&root.service).into())))
        }
        Intrinsic::Correlation => {
            summary.correlations.iter().any(|known| test(Seen::Text((&known.value).into())))
        }
        _ => return None,
    })
}

/// A value that a field has.
pub enum Seen<'a> {
    Text(Cow<'a, str>),
    Int(i64),
    Double(f64),
    Bool(bool),
    Duration(u64),
    Status(StatusCode),
    Kind(Kind),
}

/// Whether a value, or an element of a list, satisfies `test`. Maps and bytes are compared as text.
fn any_of(value: &Value, test: &mut dyn FnMut(Seen<'_>) -> bool) -> bool {
    match value {
        Value::Empty => false,
        Value::Text(text) => test(Seen::Text(text.into())),
        Value::Bool(truth) => test(Seen::Bool(*truth)),
        Value::Int(number) => test(Seen::Int(*number)),
        Value::Double(number) => test(Seen::Double(*number)),
        Value::List(items) => items.iter().any(|item| any_of(item, test)),
        Value::Bytes(_) | Value::Map(_) => test(Seen::Text(value.to_text().into())),
    }
}

/// Compares; values of types that have nothing to do with each other are unequal and in no order.
pub fn compare(seen: &Seen<'_>, operator: Operator, literal: &Literal) -> bool {
    let order = match (seen, literal) {
        (Seen::Text(text), Literal::Text(wanted) | Literal::Word(wanted)) => Some(text.as_ref().cmp(wanted)),
        // A number or truth value that an instrumentation sent as text.
        (Seen::Text(text), Literal::Int(number)) => same(text, &number.to_string()),
        (Seen::Text(text), Literal::Double(number)) => same(text, &number.to_string()),
        (Seen::Text(text), Literal::Bool(truth)) => same(text, &truth.to_string()),
        (Seen::Int(a), Literal::Int(b)) => Some(a.cmp(b)),
        (Seen::Int(a), Literal::Double(b)) => (*a as f64).partial_cmp(b),
        (Seen::Double(a), Literal::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Seen::Double(a), Literal::Double(b)) => a.partial_cmp(b),
        (Seen::Int(a), Literal::Duration(ns)) => (*a as f64).partial_cmp(&(*ns as f64)),
        (Seen::Double(a), Literal::Duration(ns)) => a.partial_cmp(&(*ns as f64)),
        (Seen::Duration(a), Literal::Duration(b)) => Some(a.cmp(b)),
        (Seen::Bool(a), Literal::Bool(b)) => (a == b).then_some(Ordering::Equal),
        (Seen::Status(a), Literal::Status(b)) => (a == b).then_some(Ordering::Equal),
        (Seen::Kind(a), Literal::Kind(b)) => (a == b).then_some(Ordering::Equal),
        _ => None,
    };
    match operator {
        Operator::Equal => order == Some(Ordering::Equal),
        Operator::Unequal => order != Some(Ordering::Equal),
        Operator::Less => order == Some(Ordering::Less),
        Operator::LessOrEqual => order.is_some_and(Ordering::is_le),
        Operator::Greater => order == Some(Ordering::Greater),
        Operator::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    }
}

fn same(text: &str, wanted: &str) -> Option<Ordering> {
    (text == wanted).then_some(Ordering::Equal)
}

/// Whether a value as text is matched, or with a negated pattern is not.
pub fn is_match(seen: &Seen<'_>, pattern: &Pattern) -> bool {
    let matched = match seen {
        Seen::Text(text) => pattern.regex.is_match(text),
        Seen::Int(number) => pattern.regex.is_match(&number.to_string()),
        Seen::Double(number) => pattern.regex.is_match(&number.to_string()),
        Seen::Bool(truth) => pattern.regex.is_match(&truth.to_string()),
        Seen::Duration(ns) => pattern.regex.is_match(&ns.to_string()),
        Seen::Kind(kind) => pattern.regex.is_match(kind.word()),
        Seen::Status(status) => pattern.regex.is_match(status.word()),
    };
    matched != pattern.negated
}
