//! Cross-crate tests; this library is empty on purpose.
