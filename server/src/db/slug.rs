//! Slugs: names as they stand in addresses. Used by the tables whose rows have one.

use std::collections::HashSet;

/// Longest slug before a number is added, in characters.
const SLUG_MAX: usize = 64;

/// The slug of `name`: ASCII letters and digits in lower case, everything else a hyphen. `fallback` where nothing is left.
pub(super) fn slug_of(name: &str, fallback: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().take(SLUG_MAX) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { fallback.to_owned() } else { slug.to_owned() }
}

/// The slug of `name` that is not among `taken`: a number is added where it must.
pub(super) fn unique_slug(name: &str, fallback: &str, taken: &HashSet<String>) -> String {
    let slug = slug_of(name, fallback);
    if !taken.contains(&slug) {
        return slug;
    }
    // Of taken.len() + 1 different candidates one is free.
    let mut candidates = (2..taken.len() + 3).map(|n| format!("{slug}-{n}"));
    candidates.find(|candidate| !taken.contains(candidate)).unwrap_or(slug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_safe_in_addresses() {
        for (name, slug) in [
            ("Production", "production"),
            ("Pre-production (EU)", "pre-production-eu"),
            ("  a  b ", "a-b"),
            ("Prüfung", "pr-fung"),
            ("???", "environment"),
        ] {
            assert_eq!(slug_of(name, "environment"), slug);
        }
    }

    #[test]
    fn a_taken_slug_gets_a_number() {
        let taken = ["a", "a-2"].map(str::to_owned).into();
        assert_eq!(unique_slug("A", "x", &taken), "a-3");
        assert_eq!(unique_slug("B", "x", &taken), "b");
    }
}
