//! Numbers in sentences, as pages, the REST API and the trail write them. Pure.

use std::borrow::Borrow;

/// `1 machine`, `2 machines`.
pub fn count(number: impl Borrow<usize>, noun: &str) -> String {
    let number = number.borrow();
    let ending = if *number == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(number))
}

/// A number with its thousands set apart: `3,000`.
pub fn thousands(number: impl Borrow<usize>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_apart_and_nouns_follow_them() {
        assert_eq!(count(1, "machine"), "1 machine");
        assert_eq!(count(3_000, "machine"), "3,000 machines");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
