//! Protocol Buffers by descriptor sets: files that `protoc --include_imports --descriptor_set_out=FILE` writes.

use std::collections::HashMap;
use std::path::Path;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

/// Longest descriptor set that is read.
const MOST_BYTES: u64 = 64 << 20;

/// Why a descriptor set cannot be used; names the setting.
#[derive(Debug, thiserror::Error)]
#[error("--descriptor-set (THROUGHLINE_DESCRIPTOR_SET) {file}: {why}")]
pub struct SchemaError {
    file: String,
    why: String,
}

/// The messages that are known.
#[derive(Debug, Clone, Default)]
pub struct Schemas {
    pool: DescriptorPool,
    /// By the name without package, folded; `None` where several have it.
    by_name: HashMap<String, Option<MessageDescriptor>>,
}

impl Schemas {
    /// Reads descriptor sets; a file that stands in several is taken from the first.
    ///
    /// # Errors
    /// A file cannot be read, or is no descriptor set.
    pub fn read<P: AsRef<Path>>(files: &[P]) -> Result<Self, SchemaError> {
        let mut pool = DescriptorPool::new();
        for file in files.iter().map(AsRef::as_ref) {
            let refuse = |why: String| SchemaError { file: file.display().to_string(), why };
            let size = std::fs::metadata(file).map_err(|error| refuse(error.to_string()))?.len();
            if size > MOST_BYTES {
                return Err(refuse(format!("it has {size} bytes, above the limit of {MOST_BYTES}")));
            }
            let bytes = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
            pool.decode_file_descriptor_set(bytes.as_slice()).map_err(|error| {
                refuse(format!("{error}; write it with protoc --include_imports --descriptor_set_out=FILE"))
            })?;
        }
        let mut by_name: HashMap<String, Option<MessageDescriptor>> = HashMap::new();
        for message in pool.all_messages() {
            by_name
                .entry(folded(message.name()))
                .and_modify(|known| *known = None)
                .or_insert_with(|| Some(message.clone()));
        }
        Ok(Self { pool, by_name })
    }

    /// How many messages are known.
    pub fn len(&self) -> usize {
        self.pool.all_messages().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message that one of the names means: by its full name, or by its own where no other has it
    /// (`order.placed` is `OrderPlaced`).
    pub fn find(&self, names: &[String]) -> Option<MessageDescriptor> {
        let plain =
            |name: &String| name.rsplit('/').next().unwrap_or_default().trim_start_matches('.').to_owned();
        let full = names.iter().find_map(|name| self.pool.get_message_by_name(&plain(name)));
        full.or_else(|| {
            let own = |name: &String| {
                let plain = plain(name);
                let last = plain.rsplit('.').next().unwrap_or_default();
                [folded(&plain), folded(last)]
                    .iter()
                    .find_map(|name| self.by_name.get(name).cloned().flatten())
            };
            names.iter().find_map(own)
        })
    }

    /// Why none was found, as a sentence.
    pub fn lacks(&self, names: &[String]) -> String {
        if self.is_empty() {
            return "It is said to be Protocol Buffers, and no descriptor set is given: start the dashboard with \
                    --descriptor-set FILE, which protoc --include_imports --descriptor_set_out=FILE writes."
                .to_owned();
        }
        match names.first() {
            None => "It is said to be Protocol Buffers, and nothing says which message: its type property, a parameter \
                     of its content type (proto=…) or a header (x-protobuf-type) would."
                .to_owned(),
            Some(name) => {
                let name: String = name.chars().take(100).collect();
                format!("None of the {} messages of the descriptor sets is a “{name}”.", self.len())
            }
        }
    }
}

/// Lower case, letters and digits alone.
fn folded(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|sign| sign.to_ascii_lowercase()).collect()
}

/// The canonical JSON of a message.
///
/// # Errors
/// The bytes are none of that kind; the text says why.
pub fn json(kind: MessageDescriptor, bytes: &[u8]) -> Result<String, String> {
    let message = DynamicMessage::decode(kind, bytes).map_err(|error| error.to_string())?;
    // Nearly any bytes decode as nearly any message; one that knows none of its fields is another one.
    if message.fields().next().is_none() && message.unknown_fields().next().is_some() {
        return Err("none of its fields is known".to_owned());
    }
    serde_json::to_string_pretty(&message).map_err(|error| error.to_string())
}
