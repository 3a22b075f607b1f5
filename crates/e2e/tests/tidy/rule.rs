//! What a rule over files is: where it is broken, and what to do then.

use crate::source::{SOURCES, Source};

/// One rule.
pub struct Rule {
    /// What to do where it is broken, in a sentence.
    pub advice: &'static str,
    /// The lines that break it.
    pub broken: fn(&Source) -> Vec<usize>,
}

impl Rule {
    /// Fails with the place and the advice where any file of the repository breaks it.
    pub fn holds(&self) {
        let mut places = Vec::new();
        for source in SOURCES.iter() {
            places.extend((self.broken)(source).into_iter().map(|line| format!("{}:{line}", source.path)));
        }
        assert!(places.is_empty(), "{}\n  {}", self.advice, places.join("\n  "));
    }

    /// Fails where the rule would let this pass: a rule that never fails is no rule.
    pub fn catches(&self, path: &str, text: &str) -> &Self {
        assert!(!(self.broken)(&Source::new(path, text)).is_empty(), "not caught in {path}: {text}");
        self
    }

    /// Fails where the rule is broken by this, which is right.
    pub fn allows(&self, path: &str, text: &str) -> &Self {
        assert_eq!((self.broken)(&Source::new(path, text)), [] as [usize; 0], "caught in {path}: {text}");
        self
    }
}
