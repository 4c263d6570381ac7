//! Protocol Buffers wire format, read lazily.
