//! What an index can answer of a query, and what the summary of a trace can.

use super::judge::{compare, is_match, of_trace};
use super::tree::{Condition, Field, Intrinsic, Join, Literal, Operator, Scope, Spans};
use crate::dashboard::model::{SpanId, StatusCode, TraceId, TraceSummary, Value, hash};
use crate::dashboard::store::{Plan, Verdict};

/// What every trace that satisfies the query is found by.
pub fn of(spans: &Spans) -> Plan {
    match spans {
        Spans::Where(None) => Plan::Everything,
        Spans::Where(Some(condition)) => of_condition(condition),
        Spans::Joined(left, Join::Or, right) => Plan::any([of(left), of(right)]),
        // A trace may have come in shares that lie apart, one with the left spans and one with the right ones:
        // a share is found by one side alone.
        Spans::Joined(left, _, right) => {
            let (left, right) = (of(left), of(right));
            if right.rank() > left.rank() { right } else { left }
        }
    }
}

fn of_condition(condition: &Condition) -> Plan {
    match condition {
        Condition::And(..) => {
            let mut leaves = Vec::new();
            flatten(condition, &mut leaves);
            let plans: Vec<Plan> = leaves.iter().map(|leaf| of_condition(leaf)).collect();
            // One span of the service that failed is rarer than one of the service and one that failed.
            let failed = plans.contains(&Plan::Error);
            let service = plans.iter().find_map(|plan| match plan {
                Plan::Service(name) if failed => Some(Plan::ServiceError(name.clone())),
                _ => None,
            });
            Plan::all(plans.into_iter().chain(service))
        }
        Condition::Or(left, right) => Plan::any([of_condition(left), of_condition(right)]),
        Condition::Compare(field, Operator::Equal, literal) => of_equal(field, literal),
        _ => Plan::Everything,
    }
}

fn of_equal(field: &Field, literal: &Literal) -> Plan {
    let text = match literal {
        Literal::Text(text) | Literal::Word(text) => text.as_str(),
        _ => "",
    };
    match field {
        Field::Intrinsic(Intrinsic::Name) => Plan::SpanName(text.to_owned()),
        Field::Intrinsic(Intrinsic::RootName) => Plan::RootName(text.to_owned()),
        Field::Intrinsic(Intrinsic::Correlation) => Plan::Correlation(text.to_owned()),
        Field::Intrinsic(Intrinsic::Status) if *literal == Literal::Status(StatusCode::Error) => Plan::Error,
        Field::Intrinsic(Intrinsic::TraceId) => TraceId::parse(text).map_or(Plan::Nothing, Plan::Trace),
        Field::Intrinsic(Intrinsic::SpanId) => SpanId::parse(text).map_or(Plan::Nothing, Plan::Span),
        Field::Intrinsic(Intrinsic::LinkTraceId) => TraceId::parse(text).map_or(Plan::Nothing, Plan::LinkTo),
        Field::Intrinsic(_) => Plan::Everything,
        Field::Attribute(Scope::Resource, key) if key == "service.name" => Plan::Service(text.to_owned()),
        Field::Attribute(scope, key) => {
            let hashes: Vec<u32> = values(literal).iter().filter_map(|value| hash::of(key, value)).collect();
            match scope {
                Scope::Span | Scope::Event | Scope::Link => Plan::Attribute(hashes),
                Scope::Resource => Plan::Resource(hashes),
                Scope::Any => Plan::any([Plan::Attribute(hashes.clone()), Plan::Resource(hashes)]),
                Scope::Instrumentation => Plan::Everything,
            }
        }
    }
}

/// The values that are equal to a literal, as an attribute may have them.
fn values(literal: &Literal) -> Vec<Value> {
    match literal {
        Literal::Text(text) | Literal::Word(text) => vec![Value::Text(text.clone())],
        Literal::Int(number) => {
            vec![Value::Int(*number), Value::Double(*number as f64), Value::Text(number.to_string())]
        }
        Literal::Double(number) => {
            let mut values = vec![Value::Double(*number), Value::Text(number.to_string())];
            values.extend((number.fract() == 0.0).then_some(Value::Int(*number as i64)));
            values
        }
        Literal::Bool(truth) => vec![Value::Bool(*truth), Value::Text(truth.to_string())],
        Literal::Duration(ns) => vec![Value::Int(*ns as i64), Value::Double(*ns as f64)],
        Literal::Status(_) | Literal::Kind(_) => Vec::new(),
    }
}

fn flatten<'a>(condition: &'a Condition, leaves: &mut Vec<&'a Condition>) {
    match condition {
        Condition::And(left, right) => {
            flatten(left, leaves);
            flatten(right, leaves);
        }
        leaf => leaves.push(leaf),
    }
}

/// Whether a trace with this summary satisfies the query, as far as that can be told without its spans.
pub fn of_summary(spans: &Spans, summary: &TraceSummary) -> Verdict {
    match spans {
        Spans::Where(None) => Verdict::of(summary.spans > 0),
        Spans::Where(Some(condition)) => some_span(condition, summary),
        Spans::Joined(left, join, right) => {
            let sides = [of_summary(left, summary), of_summary(right, summary)];
            match join {
                Join::And => all(sides),
                Join::Or => any(sides),
                _ if sides.contains(&Verdict::No) => Verdict::No,
                _ => Verdict::Open,
            }
        }
    }
}

/// Whether a span exists for which the condition holds.
fn some_span(condition: &Condition, summary: &TraceSummary) -> Verdict {
    let mut leaves = Vec::new();
    flatten(condition, &mut leaves);
    let mut service: Option<&str> = None;
    let mut failed = false;
    let mut rest = Verdict::Yes;
    for leaf in leaves {
        match leaf {
            Condition::Compare(field, Operator::Equal, Literal::Text(name) | Literal::Word(name))
                if is_service(field) && service.is_none_or(|known| known == name) =>
            {
                service = Some(name);
            }
            Condition::Compare(
                Field::Intrinsic(Intrinsic::Status),
                Operator::Equal,
                Literal::Status(StatusCode::Error),
            ) => failed = true,
            other => rest = all([rest, every_span(other, summary)]),
        }
    }
    let least = |count: u32| Verdict::of(count > 0);
    let known = match service {
        None if failed => least(summary.errors),
        None => least(summary.spans),
        Some(name) => match summary.share(name) {
            Some(share) if failed => least(share.errors),
            Some(share) => least(share.spans),
            // It may be among the services that the summary only counts.
            None if summary.more_services > 0 => Verdict::Open,
            None => Verdict::No,
        },
    };
    all([known, rest])
}

fn is_service(field: &Field) -> bool {
    matches!(field, Field::Attribute(Scope::Resource, key) if key == "service.name")
}

/// Yes where the condition holds for every span, no where for none.
fn every_span(condition: &Condition, summary: &TraceSummary) -> Verdict {
    match condition {
        Condition::And(left, right) => all([every_span(left, summary), every_span(right, summary)]),
        Condition::Or(left, right) => any([every_span(left, summary), every_span(right, summary)]),
        Condition::Not(inner) => match every_span(inner, summary) {
            Verdict::Yes => Verdict::No,
            Verdict::No => Verdict::Yes,
            Verdict::Open => Verdict::Open,
        },
        Condition::Compare(Field::Intrinsic(field), operator, literal) => {
            // A summary keeps some correlation IDs only.
            if *field == Intrinsic::Correlation
                && summary.correlations.len() >= TraceSummary::MAX_CORRELATIONS
            {
                return Verdict::Open;
            }
            match of_trace(*field, summary, &mut |seen| compare(&seen, *operator, literal)) {
                Some(answer) => Verdict::of(answer),
                None => of_span(*field, *operator, literal, summary),
            }
        }
        Condition::Compare(field, Operator::Equal, Literal::Text(name) | Literal::Word(name))
            if is_service(field) =>
        {
            let there = summary.share(name).is_some();
            if there || summary.more_services > 0 { Verdict::Open } else { Verdict::No }
        }
        Condition::Match(Field::Intrinsic(field), pattern) => {
            of_trace(*field, summary, &mut |seen| is_match(&seen, pattern)).map_or(Verdict::Open, Verdict::of)
        }
        _ => Verdict::Open,
    }
}

/// A comparison with a field of spans that the summary bounds.
fn of_span(field: Intrinsic, operator: Operator, literal: &Literal, summary: &TraceSummary) -> Verdict {
    match (field, operator, literal) {
        (Intrinsic::Status, Operator::Equal, Literal::Status(StatusCode::Error)) if summary.errors == 0 => {
            Verdict::No
        }
        _ => Verdict::Open,
    }
}

fn all<const N: usize>(verdicts: [Verdict; N]) -> Verdict {
    if verdicts.contains(&Verdict::No) {
        Verdict::No
    } else if verdicts.contains(&Verdict::Open) {
        Verdict::Open
    } else {
        Verdict::Yes
    }
}

fn any<const N: usize>(verdicts: [Verdict; N]) -> Verdict {
    if verdicts.contains(&Verdict::Yes) {
        Verdict::Yes
    } else if verdicts.contains(&Verdict::Open) {
        Verdict::Open
    } else {
        Verdict::No
    }
}
