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
        let bands: Vec<_> = (0..=25).map(|number| Severity::of(number).word()).collect();
        let words = ["—", "trace", "debug", "info", "warn", "error", "fatal"];
        for (number, band) in bands.iter().enumerate() {
            let wanted = match number {
                0 => 0,
                25 => 6,
                _ => (number + 3) / 4,
            };
            assert_eq!(*band, words[wanted], "{number}");
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::of(severity.least()), severity);
            assert!(severity == Severity::Untold || Severity::of(severity.least() - 1) < severity);
            assert_eq!(Severity::parse(severity.word()).unwrap_or(Severity::Untold), severity);
        }
        assert_eq!(Severity::parse("—"), None);
    }
}
