//! Numbers, times and IDs as a person reads them. The only place that decides how they look.
//!
//! Number and unit are joined by a no-break space, thousands by a thin one. Unknown is `—`, never 0.

use std::fmt::Write;

/// Between a number and its unit.
pub const NBSP: char = '\u{a0}';
/// Between groups of thousands.
const GAP: char = '\u{202f}';
/// Services are drawn in this many colours, classes `c1` to `c12` of the stylesheet.
const SLOTS: u64 = 12;

/// A duration in ns: `83.0 µs`, `412 ms`, `1.24 s`, and from a minute on two parts: `3 m 12 s`.
pub fn duration(ns: u64) -> String {
    let (number, unit) = duration_parts(ns);
    if unit.is_empty() { number } else { format!("{number}{NBSP}{unit}") }
}

/// The number and the unit of a duration; of a minute and more all is in the number.
pub fn duration_parts(ns: u64) -> (String, &'static str) {
    // The half of the last digit shown, so that 999.6 ms is 1.00 s and not 1000 ms.
    const UNITS: [(f64, &str); 4] = [(1e0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")];
    if ns == 0 {
        return ("0".to_owned(), "ms");
    }
    if ns >= 59_950_000_000 {
        return (two_parts(ns / 1_000_000_000 + u64::from(ns % 1_000_000_000 >= 500_000_000)), "");
    }
    let value = ns as f64;
    let (size, unit) = UNITS.iter().copied().find(|(size, _)| value / size < 999.5).unwrap_or((1e9, "s"));
    if unit == "ns" { (ns.to_string(), unit) } else { (three_digits(value / size), unit) }
}

/// Three significant digits: `1.24`, `12.4`, `124`.
pub fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        at_least if at_least >= 99.95 => 0,
        at_least if at_least >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// Seconds in the two largest units that are not zero: `3 m 12 s`, `2 h`, `6 d 4 h`.
fn two_parts(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let large = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let (size, unit) = UNITS[large];
    let mut out = format!("{}{NBSP}{unit}", seconds / size);
    if let Some((small, unit)) = UNITS.get(large + 1)
        && seconds % size / small > 0
    {
        let _ = write!(out, "{NBSP}{}{NBSP}{unit}", seconds % size / small);
    }
    out
}

/// How long ago `then` was: `10 s`, `1 m 45 s`, `14 m`, `2 h 11 m`. A time to come is `in 3 s`.
pub fn age(then: u64, now: u64) -> String {
    let seconds = now.abs_diff(then) / 1_000_000_000;
    let text = match seconds {
        0..600 => two_parts(seconds),
        600..3_600 => format!("{}{NBSP}m", seconds / 60),
        _ => two_parts(seconds),
    };
    if then > now && seconds > 0 { format!("in{NBSP}{text}") } else { text }
}

/// A whole number with thin gaps: `1 204 331`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * GAP.len_utf8());
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(GAP);
        }
        out.push(digit);
    }
    out
}

/// `1 span`, `2 spans`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{}{NBSP}{}", count(number), if number == 1 { one } else { many })
}

/// A rate per second: three digits below a thousand, whole above.
pub fn rate(per_second: f64) -> String {
    if per_second == 0.0 {
        "0".to_owned()
    } else if per_second >= 999.5 {
        count(per_second.round() as u64)
    } else {
        three_digits(per_second)
    }
}

/// How often something happens, by the second, the minute or the hour: the unit in which it is no tiny number.
pub fn often_parts(per_second: f64) -> (String, &'static str) {
    let (times, unit) = match per_second {
        // By the second as long as two digits say something: figures of one unit are compared at a glance.
        0.0 | 0.00995.. => (1.0, "/s"),
        0.00165.. => (60.0, "/min"),
        _ => (3_600.0, "/h"),
    };
    (rate(per_second * times), unit)
}

/// The same as one text: `38.6/s`, `4.20/min`.
pub fn often(per_second: f64) -> String {
    let (number, unit) = often_parts(per_second);
    format!("{number}{unit}")
}

/// A share as percents: `61.8 %`.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value == 0.0 { format!("0{NBSP}%") } else { format!("{}{NBSP}%", three_digits(value)) }
}

/// Bytes with decimal units: `41.8 GB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return format!("{number}{NBSP}B");
    }
    let mut value = number as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{}{NBSP}{}", three_digits(value), UNITS[unit])
}

/// A time for programs, in nanoseconds since the Unix epoch, as text: JSON's numbers are too small for it.
pub fn ns(at: u64) -> String {
    at.to_string()
}

/// The same, or nothing where it is not known.
pub fn ns_or_null(at: u64) -> Option<String> {
    (at > 0).then(|| ns(at))
}

/// An ID shortened in the middle, `7f3a…4f17`; one of up to twelve characters stays whole.
pub fn short_id(id: &str) -> String {
    let length = id.chars().count();
    if length <= 12 {
        return id.to_owned();
    }
    let head: String = id.chars().take(4).collect();
    let tail: String = id.chars().skip(length - 4).collect();
    format!("{head}…{tail}")
}

/// `text` cut to `most` characters, with an ellipsis where something was cut.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

/// The colour slot of a service, 1 to 12: the same on every page and after every restart.
pub fn slot(service: &str) -> u64 {
    // The seed gives the services of the demo shop the colours that they have in the drawings of the look.
    xxhash_rust::xxh3::xxh3_64_with_seed(service.as_bytes(), 4_433_331) % SLOTS + 1
}

/// `text` as one segment of a path or one value of a query: all but RFC 3986's unreserved is encoded.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// A path segment that stands for any text: `.` and `..` alone would be taken for directions.
pub fn segment(text: &str) -> String {
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => encoded(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: String) -> String {
        text.replace([NBSP, GAP], " ")
    }

    #[test]
    fn durations_have_three_digits() {
        for (ns, text) in [
            (0, "0 ms"),
            (830, "830 ns"),
            (1_000, "1.00 µs"),
            (83_000, "83.0 µs"),
            (999_600, "1.00 ms"),
            (6_000_000, "6.00 ms"),
            (41_000_000, "41.0 ms"),
            (412_000_000, "412 ms"),
            (999_600_000, "1.00 s"),
            (1_240_000_000, "1.24 s"),
            (59_960_000_000, "1 m"),
            (192_000_000_000, "3 m 12 s"),
            (7_860_000_000_000, "2 h 11 m"),
            (532_800_000_000_000, "6 d 4 h"),
        ] {
            assert_eq!(plain(duration(ns)), text, "{ns}");
        }
        assert!(!duration(u64::MAX).is_empty());
    }

    #[test]
    fn counts_ages_bytes_and_shares() {
        assert_eq!(plain(count(1_204_331)), "1 204 331");
        assert_eq!(plain(count(999)), "999");
        assert_eq!(plain(counted(1, "span", "spans")), "1 span");
        assert_eq!(plain(bytes(41_800_000_000)), "41.8 GB");
        assert_eq!(plain(percent(0.618)), "61.8 %");
        for (per_second, text) in [
            (0.0, "0/s"),
            (214.0, "214/s"),
            (0.1, "0.10/s"),
            (0.07, "0.07/s"),
            (0.007, "0.42/min"),
            (0.0011, "3.96/h"),
            (1e-9, "0.00/h"),
        ] {
            assert_eq!(plain(often(per_second)), text);
        }
        assert_eq!(plain(age(0, 105_000_000_000)), "1 m 45 s");
        assert_eq!(plain(age(0, 860_000_000_000)), "14 m");
        assert_eq!(plain(age(9_000_000_000, 0)), "in 9 s");
    }

    #[test]
    fn ids_are_shortened_in_the_middle() {
        assert_eq!(short_id("7f3a9c1e-52d4-4b8e-9a60-c1d20be84f17"), "7f3a…4f17");
        assert_eq!(short_id("größenwahnsinnig"), "größ…nnig");
        assert_eq!(short_id("order-1"), "order-1");
        assert_eq!(shortened("größer", 3), "grö…");
    }

    #[test]
    fn a_service_keeps_its_slot() {
        assert_eq!(slot("gateway"), slot("gateway"));
        assert!((1..=12).contains(&slot("")));
    }

    #[test]
    fn any_text_fits_a_path() {
        assert_eq!(segment("a/b c?d#e"), "a%2Fb%20c%3Fd%23e");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("größe"), "gr%C3%B6%C3%9Fe");
    }
}
