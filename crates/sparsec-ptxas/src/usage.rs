//! What the assembler reports of a function with `--verbose`.

use std::collections::BTreeMap;

/// What a function takes of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Registers of 32 bits a thread.
    pub registers: u32,
    /// Bytes of shared memory a block, the static part.
    pub shared: u32,
    /// Bytes of stack a thread.
    pub stack: u32,
    /// Bytes of stores that save registers to local memory.
    pub spill_stores: u32,
    /// Bytes of loads that bring them back.
    pub spill_loads: u32,
    /// Barriers.
    pub barriers: u32,
}

/// The usage of each function, from the assembler's messages.
#[must_use]
pub fn parse_usage(log: &str) -> BTreeMap<String, Usage> {
    let mut all: BTreeMap<String, Usage> = BTreeMap::new();
    let mut current = None;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            current = rest.split('\'').next().map(str::to_owned);
        } else if let Some((_, name)) = line.split_once("Function properties for ") {
            current = Some(name.trim().to_owned());
        }
        let Some(usage) = current.as_ref().map(|name| all.entry(name.clone()).or_default()) else { continue };
        let before = |unit: &str| number_before(line, unit);
        usage.registers = before(" registers").unwrap_or(usage.registers);
        usage.shared = before(" bytes smem").unwrap_or(usage.shared);
        usage.stack = before(" bytes stack frame").unwrap_or(usage.stack);
        usage.spill_stores = before(" bytes spill stores").unwrap_or(usage.spill_stores);
        usage.spill_loads = before(" bytes spill loads").unwrap_or(usage.spill_loads);
        usage.barriers = before(" barriers").unwrap_or(usage.barriers);
    }
    all
}

fn number_before(line: &str, unit: &str) -> Option<u32> {
    let (before, _) = line.split_once(unit)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let log = "ptxas info    : 0 bytes gmem\n\
                   ptxas info    : Compiling entry function 'foo' for 'sm_80'\n\
                   ptxas info    : Function properties for foo\n    \
                   24 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads\n\
                   ptxas info    : Used 38 registers, used 1 barriers, 256 bytes smem, 360 bytes cmem[0]\n\
                   ptxas info    : Compiling entry function 'bar' for 'sm_80'\n\
                   ptxas info    : Function properties for bar\n    \
                   0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
                   ptxas info    : Used 8 registers, 360 bytes cmem[0]\n";
        let foo = Usage { registers: 38, shared: 256, stack: 24, spill_stores: 16, spill_loads: 20, barriers: 1 };
        let bar = Usage { registers: 8, ..Usage::default() };
        assert_eq!(parse_usage(log), BTreeMap::from([("foo".into(), foo), ("bar".into(), bar)]));
    }
}
