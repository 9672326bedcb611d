//! How filmroom names itself to other programs, PS3.7 D.3.3.2 and PS3.10 section 7.1.

/// Implementation Class UID: ours, under 2.25 (PS3.5 B.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.201735229640872418873911806563148377429";

/// Implementation Version Name: at most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str =
    concat!("FILMROOM_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"));
