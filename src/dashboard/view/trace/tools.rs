//! The bar above the timeline: find, and the switches. Each is a link, so that it works without script.

use super::super::frame::Frame;
use super::address::Address;
use crate::dashboard::query::waterfall::Waterfall;

/// A switch in the bar: its address when pressed, and whether it is on.
pub struct Switch {
    pub href: String,
    pub on: bool,
}

/// Where one stands in what was found.
pub struct Found {
    pub text: String,
    pub count: usize,
    /// Counted from 1; 0 where none is chosen.
    pub current: usize,
    pub previous: Option<String>,
    pub next: Option<String>,
}

/// The bar.
pub struct Tools {
    pub found: Found,
    pub errors_only: Switch,
    pub path: Switch,
    pub collapse: Switch,
    /// On while every run of internal spans is folded; there only where a trace has runs.
    pub fold: Option<Switch>,
    /// There only where clocks disagree.
    pub clocks: Option<Switch>,
    /// Back from a zoom.
    pub whole: Option<String>,
}

impl Tools {
    /// Reads the switches off the address.
    pub fn new(
        frame: &Frame,
        address: &Address,
        waterfall: &Waterfall<'_>,
        matches: &[usize],
        selected: Option<usize>,
    ) -> Self {
        let collapsed = address.depth.is_some() || !address.collapse.is_empty();
        Self {
            found: found(frame, address, waterfall, matches, selected),
            errors_only: switch(frame, "errors", "1", address.errors),
            path: Switch { href: frame.here(&[("path", address.path.then_some("0"))]), on: address.path },
            collapse: Switch {
                href: frame.here(&[("collapse", (!collapsed).then_some("depth:1")), ("row", None)]),
                on: collapsed,
            },
            fold: (!address.fold || !waterfall.runs().is_empty()).then(|| {
                let on = address.fold && address.unfold.is_empty();
                let href = frame.here(&[("fold", on.then_some("off")), ("unfold", None), ("row", None)]);
                Switch { href, on }
            }),
            clocks: waterfall.skewed.then(|| switch(frame, "clock", "adjusted", address.adjusted)),
            whole: address.zoom.map(|_| frame.here(&[("zoom", None)])),
        }
    }
}

fn switch(frame: &Frame, key: &str, value: &str, on: bool) -> Switch {
    Switch { href: frame.here(&[(key, (!on).then_some(value)), ("row", None)]), on }
}

fn found(
    frame: &Frame,
    address: &Address,
    waterfall: &Waterfall<'_>,
    matches: &[usize],
    selected: Option<usize>,
) -> Found {
    let count = matches.len();
    let current = selected.and_then(|row| matches.iter().position(|at| *at == row)).map_or(0, |at| at + 1);
    let open = |number: usize| {
        let id = waterfall.span(matches[number - 1]).span_id.to_string();
        frame.here(&[("span", Some(&id)), ("match", None), ("row", None)])
    };
    let wrap = |number: usize| {
        if number == 0 {
            count
        } else if number > count {
            1
        } else {
            number
        }
    };
    Found {
        text: address.find.clone(),
        count,
        current,
        previous: (count > 0).then(|| open(wrap(current.saturating_sub(1)))),
        next: (count > 0).then(|| open(wrap(current + 1))),
    }
}
