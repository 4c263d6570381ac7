//! How bad a log record is: OTLP's 24 numbers in six bands (OpenTelemetry logs data model, "Field: SeverityNumber").
//! The texts that senders put beside the number differ too much to rely on.

/// A band of severity numbers. The order is that of the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Number 0: the sender did not say.
    Untold,
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl Severity {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All of them, the least first.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Untold, Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The band of a severity number; one beyond OTLP's 24 is fatal.
    pub fn of(number: u8) -> Self {
        Self::ALL[usize::from(number.min(24)).div_ceil(4)]
    }

    /// The least number of the band.
    pub fn least(self) -> u8 {
        (self as u8 * 4).saturating_sub(3)
    }

    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or `—` where not told.
    pub fn word(self) -> &'static str {
        ["—", "trace", "debug", "info", "warn", "error", "fatal"][self as usize]
    }

    /// The band of a word that [`Severity::word`] gives, but for `—`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().skip(1).find(|severity| severity.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_band() {
        let bands = [("—", 0..=0), ("trace", 1..=4), ("debug", 5..=8), ("info", 9..=12), ("warn", 13..=16)];
        for (word, numbers) in bands.into_iter().chain([("error", 17..=20), ("fatal", 21..=255)]) {
            for number in numbers {
                assert_eq!(Severity::of(number).word(), word, "{number}");
            }
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::of(severity.least()), severity);
            assert!(severity == Severity::Untold || Severity::of(severity.least() - 1) < severity);
            assert_eq!(Severity::parse(severity.word()).unwrap_or(Severity::Untold), severity);
        }
        assert_eq!(Severity::parse("—"), None);
    }
}
