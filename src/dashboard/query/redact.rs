//! Secrets that are not shown: a page may be looked at over a shoulder, or sent to a colleague.
//!
//! What is kept in the store stays as it was sent; only what is shown is masked.

/// What stands where a secret was.
pub const MASK: &str = "•••";

/// Attributes whose whole value is a secret or a person's, by the end of their name.
const SECRET_ENDINGS: [&str; 12] = [
    "authorization",
    "cookie",
    "set_cookie",
    "x_api_key",
    "api_key",
    "apikey",
    "password",
    "passwd",
    "secret",
    "access_token",
    "refresh_token",
    "client_secret",
];

/// Fields of messages that hold a secret or a person's, by their whole name, folded by [`snake`].
const SECRET_FIELDS: [&str; 20] = [
    "card_number",
    "cardnumber",
    "pan",
    "cvc",
    "cvv",
    "cvc2",
    "cvv2",
    "iban",
    "account_number",
    "ssn",
    "pin",
    "otp",
    "email",
    "e_mail",
    "email_address",
    "phone",
    "phone_number",
    "token",
    "session_id",
    "private_key",
];

/// Attributes that hold command lines, in which secrets are often passed, or the owner's name.
const COMMANDS: [&str; 4] =
    ["process.command_args", "process.command_line", "process.owner", "process.environment_variable"];

/// `text` as it may be shown, and whether anything was masked.
pub fn shown(key: &str, text: &str) -> (String, bool) {
    if whole_is_secret(key) && !text.is_empty() {
        return (MASK.to_owned(), true);
    }
    let (text, one) = without_tokens(text);
    let (text, two) = without_userinfo(&text);
    (text, one || two)
}

/// Whether nothing of the value of `key` may be shown.
pub fn whole_is_secret(key: &str) -> bool {
    let folded = key.to_ascii_lowercase().replace('-', "_");
    let last = folded.rsplit('.').next().unwrap_or(&folded);
    SECRET_ENDINGS.contains(&last)
        || ["_password", "_secret", "_api_key", "_authorization"].iter().any(|end| last.ends_with(end))
        || COMMANDS.iter().any(|command| folded.starts_with(command))
}

/// Whether nothing of the value of a field of a message may be shown; keys in `camelCase` are read as `snake_case`.
pub fn field_is_secret(key: &str) -> bool {
    let folded = snake(key);
    let last = folded.rsplit('.').next().unwrap_or(&folded);
    whole_is_secret(&folded) || SECRET_FIELDS.contains(&last) || last.ends_with("_token")
}

/// The value of a field of a message, such as a header, as it may be shown, and whether anything was masked.
pub fn field(key: &str, text: &str) -> (String, bool) {
    if field_is_secret(key) { (MASK.to_owned(), true) } else { shown(key, text) }
}

/// Lower case, words apart by `_`.
fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    let mut before = '_';
    for sign in key.chars() {
        if sign.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            out.push('_');
        }
        out.extend(sign.to_lowercase().map(|sign| if matches!(sign, '-' | ' ') { '_' } else { sign }));
        before = sign;
    }
    out
}

/// Masks what stands behind the names of secret fields in a text that is not JSON: `password=x&…`, `Password: x`,
/// `<password>x</password>`. Gives in how many places.
pub fn without_fields(text: &str) -> (String, usize) {
    let is_name = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-' | '.');
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut masked) = (text, 0);
    while let Some(at) = rest.find(is_name) {
        let end = rest[at..].find(|sign| !is_name(sign)).map_or(rest.len(), |length| at + length);
        let (name, after) = (&rest[at..end], &rest[end..]);
        out.push_str(&rest[..end]);
        rest = after;
        let between = after.len() - after.trim_start_matches(['"', '\'', ' ']).len();
        let (quotes, sign) = after.split_at(between);
        let is_set = sign.starts_with(['=', ':']) || (sign.starts_with('>') && quotes.is_empty());
        if !is_set || !field_is_secret(name) {
            continue;
        }
        let value = &sign[1..];
        let begin = value.len() - value.trim_start_matches(['"', '\'', ' ']).len();
        let ends = |sign: char| matches!(sign, '&' | '<' | ',' | ';' | '"' | '\'' | '\n' | '\r' | '}');
        let length = value[begin..].find(ends).unwrap_or(value.len() - begin);
        if length > 0 {
            out.push_str(&after[..between + 1 + begin]);
            out.push_str(MASK);
            masked += 1;
            rest = &value[begin + length..];
        }
    }
    out.push_str(rest);
    (out, masked)
}

/// Masks JSON Web Tokens and what follows `Bearer` or `Basic`.
fn without_tokens(text: &str) -> (String, bool) {
    let worth_a_look = text.contains("eyJ") || text.contains("earer ") || text.contains("asic ");
    if !worth_a_look {
        return (text.to_owned(), false);
    }
    let mut out = String::with_capacity(text.len());
    let mut masked = false;
    let mut after_scheme = false;
    for word in text.split_inclusive(|sign: char| !is_token_sign(sign)) {
        let end = word.trim_end_matches(|sign: char| !is_token_sign(sign)).len();
        let (token, rest) = word.split_at(end);
        if is_jwt(token) || (after_scheme && token.len() >= 8) {
            out.push_str(MASK);
            masked = true;
        } else {
            out.push_str(token);
        }
        out.push_str(rest);
        if !token.is_empty() {
            after_scheme =
                rest == " " && (token.eq_ignore_ascii_case("bearer") || token.eq_ignore_ascii_case("basic"));
        }
    }
    (out, masked)
}

fn is_token_sign(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '-' | '_' | '.' | '~' | '+' | '/' | '=')
}

/// Three base64url parts of which the first is a JSON object (`eyJ` is `{"`).
fn is_jwt(token: &str) -> bool {
    token.find("eyJ").is_some_and(|at| {
        let token = &token[at..];
        token.len() > 20 && token.split('.').count() >= 3
    })
}

/// Masks `user:password@` in URLs.
fn without_userinfo(text: &str) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut masked = false;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|sign: char| sign.is_whitespace() || matches!(sign, '/' | '?' | '#' | '"' | ','))
            .unwrap_or(after.len());
        let (authority, beyond) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(MASK);
                out.push('@');
                out.push_str(host);
                masked = true;
            }
            None => out.push_str(authority),
        }
        rest = beyond;
    }
    out.push_str(rest);
    (out, masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        for (key, text, expected) in [
            ("http.request.header.authorization", "Bearer abc", MASK),
            ("http.request.header.cookie", "[\"session=1\"]", MASK),
            ("http.response.header.set-cookie", "a=b", MASK),
            ("process.command_args", "[\"--password=x\"]", MASK),
            ("app.db_password", "hunter2", MASK),
            ("url.full", "https://user:pw@shop.example/x?a=b@c", "https://•••@shop.example/x?a=b@c"),
            ("note", "amqp://guest:guest@mq:5672/%2f, twice", "amqp://•••@mq:5672/%2f, twice"),
            ("note", "sent Bearer abcdefghijk to it", "sent Bearer ••• to it"),
            ("token", "id=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl;", "•••;"),
        ] {
            assert_eq!(shown(key, text), (expected.to_owned(), true), "{key}");
        }
    }

    #[test]
    fn secret_fields_of_texts_are_masked() {
        for (text, expected, places) in [
            ("user=a&password=hunter2&x=1", "user=a&password=•••&x=1", 1),
            ("Password: hunter2\nhost: x", "Password: •••\nhost: x", 1),
            (
                "<order><cardNumber>4242</cardNumber></order>",
                "<order><cardNumber>•••</cardNumber></order>",
                1,
            ),
            ("{'api_key': 'abc', 'a': 1}", "{'api_key': '•••', 'a': 1}", 1),
            ("secret=", "secret=", 0),
            ("a note of passwords: none", "a note of passwords: none", 0),
            ("", "", 0),
        ] {
            assert_eq!(without_fields(text), (expected.to_owned(), places), "{text}");
        }
        for key in ["cardNumber", "card_number", "accessToken", "X-Api-Key", "customer.email", "dbPassword"] {
            assert!(field_is_secret(key), "{key}");
        }
        for key in ["authorization_id", "order_id", "total", "tokens", "id"] {
            assert!(!field_is_secret(key), "{key}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for (key, text) in [
            ("http.request.method", "POST"),
            ("url.full", "https://shop.example/a@b"),
            ("user.id", "usr_1"),
            ("note", "a basic idea, größe eyJ"),
            ("messaging.rabbitmq.routing_key", "order.placed"),
        ] {
            assert_eq!(shown(key, text), (text.to_owned(), false), "{key}");
        }
    }
}
