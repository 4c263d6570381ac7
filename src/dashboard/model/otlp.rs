//! OTLP bytes: walked on arrival, decoded when read.
