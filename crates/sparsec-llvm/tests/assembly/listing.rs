//! Reads assembly as far as counting needs it: functions, their loops, and what kind each instruction of a loop is.
//!
//! ```text
//! .LBB0_3:                                        the loop is what stands from here ...
//!     movzwl  (%rdi,%rcx,2), %r9d                 a scalar load
//!     vbroadcastss    (%rsi,%rcx,4), %zmm8        a broadcast
//!     vfmadd231ps     (%rdx,%r9), %zmm8, %zmm0    a multiply-add that loads
//!     jne     .LBB0_3                             ... to here
//! ```

/// What a loop does, counted once through its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loop {
    /// The function that it is in.
    pub(crate) function: String,
    /// Its instructions.
    pub(crate) lines: Vec<String>,
    /// Multiply-adds on vectors of the widest kind.
    pub(crate) fmas: usize,
    /// Those of them that read an operand from memory.
    pub(crate) folded: usize,
    /// Loads of whole vectors, apart from multiply-adds.
    pub(crate) vectors: usize,
    /// Loads of one number into all lanes, be it by a multiply-add or before it.
    pub(crate) broadcasts: usize,
    /// Loads into general registers: offsets, masks, pointers.
    pub(crate) scalars: usize,
    /// Whatever reads or writes the stack.
    pub(crate) stack: usize,
}

impl Loop {
    /// Loads of any kind.
    pub(crate) fn loads(&self) -> usize {
        self.folded + self.vectors + self.broadcasts + self.scalars
    }

    /// Multiply-adds for each load: what the two load ports of a core leave room for.
    pub(crate) fn fmas_per_load(&self) -> f64 {
        self.fmas as f64 / self.loads().max(1) as f64
    }
}

/// The innermost loop with the most multiply-adds on registers of a kind (`%zmm`, `%ymm`, `.4s`).
pub(crate) fn hottest(assembly: &str, register: &str) -> Option<Loop> {
    // Of loops with equally many the first one counts.
    multiplying(assembly, register).into_iter().rev().max_by_key(|l| l.fmas)
}

/// All innermost loops with multiply-adds on registers of a kind.
pub(crate) fn multiplying(assembly: &str, register: &str) -> Vec<Loop> {
    functions(assembly)
        .into_iter()
        .flat_map(|(name, lines)| innermost(&lines).into_iter().map(move |body| count(name, body, register)))
        .filter(|l| l.fmas > 0)
        .collect()
}

/// Names and lines of the functions.
fn functions(assembly: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut inside = false;
    for line in assembly.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let line = line.split("//").next().unwrap_or_default().trim();
        match label(line) {
            Some(name) if name.starts_with(".Lfunc_end") => inside = false,
            Some(name) if !name.starts_with(".L") => {
                found.push((name, Vec::new()));
                inside = true;
            }
            _ => {
                if let Some((_, lines)) = found.last_mut().filter(|_| inside && !line.is_empty()) {
                    lines.push(line);
                }
            }
        }
    }
    found
}

fn label(line: &str) -> Option<&str> {
    line.strip_suffix(':').filter(|name| !name.contains(char::is_whitespace))
}

/// The label that a jump names.
fn jump(line: &str) -> Option<&str> {
    let mnemonic = line.split_whitespace().next()?;
    let jumps = mnemonic.starts_with('j')
        || mnemonic == "b"
        || ["b.", "cbz", "cbnz", "tbz", "tbnz"].iter().any(|m| mnemonic.starts_with(m));
    jumps.then(|| line.rsplit([' ', '\t', ',']).next()).flatten().filter(|target| target.starts_with(".L"))
}

/// The instructions of each loop that has no loop within: from a label to the last jump back to it.
fn innermost<'a>(lines: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut loops: Vec<(usize, usize)> = Vec::new();
    for (start, name) in lines.iter().enumerate().filter_map(|(i, line)| Some((i, label(line)?))) {
        if let Some(end) = (start..lines.len()).rev().find(|&j| jump(lines[j]) == Some(name)) {
            loops.push((start, end));
        }
    }
    let encloses = |a: (usize, usize), b: (usize, usize)| a != b && a.0 <= b.0 && b.1 <= a.1;
    loops
        .iter()
        .filter(|&&outer| !loops.iter().any(|&inner| encloses(outer, inner)))
        .map(|&(start, end)| {
            let is_instruction = |l: &&&str| label(l).is_none() && !l.starts_with('.');
            lines[start..=end].iter().filter(is_instruction).copied().collect()
        })
        .collect()
}

fn count(function: &str, lines: Vec<&str>, register: &str) -> Loop {
    let mut found = Loop { function: function.to_owned(), ..Loop::default() };
    for line in &lines {
        let (mnemonic, operands) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let x86 = operands.contains(['%', '(']);
        // Arm writes lanes in brackets, too: `v2.s[1]`.
        let memory = operands.contains(if x86 { "(" } else { "[x" }) || operands.contains("[sp");
        let fma = mnemonic.starts_with("vfmadd") || mnemonic.starts_with("vfnmadd") || mnemonic.starts_with("fmla");
        let spreads = mnemonic.contains("broadcast") || mnemonic == "ld1r" || operands.contains("{1to");
        let vector =
            mnemonic.starts_with('v') || mnemonic.starts_with("ld1") || (!x86 && operands.starts_with(['q', 'd']));
        let address_only = mnemonic.starts_with("lea") || mnemonic.starts_with("pr") || mnemonic.starts_with("nop");
        // AT&T syntax names the target last, Arm's stores have a name of their own.
        let store = if x86 { operands.ends_with(')') && !compares(mnemonic) } else { mnemonic.starts_with("st") };
        found.stack += usize::from(operands.contains("(%rsp") || operands.contains("[sp"));
        found.fmas += usize::from(fma && operands.contains(register));
        if !memory || store || address_only {
            continue;
        }
        match () {
            () if spreads => found.broadcasts += 1,
            () if fma => found.folded += 1,
            () if vector => found.vectors += 1,
            () => found.scalars += 1,
        }
    }
    found.lines = lines.into_iter().map(str::to_owned).collect();
    found
}

/// Whether an instruction of x86 only reads its last operand.
fn compares(mnemonic: &str) -> bool {
    ["cmp", "test", "bt"].iter().any(|m| mnemonic.starts_with(m))
}
