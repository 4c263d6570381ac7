//! The conditions that the form beside the query line shows, and the rest of the query.

use super::tree::{Condition, Field, Intrinsic, Literal, Operator, Query, Scope, Spans};
use super::{QueryError, write};
use crate::dashboard::model::StatusCode;

/// A query taken apart for the form. Each part is missing where the query does not ask for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Form {
    pub service: Option<String>,
    /// The name of the root span.
    pub operation: Option<String>,
    /// True for traces with a failed span, false for those without one.
    pub failed: Option<bool>,
    /// Bounds of the trace's duration in ns, both included.
    pub min: Option<u64>,
    pub max: Option<u64>,
    pub correlation: Option<String>,
    /// What the form has no place for, as a query.
    pub rest: Option<String>,
}

impl Form {
    /// Takes a query apart.
    pub fn of(query: &Query) -> Self {
        let mut form = Self::default();
        match &query.spans {
            Spans::Where(None) => {}
            Spans::Where(Some(condition)) => {
                let mut rest: Option<Condition> = None;
                form.take(condition, &mut rest);
                form.rest = rest.map(|rest| rest.to_string());
            }
            joined => form.rest = Some(joined.to_string()),
        }
        form
    }

    fn take(&mut self, condition: &Condition, rest: &mut Option<Condition>) {
        if let Condition::And(left, right) = condition {
            self.take(left, rest);
            return self.take(right, rest);
        }
        if self.place(condition).is_none() {
            let condition = condition.clone();
            *rest = Some(match rest.take() {
                Some(before) => Condition::And(Box::new(before), Box::new(condition)),
                None => condition,
            });
        }
    }

    /// Puts a condition into its place, if there is a free one.
    fn place(&mut self, condition: &Condition) -> Option<()> {
        use {Field::Intrinsic as Of, Operator::*};
        let Condition::Compare(field, operator, literal) = condition else { return None };
        let free =
            |place: &mut Option<String>, text: &str| place.is_none().then(|| *place = Some(text.to_owned()));
        let bound = |place: &mut Option<u64>, ns: u64| place.is_none().then(|| *place = Some(ns));
        match (field, operator, literal) {
            (Field::Attribute(Scope::Resource, key), Equal, Literal::Text(text) | Literal::Word(text))
                if key == "service.name" =>
            {
                free(&mut self.service, text)
            }
            (Of(Intrinsic::RootName), Equal, Literal::Text(text) | Literal::Word(text)) => {
                free(&mut self.operation, text)
            }
            (Of(Intrinsic::Correlation), Equal, Literal::Text(text) | Literal::Word(text)) => {
                free(&mut self.correlation, text)
            }
            (Of(Intrinsic::Status), Equal, Literal::Status(StatusCode::Error)) if self.failed.is_none() => {
                self.failed = Some(true);
                Some(())
            }
            (Of(Intrinsic::TraceErrors), Equal, Literal::Int(0)) if self.failed.is_none() => {
                self.failed = Some(false);
                Some(())
            }
            (Of(Intrinsic::TraceDuration), GreaterOrEqual, Literal::Duration(ns)) => {
                bound(&mut self.min, *ns)
            }
            (Of(Intrinsic::TraceDuration), LessOrEqual, Literal::Duration(ns)) => bound(&mut self.max, *ns),
            _ => None,
        }
    }

    /// The query as one line; empty where nothing is asked for. `rest` is taken as it was written.
    pub fn text(&self) -> Result<String, QueryError> {
        let mut parts = Vec::new();
        let mut text = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                parts.push(format!("{key} = {}", write::value(value)));
            }
        };
        text("service.name", &self.service);
        text("trace:rootName", &self.operation);
        text("correlation.id", &self.correlation);
        match self.failed {
            Some(true) => parts.push("status = error".to_owned()),
            Some(false) => parts.push("trace:errors = 0".to_owned()),
            None => {}
        }
        if let Some(ns) = self.min {
            parts.push(format!("trace:duration >= {}", write::duration(ns)));
        }
        if let Some(ns) = self.max {
            parts.push(format!("trace:duration <= {}", write::duration(ns)));
        }
        let Some(rest) = self.rest.as_ref().filter(|rest| !rest.trim().is_empty()) else {
            return Ok(parts.join(" and "));
        };
        let rest = super::read(rest)?;
        if parts.is_empty() {
            return Ok(rest.to_string());
        }
        Ok(match rest.spans {
            Spans::Where(Some(condition)) => {
                let grouped = matches!(condition, Condition::Or(..));
                parts.push(if grouped { format!("({condition})") } else { condition.to_string() });
                parts.join(" and ")
            }
            Spans::Where(None) => parts.join(" and "),
            joined => format!("{{ {} }} && ({joined})", parts.join(" and ")),
        })
    }
}
