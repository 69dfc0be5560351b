//! Operands of an instruction, taken from the front one by one.

use super::Parse;
use crate::{Address, Base, ConstId, Function, Module, Operand, ParamId, Reg, RegClass, SharedId, Special};

/// The operands of one instruction.
pub(super) struct Operands<'t> {
    module: &'t Module,
    function: &'t Function,
    parts: std::vec::IntoIter<&'t str>,
}

impl<'t> Operands<'t> {
    /// Splits at the commas outside of brackets and braces.
    pub(super) fn new(text: &'t str, module: &'t Module, function: &'t Function) -> Self {
        let mut parts = Vec::new();
        let (mut depth, mut start) = (0_i32, 0);
        for (i, c) in text.char_indices() {
            match c {
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                ',' if depth == 0 => {
                    parts.push(text[start..i].trim());
                    start = i + 1;
                }
                _ => {}
            }
        }
        if !text[start..].trim().is_empty() {
            parts.push(text[start..].trim());
        }
        Operands { module, function, parts: parts.into_iter() }
    }

    pub(super) fn finish(self) -> Parse<()> {
        match self.parts.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(format!("the operand `{first}` is one too many")),
        }
    }

    pub(super) fn text(&mut self) -> Parse<&'t str> {
        self.parts.next().ok_or_else(|| "an operand is missing".to_owned())
    }

    pub(super) fn has_more(&self) -> bool {
        !self.parts.as_slice().is_empty()
    }

    pub(super) fn reg(&mut self) -> Parse<Reg> {
        self.text().and_then(reg)
    }

    pub(super) fn regs(&mut self) -> Parse<Vec<Reg>> {
        let text = self.text()?;
        parts(text).map(reg).collect()
    }

    pub(super) fn operand(&mut self) -> Parse<Operand> {
        let text = self.text()?;
        self.operand_of(text)
    }

    pub(super) fn operands(&mut self) -> Parse<Vec<Operand>> {
        let text = self.text()?;
        parts(text).map(|p| self.operand_of(p)).collect()
    }

    pub(super) fn number(&mut self) -> Parse<u32> {
        let text = self.text()?;
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }

    pub(super) fn address(&mut self) -> Parse<Address> {
        let text = self.text()?;
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let inner = inner.ok_or_else(|| format!("`{text}` is no address"))?;
        let (base, offset) = inner.split_once('+').unwrap_or((inner, "0"));
        let offset = offset.parse().map_err(|_| format!("`{offset}` is no distance in bytes"))?;
        let base = if base.starts_with('%') {
            Base::Reg(reg(base)?)
        } else if let Some(i) = self.function.params.iter().position(|p| p.name == base) {
            Base::Param(ParamId(i as u32))
        } else if let Some(s) = self.shared(base) {
            Base::Shared(s)
        } else if let Some(i) = self.module.constants.iter().position(|c| c.name == base) {
            Base::Const(ConstId(i as u32))
        } else {
            return Err(format!("`{base}` is not declared"));
        };
        Ok(Address { base, offset })
    }

    fn shared(&self, name: &str) -> Option<SharedId> {
        self.module.shared.iter().position(|s| s.name == name).map(|i| SharedId(i as u32))
    }

    fn operand_of(&self, text: &str) -> Parse<Operand> {
        if let Some(special) = Special::from_name(text) {
            return Ok(Operand::Special(special));
        }
        if text.starts_with('%') {
            return reg(text).map(Operand::Reg);
        }
        let bits =
            |hex: &str, digits: usize| (hex.len() == digits).then(|| u64::from_str_radix(hex, 16).ok()).flatten();
        let found = if let Some(hex) = text.strip_prefix("0f") {
            bits(hex, 8).map(|b| Operand::F32(b as u32))
        } else if let Some(hex) = text.strip_prefix("0d") {
            bits(hex, 16).map(Operand::F64)
        } else if let Some(s) = self.shared(text) {
            Some(Operand::Shared(s))
        } else {
            text.parse().ok().map(Operand::Int)
        };
        found.ok_or_else(|| format!("`{text}` is no operand"))
    }
}

/// `{a, b}`, or a single one without braces.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    inner.split(',').map(str::trim)
}

pub(super) fn reg(text: &str) -> Parse<Reg> {
    let read = || {
        let rest = text.strip_prefix('%')?;
        let split = rest.find(|c: char| c.is_ascii_digit())?;
        let (prefix, number) = rest.split_at(split);
        let class = RegClass::ALL.iter().copied().find(|c| c.prefix() == prefix)?;
        Some(Reg { class, index: number.parse().ok()? })
    };
    read().ok_or_else(|| format!("`{text}` is no register"))
}
