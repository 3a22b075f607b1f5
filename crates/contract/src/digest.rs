//! Fixed-size digests: the SHA-256 of a file's bytes, and the thumbprint of a certificate.
//!
//! Only the values and their spelling; the hashing itself is done where the bytes are.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestError {
    length: usize,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected 64 hexadecimal digits, got {} characters of something else", self.length)
    }
}

impl std::error::Error for DigestError {}

/// The SHA-256 digest of some bytes. Shown in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

/// The SHA-256 digest of a certificate in DER form. Shown in upper case, read with or without colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(pub [u8; 32]);

fn read_hex(text: &str) -> Result<[u8; 32], DigestError> {
    let error = DigestError { length: text.chars().count() };
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(error);
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| error.clone())?;
    }
    Ok(bytes)
}

impl FromStr for Sha256 {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read_hex(text).map(Self)
    }
}

impl FromStr for Thumbprint {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read_hex(&text.trim().replace(':', "")).map(Self)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_what_they_write() {
        let bytes = std::array::from_fn(|i| (i * 7) as u8);
        assert_eq!(Sha256(bytes).to_string().parse(), Ok(Sha256(bytes)));
        assert_eq!(Thumbprint(bytes).to_string().parse(), Ok(Thumbprint(bytes)));
        assert_eq!(Sha256(bytes).to_string().to_uppercase(), Thumbprint(bytes).to_string());
    }

    #[test]
    fn a_thumbprint_may_be_pasted_with_colons_and_spaces_around() {
        let print = Thumbprint([0xAB; 32]);
        let pasted = format!(" {}\n", vec!["ab"; 32].join(":"));
        assert_eq!(pasted.parse(), Ok(print));
    }

    #[test]
    fn a_digest_tells_its_kind_where_it_is_debugged() {
        let digits = "00".repeat(31);
        assert_eq!(
            format!("{:?}", Sha256(std::array::from_fn(|i| (i / 31) as u8 * 0xAB))),
            format!("Sha256({digits}ab)")
        );
        assert_eq!(
            format!("{:?}", Thumbprint(std::array::from_fn(|i| (i / 31) as u8 * 0xAB))),
            format!("Thumbprint({digits}AB)")
        );
    }

    #[test]
    fn the_refusal_says_what_a_digest_is_and_how_long_the_text_was() {
        let error = "é4".parse::<Sha256>().unwrap_err().to_string();
        assert_eq!(error, "expected 64 hexadecimal digits, got 2 characters of something else");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "ab", &"g".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            assert!(text.parse::<Sha256>().is_err(), "{text}");
            assert!(text.parse::<Thumbprint>().is_err(), "{text}");
        }
    }
}
