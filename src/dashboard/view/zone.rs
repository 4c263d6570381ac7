//! The time zone of whoever looks: named by the cookie `tz`, UTC until a script has set it.

use jiff::{Timestamp, tz::TimeZone};

use crate::dashboard::model::Nanos;

/// A time zone, and whether the browser told it.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    /// False where no (valid) cookie came: then this is UTC.
    pub told: bool,
}

impl Zone {
    /// UTC, not told by anyone.
    pub fn utc() -> Self {
        Self { zone: TimeZone::UTC, told: false }
    }

    /// The zone of an IANA name such as `Europe/Berlin`; UTC for anything else. Cookies are users' input.
    pub fn named(name: &str) -> Self {
        let plausible = name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+'));
        match plausible.then(|| TimeZone::get(name)) {
            Some(Ok(zone)) => Self { zone, told: true },
            _ => Self::utc(),
        }
    }

    /// The IANA name, for the script to compare.
    pub fn name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The zone's abbreviation at a moment: `CET`, `UTC`.
    pub fn abbreviation(&self, at: Nanos) -> String {
        self.write(at, "%Z")
    }

    /// `14:03:21.446`, with the day before it where `at` is not on the day of `now`.
    pub fn moment(&self, at: Nanos, now: Nanos) -> String {
        self.write(at, if self.same_day(at, now) { "%H:%M:%S%.3f" } else { "%-d %b %Y %H:%M:%S%.3f" })
    }

    /// `14:03`, or `14:03:21` with `seconds`; the day before it where `at` is not on the day of `now`.
    pub fn clock(&self, at: Nanos, now: Nanos, seconds: bool) -> String {
        self.write(
            at,
            match (self.same_day(at, now), seconds) {
                (true, false) => "%H:%M",
                (true, true) => "%H:%M:%S",
                (false, false) => "%-d %b %H:%M",
                (false, true) => "%-d %b %H:%M:%S",
            },
        )
    }

    /// `23 Nov`.
    pub fn day(&self, at: Nanos) -> String {
        self.write(at, "%-d %b")
    }

    /// `2026-11-23T14:03:21`, as a form takes it back.
    pub fn local(&self, at: Nanos) -> String {
        self.write(at, "%Y-%m-%dT%H:%M:%S")
    }

    /// Whether both moments are on one day of this zone.
    pub fn same_day(&self, one: Nanos, other: Nanos) -> bool {
        timestamp(one).to_zoned_datetime(self.zone.clone()).date()
            == timestamp(other).to_zoned_datetime(self.zone.clone()).date()
    }

    /// Nanoseconds of an RFC 3339 time, or of a local one (`2026-11-23T14:03`, `2026-11-23 14:03:21`).
    pub fn parse(&self, text: &str) -> Option<Nanos> {
        let at = match text.parse::<Timestamp>() {
            Ok(at) => at,
            Err(_) => {
                let local: jiff::civil::DateTime = text.parse().ok()?;
                local.to_zoned_datetime(self.zone.clone()).ok()?.timestamp()
            }
        };
        u64::try_from(at.as_nanosecond()).ok()
    }

    fn write(&self, at: Nanos, form: &str) -> String {
        timestamp(at).to_zoned_datetime(self.zone.clone()).strftime(form).to_string()
    }
}

/// `2026-11-23T13:03:21.446123456Z`, as `<time datetime>` takes it.
pub fn rfc3339(at: Nanos) -> String {
    timestamp(at).to_string()
}

/// `2026-11-23 13:03:21.446 UTC`.
pub fn utc(at: Nanos) -> String {
    timestamp(at).strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string()
}

/// A moment of ours as jiff knows it. Every `u64` of nanoseconds lies within jiff's years.
fn timestamp(at: Nanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T13:03:21.446Z
    const AT: Nanos = 1_795_439_001_446_000_000;

    #[test]
    fn times_are_shown_in_the_zone() {
        let berlin = Zone::named("Europe/Berlin");
        assert!(berlin.told);
        assert_eq!(berlin.moment(AT, AT), "14:03:21.446");
        assert_eq!(berlin.moment(AT, AT + 86_400_000_000_000), "23 Nov 2026 14:03:21.446");
        assert_eq!(berlin.abbreviation(AT), "CET");
        assert_eq!(utc(AT), "2026-11-23 13:03:21.446 UTC");
        assert_eq!(rfc3339(AT), "2026-11-23T13:03:21.446Z");
    }

    #[test]
    fn times_are_read_as_rfc_3339_and_as_local() {
        let berlin = Zone::named("Europe/Berlin");
        assert_eq!(berlin.parse("2026-11-23T14:03:21.446"), Some(AT));
        assert_eq!(berlin.parse("2026-11-23T13:03:21.446Z"), Some(AT));
        assert_eq!(berlin.parse(&berlin.local(AT)), Some(AT - 446_000_000));
        assert_eq!(berlin.parse("2026-11-23T14:03"), Some(AT - 21_446_000_000));
        for bad in ["", "yesterday", "2026-13-01T00:00", "1950-01-01T00:00:00Z"] {
            assert_eq!(berlin.parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_forged_cookie_means_utc() {
        for bad in ["", "../../etc/passwd", "Europe/Atlantis", "<script>", &"a".repeat(1000)] {
            let zone = Zone::named(bad);
            assert!(!zone.told && zone.name() == "UTC", "{bad}");
        }
    }

    #[test]
    fn every_moment_can_be_written() {
        assert_eq!(utc(0), "1970-01-01 00:00:00.000 UTC");
        assert!(utc(u64::MAX).starts_with("2554-"));
    }
}
