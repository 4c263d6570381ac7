//! URLs without the secrets that people put into them: what spans, errors and logs may show.
//!
//! The semantic conventions for `url.full` want user name and password replaced, and the values of signatures in the
//! query. More names than theirs count here, because more are in use.

use std::borrow::Cow;

use reqwest::Url;

/// What stands in place of a secret; the word of the semantic conventions.
const REDACTED: &str = "REDACTED";

/// Parts of the names of secrets, in lower case and without `-` and `_`.
const PARTS: [&str; 13] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "signature",
    "credential",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "session",
    "jwt",
];
/// Whole names of secrets: as parts they would be in too many others.
const NAMES: [&str; 8] = ["sig", "key", "auth", "code", "pass", "pwd", "pin", "otp"];

/// A URL with user name, password and the secrets in its query replaced.
pub(in crate::comms) fn url(raw: &str) -> Cow<'_, str> {
    let authority = raw.find("://").map_or(0, |at| at + 3);
    let end = raw[authority..].find(['/', '?', '#']).map_or(raw.len(), |at| authority + at);
    let user = raw[authority..end].rfind('@').map(|at| authority + at);
    let asked = raw[end..].find('?').map(|at| end + at + 1);
    let secret = asked.is_some_and(|at| matches!(query(&raw[at..]), Cow::Owned(_)));
    if user.is_none() && !secret {
        return Cow::Borrowed(raw);
    }
    let mut shown = raw[..authority].to_owned();
    if user.is_some() {
        shown.push_str(&format!("{REDACTED}:{REDACTED}"));
    }
    let rest = user.unwrap_or(authority);
    match asked {
        Some(at) => {
            shown.push_str(&raw[rest..at]);
            shown.push_str(&query(&raw[at..]));
        }
        None => shown.push_str(&raw[rest..]),
    }
    Cow::Owned(shown)
}

/// A query with the values of secrets replaced. A fragment that follows it is kept.
pub(in crate::comms) fn query(raw: &str) -> Cow<'_, str> {
    let (pairs, fragment) = raw.split_at(raw.find('#').unwrap_or(raw.len()));
    if !pairs.split('&').any(is_secret) {
        return Cow::Borrowed(raw);
    }
    let shown: Vec<Cow<'_, str>> = pairs
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(pair) => format!("{name}={REDACTED}").into(),
            _ => pair.into(),
        })
        .collect();
    Cow::Owned(shown.join("&") + fragment)
}

fn is_secret(pair: &str) -> bool {
    let Some((name, _)) = pair.split_once('=') else { return false };
    let name = decoded(name).to_lowercase().replace(['-', '_'], "");
    NAMES.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// A name as the service reads it.
fn decoded(name: &str) -> Cow<'_, str> {
    if !name.contains(['%', '+']) {
        return Cow::Borrowed(name);
    }
    let parsed = Url::parse(&format!("http://h/?{name}")).ok();
    let read = parsed.and_then(|url| url.query_pairs().next().map(|(name, _)| name.into_owned()));
    read.map_or(Cow::Borrowed(name), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_replaced_and_the_rest_is_as_it_was() {
        for (raw, shown) in [
            ("http://h:1/a?b=c&d#e", "http://h:1/a?b=c&d#e"),
            ("http://ada:pw@h:1/a", "http://REDACTED:REDACTED@h:1/a"),
            ("http://a@b@h?q=1", "http://REDACTED:REDACTED@h?q=1"),
            ("https://h/a@b?mail=a@b", "https://h/a@b?mail=a@b"),
            (
                "https://h/?sig=1&page=2&Access_Token=3#f",
                "https://h/?sig=REDACTED&page=2&Access_Token=REDACTED#f",
            ),
            ("https://h/?%74oken=x&AWSAccessKeyId=y", "https://h/?%74oken=REDACTED&AWSAccessKeyId=REDACTED"),
            ("/a?X-Goog-Signature=x==&zip%20code=1", "/a?X-Goog-Signature=REDACTED&zip%20code=1"),
            ("", ""),
            ("://", "://"),
        ] {
            assert_eq!(url(raw), shown);
        }
    }
}
