//! What is asked for: by a form, or by a program as JSON. Both become the same order.

use serde::Deserialize;
use std::collections::BTreeMap;

use crate::dashboard::operate::desk::MOST_PEEKED;
use crate::dashboard::operate::order::{Edit, Nature, Order, Target, Wanted};
use crate::dashboard::operate::{Look, Trouble};

/// A look into a queue.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AskedLook {
    /// Messages at most; 20 where it is not said.
    pub count: Option<usize>,
    /// Of a stream: `first`, `last`, `next` or an offset.
    pub offset: Option<String>,
    /// That it may count as a delivery.
    pub accept_count: bool,
    /// Shows what is masked; recorded.
    pub reveal: bool,
}

impl AskedLook {
    /// # Errors
    /// The count is out of bounds.
    pub fn look(&self) -> Result<Look, Trouble> {
        let count = self.count.unwrap_or(20);
        if !(1..=MOST_PEEKED).contains(&count) {
            return Err(Trouble::Invalid(format!("“count” is a whole number from 1 to {MOST_PEEKED}")));
        }
        let offset = self.offset.clone().unwrap_or_else(|| "first".to_owned());
        Ok(Look { count, offset, accepts_count: self.accept_count })
    }
}

/// A redrive, or a copy.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct AskedOrder {
    /// Every message. Said in so many words: an order that names none is refused.
    pub all: bool,
    pub marks: Option<Vec<String>>,
    pub text: Option<String>,
    pub header: Option<String>,
    pub header_value: Option<String>,
    pub reason: Option<String>,
    pub died_in: Option<String>,
    /// `origin`, `queue` or `other`.
    pub to: Option<String>,
    pub exchange: Option<String>,
    pub key: Option<String>,
    pub body: Option<String>,
    pub set: BTreeMap<String, String>,
    pub remove: Vec<String>,
    pub routing_key: Option<String>,
    /// Keeps the toolkit's count of deliveries.
    pub keep_count: bool,
    pub dry_run: bool,
    pub rate: Option<u32>,
    pub most: Option<u64>,
    /// Of a look, for a copy of one of its messages.
    pub peek: Option<u64>,
}

impl AskedOrder {
    /// # Errors
    /// No message is named, or the target is unknown.
    pub fn order(self, nature: Nature) -> Result<Order, Trouble> {
        let wanted = Wanted {
            marks: self.marks.clone(),
            text: given(&self.text),
            header: given(&self.header).map(|name| (name, self.header_value.clone().unwrap_or_default())),
            reason: given(&self.reason),
            died_in: given(&self.died_in),
        };
        match (self.all, wanted.is_all()) {
            (true, false) => {
                return Err(Trouble::Invalid(
                    "“all” and what narrows it contradict each other: leave one out".into(),
                ));
            }
            (false, true) => {
                return Err(Trouble::Invalid(
                    "no message is named: choose some by marks, text, header, reason or diedIn, or say all"
                        .into(),
                ));
            }
            _ => {}
        }
        if self.rate == Some(0) || self.most == Some(0) {
            return Err(Trouble::Invalid("“rate” and “most” are at least 1".into()));
        }
        Ok(Order {
            wanted,
            target: self.target()?,
            edit: self.edit(),
            resets: !self.keep_count,
            is_dry: self.dry_run,
            rate: self.rate,
            most: self.most,
            nature,
        })
    }

    /// # Errors
    /// It is none that there is.
    pub fn target(&self) -> Result<Target, Trouble> {
        Ok(match self.to.as_deref() {
            None | Some("origin") if self.exchange.is_none() || self.to.is_some() => Target::Origin,
            Some("queue") => Target::DiedIn,
            None | Some("other") => Target::To {
                exchange: self.exchange.clone().unwrap_or_default(),
                routing_key: given(&self.key),
            },
            Some(_) => return Err(Trouble::Invalid("“to” is origin, queue or other".into())),
        })
    }

    pub fn edit(&self) -> Edit {
        Edit {
            body: self.body.clone().map(String::into_bytes),
            set: self.set.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            remove: self.remove.clone(),
            routing_key: given(&self.routing_key),
        }
    }
}

fn given(text: &Option<String>) -> Option<String> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The fields of a form, in order.
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The first value of a field, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|text| !text.is_empty())
    }

    fn own(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Trouble> {
        let Some(text) = self.get(name).map(str::trim) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Trouble::Invalid(format!("“{name}” is a whole number")))
    }

    /// # Errors
    /// A field cannot be read.
    pub fn look(&self) -> Result<AskedLook, Trouble> {
        Ok(AskedLook {
            count: self.number("count")?,
            offset: self.own("offset"),
            accept_count: self.get("accept").is_some(),
            reveal: false,
        })
    }

    /// What the form of a redrive says. `which` decides what of it counts.
    ///
    /// # Errors
    /// A field cannot be read.
    pub fn order(&self) -> Result<AskedOrder, Trouble> {
        let marks =
            || self.0.iter().filter(|(name, _)| name == "pick").map(|(_, mark)| mark.clone()).collect();
        let mut asked = AskedOrder {
            to: self.own("to").or(Some("origin".to_owned())),
            exchange: self.own("exchange"),
            key: self.own("key"),
            keep_count: self.get("reset").is_none(),
            dry_run: self.get("do") != Some("go"),
            rate: self.number("rate")?,
            most: self.number("most")?,
            peek: self.number("peek")?,
            ..AskedOrder::default()
        };
        match self.get("which") {
            Some("all") => asked.all = true,
            Some("matching") => {
                (asked.text, asked.reason, asked.died_in) =
                    (self.own("text"), self.own("reason"), self.own("died_in"));
                (asked.header, asked.header_value) = (self.own("header"), self.own("header_value"));
            }
            _ => asked.marks = Some(marks()),
        }
        if self.get("edited").is_some() {
            // A browser sends line ends as CRLF; what was there has LF as a rule.
            let body =
                self.0.iter().find(|(name, _)| name == "body").map(|(_, body)| body.replace("\r\n", "\n"));
            asked.body = body.filter(|body| {
                Some(body.as_str())
                    != self.get("body_before").map(|before| before.replace("\r\n", "\n")).as_deref()
            });
            asked.routing_key = self.own("routing_key");
            for line in self.get("headers").unwrap_or_default().lines().filter(|line| !line.trim().is_empty())
            {
                let (name, value) = line.split_once(':').ok_or_else(|| {
                    Trouble::Invalid(
                        "“headers” has a line without a colon: write NAME: VALUE, each on a line".into(),
                    )
                })?;
                match value.trim() {
                    "" => asked.remove.push(name.trim().to_owned()),
                    value => {
                        asked.set.insert(name.trim().to_owned(), value.to_owned());
                    }
                }
            }
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(pairs: &[(&str, &str)]) -> Result<Order, String> {
        let fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let asked = Fields(fields).order().map_err(|trouble| trouble.to_string())?;
        let order = asked.order(Nature::default()).map_err(|trouble| trouble.to_string())?;
        order.check().map_err(|trouble| trouble.to_string())?;
        Ok(order)
    }

    #[test]
    fn a_form_means_what_was_chosen_and_is_a_dry_run_unless_it_says_go() {
        let matching =
            order(&[("which", "matching"), ("text", " card "), ("reason", ""), ("pick", "a")]).unwrap();
        assert_eq!(matching.wanted, Wanted { text: Some("card".into()), ..Wanted::default() });
        assert!(matching.is_dry && !matching.resets && matching.target == Target::Origin);
        let all = order(&[("which", "all"), ("do", "go"), ("reset", "on"), ("rate", "5"), ("to", "queue")])
            .unwrap();
        assert!(all.wanted.is_all() && !all.is_dry && all.resets && all.target == Target::DiedIn);
        let edited = [
            ("pick", "m"),
            ("edited", "1"),
            ("body", "a\r\nb"),
            ("headers", "x-a: 1: 2\n\nx-b:\n"),
            ("to", "other"),
            ("key", "q"),
        ];
        let edited = order(&edited).unwrap();
        assert_eq!(edited.edit.body.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(edited.edit.set, [("x-a".to_owned(), "1: 2".to_owned())]);
        assert_eq!(edited.edit.remove, ["x-b"]);
        assert_eq!(edited.target, Target::To { exchange: String::new(), routing_key: Some("q".into()) });
        let same = [("pick", "m"), ("edited", "1"), ("body", "a\r\nb"), ("body_before", "a\nb")];
        assert!(order(&same).unwrap().edit.is_none(), "what was not changed is sent as it is stored");
    }

    #[test]
    fn what_makes_no_sense_names_its_field() {
        let long = "x".repeat(256);
        for (pairs, says) in [
            (&[("which", "chosen")][..], "no message is chosen"),
            (&[][..], "no message is chosen"),
            (&[("which", "matching")][..], "no message is named"),
            (&[("which", "all"), ("rate", "fast")][..], "“rate” is a whole number"),
            (&[("which", "all"), ("rate", "-1")][..], "“rate” is a whole number"),
            (&[("which", "all"), ("most", "0")][..], "“rate” and “most” are at least 1"),
            (&[("which", "all"), ("to", "//evil")][..], "“to” is origin, queue or other"),
            (&[("which", "all"), ("to", "other")][..], "both empty"),
            (&[("which", "all"), ("to", "other"), ("key", &long)][..], "longer than 255 bytes"),
            (&[("which", "all"), ("edited", "1"), ("body", "x")][..], "“body” is for one message"),
            (
                &[("pick", "a"), ("edited", "1"), ("headers", "nonsense")][..],
                "“headers” has a line without a colon",
            ),
        ] {
            let told = order(pairs).expect_err(says);
            assert!(told.contains(says), "{pairs:?}: {told}");
        }
    }
}
