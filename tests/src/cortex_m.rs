//! Models on emulated microcontrollers: a program without any library, in as much memory as a test allows.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use crate::tools::{self, c_sources};

/// A board of Arm's that QEMU emulates.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// QEMU's name.
    pub machine: &'static str,
    /// LLVM's name of its processor.
    pub cpu: &'static str,
}

/// A board with a Cortex-M4.
pub const M4: Board = Board { machine: "mps2-an386", cpu: "cortex-m4" };
/// A board with a Cortex-M7.
pub const M7: Board = Board { machine: "mps2-an500", cpu: "cortex-m7" };

/// The triple of code for the boards.
pub const TRIPLE: &str = "thumbv7em-none-eabihf";

const EMULATOR: &str = "qemu-system-arm";
const COMPILER: &str = "clang-19";
const LINKER: &str = "ld.lld-19";

/// Bytes of memory that can be written, and how many of them are stack.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All together.
    pub ram: usize,
    /// The stack.
    pub stack: usize,
}

/// Whether the tools are there.
#[must_use]
pub fn is_here() -> bool {
    tools::present(&[EMULATOR, COMPILER, LINKER], "code for microcontrollers")
}

/// Runs the model `libNAME.a` of a folder on a board, with one input and `output` numbers of output; no dimension is open.
///
/// # Panics
/// When the program can't be built, does not fit, or fails.
#[must_use]
pub fn run(
    board: Board,
    memory: Memory,
    folder: &Path,
    name: &str,
    input: (&[usize], &[f32]),
    output: usize,
) -> Vec<f32> {
    let at = |file: &str| folder.join(file);
    let (shape, values) = input;
    let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
    let mut case = format!("#define IN_SHAPE {{{}}}\n", list(&mut shape.iter().map(ToString::to_string)));
    let bits = list(&mut values.iter().map(|v| format!("{:#x}u", v.to_bits())));
    let _ = writeln!(case, "#define OUT {output}\n#define INPUT {bits}");
    std::fs::write(at("case.h"), case).expect("written");
    let script = std::fs::read_to_string(c_sources().join("cortex_m.ld")).expect("the linker script");
    let script = script.replace("@RAM@", &memory.ram.to_string()).replace("@STACK@", &memory.stack.to_string());
    std::fs::write(at("board.ld"), script).expect("written");

    let mut cc = Command::new(COMPILER);
    cc.arg(format!("--target={TRIPLE}")).arg(format!("-mcpu={}", board.cpu)).arg(format!("-DMODEL={name}"));
    cc.args(["-std=c11", "-ffreestanding", "-O1", "-Wall", "-Wextra", "-Werror", "-c", "-include"]);
    cc.arg(at(&format!("{name}.h"))).arg("-include").arg(at("case.h"));
    tools::succeed(cc.arg(c_sources().join("cortex_m.c")).arg("-o").arg(at("main.o")));
    // No library is named: a symbol that is left undefined is an error.
    let mut ld = Command::new(LINKER);
    ld.arg("-T").arg(at("board.ld")).arg("-o").arg(at("main.elf")).arg(at("main.o"));
    tools::succeed(ld.arg(at(&format!("lib{name}.a"))));

    let mut emulator = Command::new(EMULATOR);
    emulator.args(["-machine", board.machine, "-display", "none", "-monitor", "none", "-serial", "none"]);
    emulator.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(at("main.elf"));
    let output = emulator.output().expect("the emulator starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} on {}: {}\n{out}\n{err}", board.machine, output.status);
    let words = out.lines().chain(err.lines()).filter_map(|line| u32::from_str_radix(line.trim(), 16).ok());
    words.map(f32::from_bits).collect()
}
