//! Secrets of ours: what cookies, tokens and links hold, and what is kept of them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// A secret that was just made. Its text is given away once; only its hash is kept.
pub struct Secret {
    text: String,
}

impl Secret {
    /// 128 random bits: nobody guesses them, so that hashing them once is enough.
    pub fn random() -> std::io::Result<Secret> {
        Ok(Secret { text: hex::encode(random::<16>()?) })
    }

    /// As [`Secret::random`], with a beginning that tells what it is.
    pub fn random_with(beginning: &str) -> std::io::Result<Secret> {
        Ok(Secret { text: format!("{beginning}{}", hex::encode(random::<16>()?)) })
    }

    /// To be given away.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// To be kept.
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.text)
    }
}

/// What is kept of a secret.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Random bytes of the system.
pub fn random<const LENGTH: usize>() -> std::io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// Letters and digits that do not look like each other.
const READABLE: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567890";

/// A secret for people to type: groups of five letters and digits, 25 random bits each, `abcde-23456`.
pub fn readable(groups: usize) -> std::io::Result<String> {
    let letter = |byte: &u8| char::from(READABLE.get(usize::from(byte & 31)).copied().unwrap_or(b'a'));
    let group = |_| Ok::<String, std::io::Error>(random::<5>()?.iter().map(letter).collect());
    Ok((0..groups).map(group).collect::<Result<Vec<_>, _>>()?.join("-"))
}

/// A mark that only who has the key can make for these parts (HMAC-SHA-256).
pub fn mark(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Compares without telling by its duration how much was right.
pub fn is_equal(ours: &[u8], given: &[u8]) -> bool {
    let differences = ours.iter().zip(given).fold(0, |differences, (a, b)| differences | (a ^ b));
    ours.len() == given.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (Secret::random().expect("random"), Secret::random().expect("random"));
        assert_eq!(one.text().len(), 32);
        assert_ne!(one.text(), other.text());
        assert_eq!(one.hash(), hash(one.text()));
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(is_equal(b"abcd", b"abcd"));
        for wrong in [&b""[..], b"abc", b"abcde", b"abce"] {
            assert!(!is_equal(b"abcd", wrong));
        }
    }

    #[test]
    fn a_mark_depends_on_where_its_parts_end() {
        assert_eq!(mark(b"key", &[b"ab", b"c"]), mark(b"key", &[b"ab", b"c"]));
        assert_ne!(mark(b"key", &[b"ab", b"c"]), mark(b"key", &[b"a", b"bc"]));
        assert_ne!(mark(b"key", &[b"ab"]), mark(b"other", &[b"ab"]));
    }
}
