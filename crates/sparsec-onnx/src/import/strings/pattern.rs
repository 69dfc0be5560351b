//! `RegexFullMatch`: a pattern becomes a table of states when the model is read.
//!
//! Patterns are those of RE2. Rust's syntax is close; [`translated`] brings over what differs: classes such as `\w` mean ASCII,
//! and within brackets only a few characters are special.

use std::collections::BTreeMap;

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use sparsec_graph::TensorData;
use sparsec_loops::match_strings;

use super::super::context::{Context, Operand};
use super::super::node::Node;
use crate::error::Fault;

/// Bytes of an automaton under construction, and states of a table, at most.
const MAX_BYTES: usize = 1 << 24;
const MAX_STATES: usize = 1 << 14;

/// `RegexFullMatch`.
pub(super) fn regex_full_match(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Operand>, Fault> {
    let x = node.input(0)?;
    let pattern = node.string("pattern")?.ok_or_else(|| Fault::attribute("pattern", "is missing"))?;
    let table = Table::of(pattern).map_err(|message| Fault::attribute("pattern", message))?;
    let (states, classes) = (table.accepts.len(), table.rows.first().map_or(0, Vec::len));
    cx.budget.take(((states * (classes + 1) + 256) * 8) as u64)?;
    let rows = table
        .rows
        .iter()
        .zip(&table.accepts)
        .flat_map(|(row, &accepts)| row.iter().copied().chain([i64::from(accepts)]));
    let name = cx.node_name.clone();
    let operands = [
        x,
        cx.add_data(&name, TensorData::i64(&[256], table.classes)),
        cx.add_data(&name, TensorData::i64(&[states, classes + 1], rows.collect())),
    ];
    let spec = match_strings(cx.ty(x), states, classes);
    Ok(vec![cx.only(spec, &operands)?])
}

/// States of an automaton.
struct Table {
    /// The class of each byte.
    classes: Vec<i64>,
    /// Where each class leads, a row a state.
    rows: Vec<Vec<i64>>,
    /// Whether a text may end in a state.
    accepts: Vec<bool>,
}

impl Table {
    /// The automaton that accepts what a pattern matches from its first byte to its last.
    fn of(pattern: &str) -> Result<Self, String> {
        let anchored = format!(r"\A(?:{})\z", translated(pattern));
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(MAX_BYTES))
            .determinize_size_limit(Some(MAX_BYTES));
        let thompson = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_BYTES));
        let dfa = dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().utf8(false))
            .thompson(thompson)
            .build(&anchored)
            .map_err(|e| format!("does not become a table of states: {}", reason(&e)))?;
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).map_err(|e| e.to_string())?;
        let mut numbers = BTreeMap::from([(start, 0i64)]);
        let mut order = vec![start];
        let mut columns: Vec<Vec<i64>> = vec![Vec::new(); 256];
        let mut at = 0;
        while let Some(&state) = order.get(at) {
            for (byte, column) in (0..=255u8).zip(&mut columns) {
                let next: StateID = dfa.next_state(state, byte);
                let fresh = order.len() as i64;
                let number = *numbers.entry(next).or_insert(fresh);
                if number == fresh {
                    order.push(next);
                }
                column.push(number);
            }
            if order.len() > MAX_STATES {
                return Err(format!("becomes more than {MAX_STATES} states"));
            }
            at += 1;
        }
        let accepts = order.iter().map(|&state| dfa.is_match_state(dfa.next_eoi_state(state))).collect();
        let (mut kinds, mut classes, mut kept) = (BTreeMap::new(), Vec::new(), Vec::new());
        for column in &columns {
            let fresh = kinds.len() as i64;
            let class = *kinds.entry(column).or_insert(fresh);
            if class == fresh {
                kept.push(column);
            }
            classes.push(class);
        }
        let rows =
            (0..order.len()).map(|i| kept.iter().filter_map(|column| column.get(i).copied()).collect()).collect();
        Ok(Table { classes, rows, accepts })
    }
}

/// The cause behind an error, whose own text only names a stage.
fn reason(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string().lines().last().unwrap_or_default().trim().to_owned()
}

/// A pattern of RE2 in Rust's syntax.
fn translated(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let escaped = rest.next();
                match (escaped, in_brackets) {
                    (Some('d'), false) => text.push_str("[0-9]"),
                    (Some('D'), _) => text.push_str("[^0-9]"),
                    (Some('s'), false) => text.push_str(r"[\t\n\f\r ]"),
                    (Some('S'), _) => text.push_str(r"[^\t\n\f\r ]"),
                    (Some('w'), false) => text.push_str("[0-9A-Za-z_]"),
                    (Some('W'), _) => text.push_str("[^0-9A-Za-z_]"),
                    (Some('d'), true) => text.push_str("0-9"),
                    (Some('s'), true) => text.push_str(r"\t\n\f\r "),
                    (Some('w'), true) => text.push_str("0-9A-Za-z_"),
                    (Some('b'), false) => text.push_str(r"(?-u:\b)"),
                    (Some('B'), false) => text.push_str(r"(?-u:\B)"),
                    (Some('Q'), _) => quoted(&mut rest, &mut text),
                    (Some(other), _) => text.extend(['\\', other]),
                    (None, _) => text.push('\\'),
                }
            }
            '[' if !in_brackets => {
                in_brackets = true;
                text.push('[');
                if rest.next_if_eq(&'^').is_some() {
                    text.push('^');
                }
                // A bracket that closes nothing yet is a character.
                if rest.next_if_eq(&']').is_some() {
                    text.push_str(r"\]");
                }
            }
            '[' if rest.peek() == Some(&':') => {
                text.push('[');
                for c in rest.by_ref() {
                    text.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_brackets => text.extend(['\\', c]),
            ']' => {
                in_brackets = false;
                text.push(']');
            }
            c => text.push(c),
        }
    }
    text
}

/// What stands between `\Q` and `\E`, as characters.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &mut String) {
    while let Some(c) = rest.next() {
        if c == '\\' && rest.next_if_eq(&'E').is_some() {
            return;
        }
        if c.is_ascii_punctuation() {
            text.push('\\');
        }
        text.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> Result<bool, String> {
        let table = Table::of(pattern)?;
        let step = |state: i64, byte: u8| table.rows[state as usize][table.classes[usize::from(byte)] as usize];
        Ok(table.accepts[text.bytes().fold(0, step) as usize])
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, yes, no) in [
            ("a|ab", "ab", "abc"),
            ("", "", "a"),
            (r"\w+", "a_9", "\u{e9}"),
            (r"[\w.-]+@[^\W_]+", "x.y@z1", "x.y@_"),
            (r"\d{2,3}", "123", "1234"),
            (r"www\.\bcom\b", "www.com", "wwwxcom"),
            ("[]a]+", "]a]", "b"),
            ("[[:alpha:]&&]+", "x&", "1"),
            (".", "\u{4e2d}", "\n"),
            (r"\Q1.5*\E+", "1.5**", "115*"),
            ("(?i)stra\u{df}e", "STRA\u{df}E", "strasse"),
        ] {
            assert_eq!(matches(pattern, yes), Ok(true), "{pattern} and {yes}");
            assert_eq!(matches(pattern, no), Ok(false), "{pattern} and {no}");
        }
    }

    #[test]
    fn patterns_that_are_no_automata_are_errors() {
        for pattern in ["(", r"(a)\1", "a{1000}{1000}{1000}", "(?=a)"] {
            assert!(matches(pattern, "a").is_err(), "{pattern}");
        }
    }
}
