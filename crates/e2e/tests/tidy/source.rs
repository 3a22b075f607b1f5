//! The files of the repository as the rules see them: Rust as tokens, so that comments and strings are never mistaken for
//! code. Knows no rule.

use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream};

/// Folders without files of ours.
const SKIPPED: [&str; 3] = [".git", "target", "screenshots"];

/// One file.
#[derive(Debug, Default)]
pub struct Source {
    /// From the root of the repository: `server/src/run.rs`.
    pub path: String,
    pub text: String,
    /// `a::b::c`, as segments; a `use` with braces gives one path for each thing. A lone name is no path.
    pub paths: Vec<Found<Vec<String>>>,
    /// `dbg` for `dbg!`.
    pub macros: Vec<Found<String>>,
    /// Every name within `#[…]` and `#![…]`, doc comments left out.
    pub attributes: Vec<Found<Vec<String>>>,
    /// Literals as they are written, quotes included.
    pub literals: Vec<Found<String>>,
    /// Names that are accessed by `.name`.
    pub members: Vec<Found<String>>,
    /// The line where the tests begin that stand beside the code.
    tests_begin: Option<usize>,
}

/// Something on a line; the first is 1.
#[derive(Debug)]
pub struct Found<T> {
    pub line: usize,
    pub what: T,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let mut source = Self { path: path.to_owned(), text: text.to_owned(), ..Self::default() };
        if path.ends_with(".rs") {
            let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path} is no Rust: {error}"));
            source.read(tokens);
            let in_tests = |found: &&Found<Vec<String>>| found.what == ["cfg", "test"];
            source.tests_begin = source.attributes.iter().find(in_tests).map(|found| found.line);
        }
        source
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True where the line is the product's, not that of a test.
    pub fn is_product(&self, line: usize) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let of_tests = self.path.contains("/tests/") || name.ends_with("tests.rs") || name == "testing.rs";
        !of_tests && self.tests_begin.is_none_or(|begin| line < begin)
    }

    /// The number of lines before the tests that stand beside the code.
    pub fn lines_before_tests(&self) -> usize {
        self.tests_begin.map_or_else(|| self.text.lines().count(), |begin| begin - 1)
    }

    /// The lines with a path in which these segments follow each other.
    pub fn lines_with_path(&self, segments: &[&str]) -> Vec<usize> {
        let holds = |path: &[String]| path.windows(segments.len()).any(|window| window == segments);
        self.paths.iter().filter(|found| holds(&found.what)).map(|found| found.line).collect()
    }

    fn read(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    self.literals.push(Found { line, what: literal.to_string() });
                }
                TokenTree::Punct(punct) if punct.as_char() == '#' => self.read_attribute(&mut tokens),
                TokenTree::Punct(punct) if punct.as_char() == '.' => {
                    if let Some(TokenTree::Ident(name)) = tokens.peek() {
                        self.members.push(Found { line: name.span().start().line, what: name.to_string() });
                    }
                }
                TokenTree::Punct(_) => {}
                TokenTree::Ident(ident) if ident == "use" => self.read_use(&mut tokens, &[]),
                TokenTree::Ident(ident) => {
                    let (line, mut path) = (ident.span().start().line, vec![ident.to_string()]);
                    while next_is(&mut tokens, ':') {
                        let mut ahead = tokens.clone();
                        ahead.next();
                        let (Some(TokenTree::Punct(colon)), Some(TokenTree::Ident(next))) =
                            (ahead.next(), ahead.next())
                        else {
                            break;
                        };
                        if colon.as_char() != ':' {
                            break;
                        }
                        path.push(next.to_string());
                        tokens = ahead;
                    }
                    if next_is(&mut tokens, '!') {
                        self.macros.push(Found { line, what: path[path.len() - 1].clone() });
                    }
                    if path.len() > 1 {
                        self.paths.push(Found { line, what: path });
                    }
                }
            }
        }
    }

    fn read_attribute(&mut self, tokens: &mut Peekable<token_stream::IntoIter>) {
        if next_is(tokens, '!') {
            tokens.next();
        }
        let Some(TokenTree::Group(group)) = tokens.peek() else { return };
        if group.delimiter() != Delimiter::Bracket {
            return;
        }
        let (line, stream) = (group.span().start().line, group.stream());
        let mut names = Vec::new();
        collect_names(stream.clone(), &mut names);
        tokens.next();
        if names.first().is_some_and(|name| name != "doc") {
            self.attributes.push(Found { line, what: names });
            self.read(stream);
        }
    }

    /// Reads one level of a `use`, to its `;` or the end of its braces.
    fn read_use(&mut self, tokens: &mut Peekable<token_stream::IntoIter>, prefix: &[String]) {
        let (mut path, mut line) = (prefix.to_vec(), 0);
        loop {
            match tokens.next() {
                Some(TokenTree::Ident(ident)) if ident == "as" => drop(tokens.next()),
                Some(TokenTree::Ident(ident)) => {
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                }
                Some(TokenTree::Group(group)) => {
                    self.read_use(&mut group.stream().into_iter().peekable(), &path);
                    path.truncate(prefix.len());
                }
                Some(TokenTree::Punct(punct)) if punct.as_char() == ':' || punct.as_char() == '*' => {}
                end => {
                    if path.len() > prefix.len() && line > 0 {
                        self.paths.push(Found { line, what: std::mem::replace(&mut path, prefix.to_vec()) });
                    }
                    if !matches!(end, Some(TokenTree::Punct(comma)) if comma.as_char() == ',') {
                        return;
                    }
                }
            }
        }
    }
}

fn next_is(tokens: &mut Peekable<token_stream::IntoIter>, wanted: char) -> bool {
    matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn collect_names(tokens: TokenStream, names: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => names.push(ident.to_string()),
            TokenTree::Group(group) => collect_names(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in crates/e2e").to_owned()
}

/// Every text file of the repository.
pub static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let (root, mut sources) = (root(), Vec::new());
    collect(&root, &root, &mut sources);
    assert!(sources.len() > 100, "only {} files were found under {}", sources.len(), root.display());
    sources
});

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("the repository can be read") {
        let entry = entry.expect("the repository can be read");
        let (path, name) = (entry.path(), entry.file_name());
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            collect(root, &path, sources);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let relative = path.strip_prefix(root).ok().and_then(Path::to_str).expect("names of files are Unicode");
            sources.push(Source::new(relative, &text));
        }
    }
}

#[test]
fn code_is_told_from_words_about_it() {
    let text = "//! sqlx::query\nuse a::{b, c::{self, d as e}, f::*};\n#[cfg(all(unix, test))]\nfn g() { h::i(); \
                todo!(\"j::k\"); l.m = n; }\n#[cfg(test)]\nmod tests { use o::p; }";
    let source = Source::new("server/src/run.rs", text);
    let paths: Vec<_> = source.paths.iter().map(|path| (path.line, path.what.join("::"))).collect();
    let expected = [(2, "a::b"), (2, "a::c::self"), (2, "a::c::d"), (2, "a::f"), (4, "h::i"), (6, "o::p")];
    assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
    assert_eq!(source.macros[0].what, "todo");
    assert_eq!(source.literals[0].what, "\"j::k\"");
    assert_eq!(source.members[0].what, "m");
    assert_eq!(source.attributes[0].what, ["cfg", "all", "unix", "test"]);
    assert_eq!(source.lines_before_tests(), 4);
    assert!(source.is_product(4) && !source.is_product(6));
    assert_eq!(source.lines_with_path(&["c", "d"]), [2]);
}
