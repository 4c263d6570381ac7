//! Words for JSON Schemas: what stands in the document is written with them, beside no more words than it takes.

use serde_json::{Map, Value, json};

/// A schema in the making.
pub type Schema = Value;

/// An object that has all of these fields, and no others. A name that ends in `?` may be missing.
pub fn object(fields: &[(&str, Schema)]) -> Schema {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, schema) in fields {
        let bare = name.trim_end_matches('?');
        if bare == *name {
            required.push(bare);
        }
        properties.insert(bare.to_owned(), schema.clone());
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// The fields of `schema` and these.
pub fn with(mut schema: Schema, fields: &[(&str, Schema)]) -> Schema {
    let more = object(fields);
    for key in ["properties", "required"] {
        match (&mut schema[key], &more[key]) {
            (Value::Object(all), Value::Object(new)) => all.extend(new.clone()),
            (Value::Array(all), Value::Array(new)) => all.extend(new.iter().cloned()),
            _ => {}
        }
    }
    schema
}

/// An object with any names.
pub fn map(values: Schema) -> Schema {
    json!({ "type": "object", "additionalProperties": values })
}

pub fn list(items: Schema) -> Schema {
    json!({ "type": "array", "items": items })
}

/// A schema with its description, where a name does not say it all.
fn said(mut schema: Schema, says: &str) -> Schema {
    if !says.is_empty() {
        schema["description"] = says.into();
    }
    schema
}

pub fn text(says: &str) -> Schema {
    said(json!({ "type": "string" }), says)
}

/// One of some words.
pub fn word(words: &[&str]) -> Schema {
    json!({ "type": "string", "enum": words })
}

/// Nanoseconds since the Unix epoch as a decimal string.
pub fn time(says: &str) -> Schema {
    said(json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]+$" }), says)
}

pub fn whole(says: &str) -> Schema {
    said(json!({ "type": "integer", "minimum": 0 }), says)
}

pub fn number(says: &str) -> Schema {
    said(json!({ "type": "number" }), says)
}

pub fn flag(says: &str) -> Schema {
    said(json!({ "type": "boolean" }), says)
}

/// Any JSON.
pub fn any(says: &str) -> Schema {
    said(json!({}), says)
}

/// The same, or null: unknown, or none.
pub fn maybe(mut schema: Schema) -> Schema {
    match schema.get("type").cloned() {
        Some(Value::String(kind)) => {
            schema["type"] = json!([kind, "null"]);
            if let Some(Value::Array(words)) = schema.get_mut("enum") {
                words.push(Value::Null);
            }
            schema
        }
        _ => json!({ "oneOf": [schema, { "type": "null" }] }),
    }
}

/// A named schema of the document.
pub fn of(name: &str) -> Schema {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
