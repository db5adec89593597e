//! Which jobs, by their labels: `team=blue,stage in (test,dev),!draft`.

use std::collections::BTreeSet;
use std::fmt;

use super::{Labels, key_problem, value_problem};
use crate::error::clip;

/// Longest selector, in bytes.
pub const MAX_SELECTOR_BYTES: usize = 2048;

/// What labels must be. All of its requirements hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    wanted: Wanted,
}

/// What is wanted of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Present,
    Absent,
    In(BTreeSet<String>),
    /// Another value, or no such label.
    NotIn(BTreeSet<String>),
}

impl Selector {
    /// Reads a selector. Otherwise says what is wrong. An empty one selects every job.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(format!("is longer than {MAX_SELECTOR_BYTES} bytes"));
        }
        let mut tokens = Tokens(text);
        let mut requirements = Vec::new();
        if tokens.peek() == Token::End {
            return Ok(Self(requirements));
        }
        loop {
            requirements.push(requirement(&mut tokens)?);
            match tokens.next() {
                Token::End => return Ok(Self(requirements)),
                Token::Comma => {}
                found => return Err(unexpected(found, "a comma or the end")),
            }
        }
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|Requirement { key, wanted }| {
            let value = labels.get(key);
            match wanted {
                Wanted::Present => value.is_some(),
                Wanted::Absent => value.is_none(),
                Wanted::In(values) => value.is_some_and(|value| values.contains(value)),
                Wanted::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }

    /// Whether it selects every job.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The selector as an API server reads it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |values: &BTreeSet<String>| {
            let all: Vec<_> = values.iter().map(String::as_str).collect();
            all.join(",")
        };
        for (number, Requirement { key, wanted }) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(",")?;
            }
            match wanted {
                Wanted::Present => write!(f, "{key}"),
                Wanted::Absent => write!(f, "!{key}"),
                Wanted::In(values) => write!(f, "{key} in ({})", joined(values)),
                Wanted::NotIn(values) => write!(f, "{key} notin ({})", joined(values)),
            }?;
        }
        Ok(())
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let is_absent = tokens.peek() == Token::Not;
    if is_absent {
        tokens.next();
    }
    let key = match tokens.next() {
        Token::Word(key) => key.to_owned(),
        found => return Err(unexpected(found, "the key of a label")),
    };
    if let Some(why) = key_problem(&key) {
        return Err(format!("{:?}: the key {why}", clip(key, 64)));
    }
    if is_absent {
        return Ok(Requirement { key, wanted: Wanted::Absent });
    }
    let wanted = match tokens.peek() {
        Token::End | Token::Comma => Wanted::Present,
        Token::Equal => {
            tokens.next();
            Wanted::In(BTreeSet::from([value(tokens)?]))
        }
        Token::NotEqual => {
            tokens.next();
            Wanted::NotIn(BTreeSet::from([value(tokens)?]))
        }
        Token::Word("in") => {
            tokens.next();
            Wanted::In(values(tokens)?)
        }
        Token::Word("notin") => {
            tokens.next();
            Wanted::NotIn(values(tokens)?)
        }
        found => return Err(unexpected(found, "=, ==, !=, in or notin")),
    };
    Ok(Requirement { key, wanted })
}

/// A value, which may be empty.
fn value(tokens: &mut Tokens<'_>) -> Result<String, String> {
    let Token::Word(value) = tokens.peek() else { return Ok(String::new()) };
    tokens.next();
    match value_problem(value) {
        None => Ok(value.to_owned()),
        Some(why) => Err(format!("{:?}: the value {why}", clip(value.to_owned(), 64))),
    }
}

fn values(tokens: &mut Tokens<'_>) -> Result<BTreeSet<String>, String> {
    match tokens.next() {
        Token::Open => {}
        found => return Err(unexpected(found, "(")),
    }
    let mut values = BTreeSet::new();
    loop {
        values.insert(value(tokens)?);
        match tokens.next() {
            Token::Comma => {}
            Token::Close => return Ok(values),
            found => return Err(unexpected(found, "a comma or )")),
        }
    }
}

fn unexpected(found: Token<'_>, expected: &str) -> String {
    match found {
        Token::End => format!("ends where {expected} was expected"),
        found => format!("{found} where {expected} was expected"),
    }
}

/// A piece of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Equal,
    NotEqual,
    Not,
    Open,
    Close,
    Comma,
    /// What no selector has.
    Other(char),
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{:?}", clip((*word).to_owned(), 64)),
            Self::Equal => f.write_str("="),
            Self::NotEqual => f.write_str("!="),
            Self::Not => f.write_str("!"),
            Self::Open => f.write_str("("),
            Self::Close => f.write_str(")"),
            Self::Comma => f.write_str("a comma"),
            Self::Other(other) => write!(f, "{other:?}"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// What is left of a selector.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn peek(&self) -> Token<'a> {
        Tokens(self.0).next()
    }

    fn next(&mut self) -> Token<'a> {
        self.0 = self.0.trim_ascii_start();
        for (text, token) in [
            ("==", Token::Equal),
            ("=", Token::Equal),
            ("!=", Token::NotEqual),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ] {
            if let Some(rest) = self.0.strip_prefix(text) {
                self.0 = rest;
                return token;
            }
        }
        let is_end = |c: char| c.is_ascii_whitespace() || "=!(),><".contains(c);
        let (word, rest) = self.0.split_at(self.0.find(is_end).unwrap_or(self.0.len()));
        match word {
            "" => self.0.chars().next().map_or(Token::End, Token::Other),
            word => {
                self.0 = rest;
                Token::Word(word)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels;

    #[test]
    fn labels_are_selected_as_kubernetes_selects_them() {
        let job = labels::parse("team=blue,stage=test,empty=").unwrap();
        for (selector, is_selected) in [
            ("", true),
            (" ", true),
            ("team", true),
            ("nothing", false),
            ("!team", false),
            ("! nothing", true),
            ("team=blue", true),
            ("team==blue", true),
            ("team = blue , stage=test", true),
            ("team=blue,stage=live", false),
            ("team!=blue", false),
            ("team!=red", true),
            ("nothing!=red", true),
            ("stage in (test,dev)", true),
            ("stage in(dev)", false),
            ("stage notin (dev, live)", true),
            ("stage notin (test)", false),
            ("nothing notin (a)", true),
            ("nothing in (a)", false),
            ("empty=", true),
            ("empty in ()", true),
            ("empty in (,a)", true),
            ("team=", false),
            ("team,stage,!nothing", true),
            // Words of the grammar are keys, too.
            ("in in (a)", false),
            ("!notin", true),
            ("team=blue,team=red", false),
        ] {
            let read = Selector::parse(selector).unwrap_or_else(|why| panic!("{selector}: {why}"));
            assert_eq!(read.matches(&job), is_selected, "{selector}");
            // What is handed to an API server says the same.
            assert_eq!(Selector::parse(&read.to_string()), Ok(read), "{selector}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (selector, word) in [
            (",", "a comma where the key"),
            ("a,", "ends where the key"),
            ("a=b,", "ends where the key"),
            ("a=b c", "\"c\" where a comma"),
            ("a b", "\"b\" where =, =="),
            ("a in", "ends where ("),
            ("a in (b", "ends where a comma or )"),
            ("a in b", "where ("),
            ("a in (b=c)", "= where"),
            ("!a=b", "= where a comma"),
            ("!", "ends where the key"),
            ("a>1", "'>' where"),
            ("a=(b)", "( where"),
            ("-a=b", "the key"),
            ("a=b$", "the value"),
            ("a/b/c", "the key"),
            ("\u{e4}", "the key"),
            (&"a,".repeat(1025), "longer than 2048"),
        ] {
            let why = Selector::parse(selector).unwrap_err();
            assert!(why.contains(word), "{selector:.20}: {why}");
        }
    }
}
