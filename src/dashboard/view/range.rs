//! The time range: one control for all pages, held in the address.

use super::{error::PageError, format, visit::Params, zone::Zone};
use crate::dashboard::model::Nanos;

/// What can be chosen with one click: the word in the address, its name, its length in seconds.
pub const PRESETS: [(&str, &str, u64); 6] = [
    ("5m", "Last 5\u{a0}m", 300),
    ("15m", "Last 15\u{a0}m", 900),
    ("1h", "Last 1\u{a0}h", 3_600),
    ("6h", "Last 6\u{a0}h", 21_600),
    ("24h", "Last 24\u{a0}h", 86_400),
    ("7d", "Last 7\u{a0}d", 604_800),
];
/// Chosen where the address says nothing.
const DEFAULT: &str = "1h";

/// The range that a page covers, in ns, both ends included.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    pub from: Nanos,
    pub to: Nanos,
    /// `1h` and the like where the range moves on with the clock; `None` where it was set with from and to.
    pub preset: Option<&'static str>,
}

impl Range {
    /// The last hour before `now`.
    pub fn usual(now: Nanos) -> Self {
        Self { from: now.saturating_sub(3_600_000_000_000), to: now, preset: Some(DEFAULT) }
    }

    /// Reads `last=`, or `from=` and `to=`; a missing end is now, a missing begin one hour before the end.
    pub fn read(params: &Params, zone: &Zone, now: Nanos) -> Result<Self, PageError> {
        let moment = |key: &str| {
            match params.get(key).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => zone.parse(text.trim()).map(Some).ok_or_else(|| {
                PageError::bad(format!(
                    "“{}” is not a time. Write it as 2026-11-23T14:03, or with its zone as 2026-11-23T13:03:00Z.",
                    format::shortened(text, 40)
                ))
            }),
        }
        };
        let (from, to) = (moment("from")?, moment("to")?);
        if from.is_some() || to.is_some() {
            let to = to.unwrap_or(now);
            let from = from.unwrap_or(to.saturating_sub(3_600_000_000_000));
            if from > to {
                return Err(PageError::bad("The time range begins after it ends: swap “from” and “to”."));
            }
            return Ok(Self { from, to, preset: None });
        }
        let last = params.get("last").filter(|text| !text.is_empty()).unwrap_or(DEFAULT);
        let &(word, _, seconds) = PRESETS.iter().find(|(word, ..)| *word == last).ok_or_else(|| {
            PageError::bad(format!(
                "“last” may be 5m, 15m, 1h, 6h, 24h or 7d, not “{}”.",
                format::shortened(last, 20)
            ))
        })?;
        Ok(Self { from: now.saturating_sub(seconds * 1_000_000_000), to: now, preset: Some(word) })
    }

    /// What an address has to hold to name this range; nothing where it is the usual one.
    pub fn params(&self) -> Vec<(&'static str, String)> {
        match self.preset {
            Some(DEFAULT) => Vec::new(),
            Some(word) => vec![("last", word.to_owned())],
            None => vec![("from", super::zone::rfc3339(self.from)), ("to", super::zone::rfc3339(self.to))],
        }
    }

    /// `Last 1 h`, or `22 m` and the like where it was set with from and to.
    pub fn name(&self) -> String {
        match self.preset.and_then(|preset| PRESETS.iter().find(|(word, ..)| *word == preset)) {
            Some((_, name, _)) => (*name).to_owned(),
            None => format::duration(self.length()),
        }
    }

    /// For the middle of a sentence: `in the last hour`.
    pub fn phrase(&self) -> &'static str {
        match self.preset {
            Some("5m") => "in the last 5 minutes",
            Some("15m") => "in the last 15 minutes",
            Some("1h") => "in the last hour",
            Some("6h") => "in the last 6 hours",
            Some("24h") => "in the last 24 hours",
            Some("7d") => "in the last 7 days",
            _ => "in this time range",
        }
    }

    /// Its length in ns, at least 1.
    pub fn length(&self) -> u64 {
        self.to.saturating_sub(self.from).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = 1_795_439_001_446_000_000;

    fn read(query: &[(&str, &str)]) -> Result<Range, PageError> {
        let pairs = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Range::read(&Params(pairs), &Zone::utc(), NOW)
    }

    #[test]
    fn the_last_hour_is_the_usual_range() {
        let range = read(&[]).unwrap();
        assert_eq!((range.length(), range.to), (3_600_000_000_000, NOW));
        assert!(range.params().is_empty());
    }

    #[test]
    fn what_is_read_can_be_written_again() {
        for query in
            [[("last", "7d")].as_slice(), &[("from", "2026-11-23T12:00"), ("to", "2026-11-23T13:00")]]
        {
            let range = read(query).unwrap();
            let params = range.params();
            let again: Vec<_> = params.iter().map(|(key, value)| (*key, value.as_str())).collect();
            assert_eq!(read(&again).unwrap(), range);
        }
    }

    #[test]
    fn bad_ranges_are_refused() {
        for query in [
            [("last", "1y")].as_slice(),
            &[("from", "2026-11-23T14:00"), ("to", "2026-11-23T13:00")],
            &[("from", "soon")],
        ] {
            assert!(read(query).is_err(), "{query:?}");
        }
    }
}
