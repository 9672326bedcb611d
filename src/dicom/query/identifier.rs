//! Identifiers, PS3.4 C.4.1.1.3.
