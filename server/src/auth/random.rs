//! Secrets: random texts, and the hashes that are stored of them.

use rand::TryRng as _;
use rand::rngs::SysRng;
use sha2::{Digest as _, Sha256};

/// The digits of base 32: 5 bits each.
const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// 160 bits from the operating system, as 32 characters of `A`–`Z` and `2`–`7`.
pub(super) fn secret() -> Result<String, rand::rngs::SysError> {
    let mut bytes = [0_u8; 20];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(encode(&bytes))
}

/// 5 bytes are 8 digits, so 20 bytes need no padding.
fn encode(bytes: &[u8; 20]) -> String {
    let mut text = String::with_capacity(32);
    for group in bytes.chunks_exact(5) {
        let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        text.extend((0..8).rev().map(|i| char::from(DIGITS[usize::try_from(bits >> (5 * i) & 31).unwrap_or(0)])));
    }
    text
}

/// What is stored of a secret. It has 160 random bits, so nobody guesses it from a plain hash.
pub(super) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_in_the_text() {
        assert_eq!(encode(&[0; 20]), "A".repeat(32));
        assert_eq!(encode(&[0xFF; 20]), "7".repeat(32));
        assert_eq!(encode(b"foobarfoobarfoobarfo"), "MZXW6YTBOJTG633CMFZGM33PMJQXEZTP");
        assert_ne!(secret().unwrap(), secret().unwrap());
    }
}
