//! An attribute's value, of any OTLP type (`opentelemetry.proto.common.v1.AnyValue`).

use serde_json::json;

/// One value. Text was UTF-8 or has been made so: what was not is replaced by U+FFFD.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// No value was set; OTLP allows it.
    #[default]
    Empty,
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The text of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number, also from a double without a fraction or a text of digits: instrumentations differ.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Double(number) if number.fract() == 0.0 => Some(*number as i64),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The value as one line for a person: text as it is, numbers plainly, bytes as hex, the rest as JSON.
    pub fn to_text(&self) -> String {
        match self {
            Value::Empty => String::new(),
            Value::Text(text) => text.clone(),
            Value::Bool(truth) => truth.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
            Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Value::List(_) | Value::Map(_) => self.to_json().to_string(),
        }
    }

    /// The value as JSON. Bytes become hex text; NaN and the infinities, which JSON lacks, become text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Empty => serde_json::Value::Null,
            Value::Text(text) => json!(text),
            Value::Bool(truth) => json!(truth),
            Value::Int(number) => json!(number),
            Value::Double(number) if number.is_finite() => json!(number),
            Value::Double(number) => json!(number.to_string()),
            Value::Bytes(_) => json!(self.to_text()),
            Value::List(values) => values.iter().map(Value::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
            }
        }
    }
}

/// Attributes in the order in which they were sent; a key may come twice, then the first is read.
pub type Attributes = Vec<(String, Value)>;

/// The value of `key`, if it was sent.
pub fn find<'a>(attributes: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}
