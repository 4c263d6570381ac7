//! What both sides of a request say about it in the same words.

use opentelemetry::KeyValue;
use reqwest::Method;

use crate::comms::names;

/// A method in `http.request.method`: one of those that HTTP knows, or else `_OTHER` (semantic conventions, HTTP spans), so
/// that whoever makes up methods makes no metrics without end.
pub(in crate::comms) fn method_text(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => OTHER,
    }
}

/// What stands for a word that a client made up.
pub(super) const OTHER: &str = "_OTHER";

/// A span's attributes of a method, at least one.
pub(super) fn of_method(method: &Method, attributes: &mut Vec<KeyValue>) {
    let text = method_text(method);
    attributes.push(KeyValue::new(names::HTTP_REQUEST_METHOD, text));
    if text == OTHER {
        attributes.push(KeyValue::new(names::HTTP_REQUEST_METHOD_ORIGINAL, method.to_string()));
    }
}

/// A span's name: method and where it goes, if that is of few kinds.
pub(super) fn span_name(method: &Method, target: Option<&str>) -> std::borrow::Cow<'static, str> {
    let text = match method_text(method) {
        OTHER => "HTTP",
        known => known,
    };
    match target {
        Some(target) => [text, target].join(" ").into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_are_made_up_are_one() {
        let made_up = Method::from_bytes(b"BREW").expect("a method");
        let mut attributes = Vec::new();
        of_method(&made_up, &mut attributes);
        let expected = [
            KeyValue::new("http.request.method", "_OTHER"),
            KeyValue::new("http.request.method_original", "BREW"),
        ];
        assert_eq!(attributes, expected);
        assert_eq!(span_name(&made_up, Some("/pots")), "HTTP /pots");
        attributes.clear();
        of_method(&Method::PATCH, &mut attributes);
        assert_eq!(attributes, [KeyValue::new("http.request.method", "PATCH")]);
        assert_eq!(span_name(&Method::PATCH, Some("/pots/{id}")), "PATCH /pots/{id}");
        assert_eq!(span_name(&Method::GET, None), "GET");
    }
}
