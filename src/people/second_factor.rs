//! The second factor: time-based one-time passwords (RFC 6238) and codes to recover by.

use totp_rs::{Builder, Totp};

use super::secret;

/// Bytes of a secret, RFC 4226 section 4.
const SECRET_BYTES: usize = 20;
/// Codes to recover by that are given at once.
const RECOVERY_CODES: usize = 10;

/// What an authenticator is told.
pub struct Enrolment {
    /// For typing, in groups of four.
    pub text: String,
    /// For a QR code.
    pub url: String,
}

/// A new secret.
pub fn new_secret() -> std::io::Result<Vec<u8>> {
    Ok(secret::random::<SECRET_BYTES>()?.to_vec())
}

/// What an authenticator is told of a secret, for the account of this name.
pub fn enrolment(secret: &[u8], name: &str) -> Option<Enrolment> {
    let totp = totp(secret, name)?;
    let base32 = totp.secret().to_base32();
    let letters: Vec<char> = base32.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Some(Enrolment { text: groups.join(" "), url: totp.to_url().ok()? })
}

/// The time step of this code, where it is the code of now, of the step before or of the one after. `seconds` are since
/// 1970, UTC.
pub fn step_of(secret: &[u8], code: &str, seconds: u64) -> Option<u64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    totp(secret, "account")?.check(&code, seconds)
}

fn totp(secret: &[u8], name: &str) -> Option<Totp> {
    let builder = Builder::new().with_secret(secret.to_vec()).with_issuer(Some("filmroom"));
    builder.with_account_name(name).build().ok()
}

/// Codes to recover by, of 50 random bits each: `abcde-23456`.
pub fn recovery_codes() -> std::io::Result<Vec<String>> {
    (0..RECOVERY_CODES).map(|_| secret::readable(2)).collect()
}

/// What is kept of a code to recover by, however it was typed.
pub fn recovery_hash(user_key: u64, code: &str) -> [u8; 32] {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    secret::hash(&format!("{user_key} {}", plain.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, the SHA-1 rows, six of their eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = b"12345678901234567890";
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(step_of(secret, code, seconds), Some(seconds / 30));
        }
        assert_eq!(step_of(secret, " 287 082 ", 59), Some(1));
        assert_eq!(step_of(secret, "287082", 59 + 30), Some(1), "clocks differ");
        for (wrong, seconds) in
            [("287082", 59 + 90), ("287083", 59), ("", 59), ("2870820", 59), ("abcdef", 59)]
        {
            assert_eq!(step_of(secret, wrong, seconds), None, "{wrong}");
        }
    }

    #[test]
    fn an_authenticator_is_told_issuer_account_and_secret() {
        let enrolment = enrolment(b"12345678901234567890", "anna").expect("a secret of 20 bytes");
        assert_eq!(enrolment.text, "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        assert!(
            enrolment.url.starts_with("otpauth://totp/filmroom:anna?secret=GEZDGNBVGY3TQOJQ"),
            "{}",
            enrolment.url
        );
    }

    #[test]
    fn recovery_codes_differ_and_may_be_typed_loosely() {
        let codes = recovery_codes().expect("random");
        assert_eq!(codes.len(), 10);
        let distinct: std::collections::BTreeSet<_> = codes.iter().collect();
        assert_eq!(distinct.len(), 10);
        assert_eq!(recovery_hash(1, "ABCDE 23456"), recovery_hash(1, "abcde-23456"));
        assert_ne!(recovery_hash(1, "abcde-23456"), recovery_hash(2, "abcde-23456"));
    }
}
