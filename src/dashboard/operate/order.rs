//! An order: which messages are meant, where they are to go, and what is to be changed in them.

use std::collections::HashMap;

use super::Trouble;
use super::letter::{Letter, OF_THE_QUEUE, text_of};
use crate::comms::names;

/// What AMQP's short strings hold: names of exchanges, queues and headers, and routing keys, in bytes.
pub const MAX_NAME: usize = 255;
/// Longest value of a header that is set, in bytes: all headers travel in one frame.
const MAX_VALUE: usize = 16 << 10;

/// What kind of queue it is, where that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nature {
    /// `classic`, `quorum`, `stream`.
    pub kind: Option<String>,
    /// Returns after which a quorum queue gives a message up; `None` where its settings name none.
    pub delivery_limit: Option<u64>,
}

impl Nature {
    pub fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }

    /// From how many returns on one more may lose a message: at the limit. Quorum queues have one of 20 since RabbitMQ 4 where
    /// none is set; of a queue of unknown kind nobody knows.
    pub fn last_return(&self) -> u64 {
        match (self.delivery_limit, self.kind.as_deref()) {
            (Some(limit), _) => limit,
            (None, Some("quorum")) => 19,
            (None, Some(_)) => u64::MAX,
            (None, None) => 1,
        }
    }
}

/// Which messages are meant; all that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only these; a mark that is there twice means two.
    pub marks: Option<Vec<String>>,
    /// Part of the body, of a header or of a property, whatever the case of ASCII letters.
    pub text: Option<String>,
    /// A header, and part of its value where one is given.
    pub header: Option<(String, String)>,
    /// Part of why it died.
    pub reason: Option<String>,
    /// The queue that it died in.
    pub died_in: Option<String>,
}

impl Wanted {
    /// Whether every message is meant.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// In words, for the audit and the pages.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        match self.marks.as_deref() {
            Some([_]) => parts.push("one message".to_owned()),
            Some(marks) => parts.push(format!("{} chosen messages", marks.len())),
            None => {}
        }
        if let Some(text) = &self.text {
            parts.push(format!("with the text “{text}”"));
        }
        match &self.header {
            Some((name, value)) if value.is_empty() => parts.push(format!("with a header {name}")),
            Some((name, value)) => parts.push(format!("with “{value}” in header {name}")),
            None => {}
        }
        if let Some(reason) = &self.reason {
            parts.push(format!("that died of “{reason}”"));
        }
        if let Some(queue) = &self.died_in {
            parts.push(format!("that died in {queue}"));
        }
        match (self.marks.is_some(), parts.is_empty()) {
            (_, true) => "all messages".to_owned(),
            (true, _) => parts.join(" "),
            (false, _) => format!("messages {}", parts.join(" and ")),
        }
    }

    /// A judge that counts how many of each mark were found.
    pub fn judge(&self) -> Judge<'_> {
        let mut left: Option<HashMap<&str, usize>> = None;
        if let Some(marks) = &self.marks {
            let left = left.insert(HashMap::new());
            marks.iter().for_each(|mark| *left.entry(mark).or_default() += 1);
        }
        Judge { wanted: self, left }
    }
}

/// Says of one message after the other whether it is meant.
pub struct Judge<'a> {
    wanted: &'a Wanted,
    left: Option<HashMap<&'a str, usize>>,
}

impl Judge<'_> {
    /// Whether all that were chosen have been found, so that nothing more need be looked at.
    pub fn is_done(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.values().all(|count| *count == 0))
    }

    /// Whether the message is meant. Its body must be whole.
    pub fn wants(&mut self, letter: &Letter) -> bool {
        let wanted = self.wanted;
        let fits = wanted.text.as_ref().is_none_or(|text| says(letter, text))
            && wanted.header.as_ref().is_none_or(|(name, value)| {
                letter.header_text(name).is_some_and(|told| holds(told.as_bytes(), value))
            })
            && wanted.reason.as_ref().is_none_or(|reason| {
                letter.reason().is_some_and(|told| holds(told.as_bytes(), reason))
                    || letter.deaths().iter().any(|death| holds(death.reason.as_bytes(), reason))
            })
            && wanted.died_in.as_ref().is_none_or(|queue| letter.died_in().as_ref() == Some(queue));
        if !fits {
            return false;
        }
        match &mut self.left {
            None => true,
            Some(left) => match left.get_mut(letter.mark.as_str()) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    true
                }
                _ => false,
            },
        }
    }
}

fn says(letter: &Letter, text: &str) -> bool {
    holds(&letter.body, text)
        || letter.headers.iter().any(|(_, value)| holds(text_of(value).as_bytes(), text))
        || letter.properties.iter().any(|(_, value)| holds(value.as_bytes(), text))
        || holds(letter.routing_key.as_bytes(), text)
}

/// Whether a text is part of some bytes, whatever the case of ASCII letters.
fn holds(bytes: &[u8], part: &str) -> bool {
    let part = part.as_bytes();
    part.is_empty() || bytes.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// Where messages are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Target {
    /// To the exchange, with the routing key, that each was first published with.
    #[default]
    Origin,
    /// To the queue alone that each died in, by way of the default exchange.
    DiedIn,
    /// To an exchange, empty for the default one; without a key each keeps its own first one.
    To { exchange: String, routing_key: Option<String> },
}

impl Target {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Origin => "to where each was first published".to_owned(),
            Self::DiedIn => "to the queue that each died in".to_owned(),
            Self::To { exchange, routing_key: Some(key) } if exchange.is_empty() => format!("to queue {key}"),
            Self::To { exchange, routing_key: Some(key) } => format!("to exchange {exchange} with key {key}"),
            Self::To { exchange, routing_key: None } => format!("to exchange {exchange} with its own key"),
        }
    }
}

/// What is to be changed in a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    pub body: Option<Vec<u8>>,
    /// Headers that are set to a text, and such that are left out.
    pub set: Vec<(String, String)>,
    pub remove: Vec<String>,
    pub routing_key: Option<String>,
}

impl Edit {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Who sends a copy, as it is noted in its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `17/3`: of which redrive, and which of its messages.
    pub number: String,
    pub who: String,
    /// RFC 3339.
    pub at: String,
}

/// A message to be published, made of one that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub exchange: String,
    pub routing_key: String,
    pub edit: Edit,
    /// Whether the toolkit's count of its deliveries begins anew.
    pub resets: bool,
    pub stamp: Stamp,
}

impl Copy {
    /// Whether a header of the original is left out: what a queue wrote for itself; keys that the broker would route another
    /// copy by; what is set anew; what is to be gone.
    pub fn leaves_out(&self, header: &str) -> bool {
        OF_THE_QUEUE.contains(&header)
            || matches!(header, "CC" | "BCC")
            || (self.resets && header == names::HEADER_DELIVERIES)
            || self.edit.remove.iter().any(|name| name == header)
            || self.sets().any(|(name, _)| name == header)
    }

    /// The headers that are set.
    pub fn sets(&self) -> impl Iterator<Item = (&str, &str)> {
        let stamp = [
            (super::letter::REDRIVE, self.stamp.number.as_str()),
            (super::letter::REDRIVEN_BY, self.stamp.who.as_str()),
            (super::letter::REDRIVEN_AT, self.stamp.at.as_str()),
        ];
        self.edit.set.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(stamp)
    }
}

/// An order to redrive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    pub wanted: Wanted,
    pub target: Target,
    pub edit: Edit,
    /// Whether the toolkit's count of deliveries begins anew.
    pub resets: bool,
    /// Only say what would be done.
    pub is_dry: bool,
    /// Messages a second at most.
    pub rate: Option<u32>,
    /// Messages at most.
    pub most: Option<u64>,
    pub nature: Nature,
}

impl Order {
    /// In words, for the audit.
    pub fn words(&self) -> String {
        format!("{}, {}", self.wanted.words(), self.changes())
    }

    /// Where to and how, in words.
    pub fn changes(&self) -> String {
        let mut words = self.target.words();
        if let Some(most) = self.most {
            words.push_str(&format!(", {most} at most"));
        }
        if let Some(rate) = self.rate {
            words.push_str(&format!(", {rate} a second"));
        }
        if let Some(body) = &self.edit.body {
            words.push_str(&format!(", with another body of {} bytes", body.len()));
        }
        for (name, _) in &self.edit.set {
            words.push_str(&format!(", header {name} set"));
        }
        for name in &self.edit.remove {
            words.push_str(&format!(", without header {name}"));
        }
        if let Some(key) = &self.edit.routing_key {
            words.push_str(&format!(", with routing key {key}"));
        }
        words
    }

    /// Looks at what was asked for.
    ///
    /// # Errors
    /// A name or a value is too long for AMQP, or one order contradicts itself.
    pub fn check(&self) -> Result<(), Trouble> {
        if let Target::To { exchange, routing_key } = &self.target {
            short("exchange", exchange)?;
            short("key", routing_key.as_deref().unwrap_or_default())?;
            if exchange.is_empty() && routing_key.as_deref().unwrap_or_default().is_empty() {
                return Err(Trouble::Invalid(
                    "“exchange” and “key” are both empty: name where it is to go".into(),
                ));
            }
        }
        self.edit.check()?;
        let one = self.wanted.marks.as_ref().is_some_and(|marks| marks.len() == 1);
        if self.edit.body.is_some() && !one {
            return Err(Trouble::Invalid("“body” is for one message: choose it".into()));
        }
        if self.wanted.marks.as_ref().is_some_and(Vec::is_empty) {
            return Err(Trouble::Invalid("no message is chosen: tick at least one".into()));
        }
        Ok(())
    }

    /// The copy of a message that the order wants.
    ///
    /// # Errors
    /// Its headers do not say where it came from, or could be read in part only; in words.
    pub fn copy(&self, letter: &Letter, stamp: Stamp) -> Result<Copy, String> {
        if letter.altered {
            return Err(
                "its headers are nested too deep, or hold texts that are no UTF-8: no copy would be like it"
                    .into(),
            );
        }
        let untold = "its headers do not tell where it came from: name an exchange and a key";
        let (exchange, key) = match &self.target {
            Target::Origin => letter.origin().ok_or(untold)?,
            Target::DiedIn => {
                (String::new(), letter.died_in().filter(|queue| !queue.is_empty()).ok_or(untold)?)
            }
            Target::To { exchange, routing_key: Some(key) } => (exchange.clone(), key.clone()),
            Target::To { exchange, routing_key: None } => {
                let key = letter.origin().map_or_else(|| letter.routing_key.clone(), |(_, key)| key);
                (exchange.clone(), key)
            }
        };
        let routing_key = self.edit.routing_key.clone().unwrap_or(key);
        if exchange.len() > MAX_NAME || routing_key.len() > MAX_NAME {
            return Err("its headers name a place that is too long for AMQP".into());
        }
        Ok(Copy { exchange, routing_key, edit: self.edit.clone(), resets: self.resets, stamp })
    }
}

impl Edit {
    /// Looks at what was asked for.
    ///
    /// # Errors
    /// A name or a value is too long for AMQP.
    pub fn check(&self) -> Result<(), Trouble> {
        short("routing key", self.routing_key.as_deref().unwrap_or_default())?;
        for (name, value) in &self.set {
            short("name of a header", name)?;
            if name.is_empty() {
                return Err(Trouble::Invalid("a header has no name".into()));
            }
            if value.len() > MAX_VALUE {
                return Err(Trouble::Invalid(format!("header “{name}” is longer than {MAX_VALUE} bytes")));
            }
        }
        Ok(())
    }
}

fn short(what: &str, text: &str) -> Result<(), Trouble> {
    if text.len() > MAX_NAME {
        return Err(Trouble::Invalid(format!(
            "the {what} is longer than {MAX_NAME} bytes, which AMQP does not carry"
        )));
    }
    Ok(())
}
