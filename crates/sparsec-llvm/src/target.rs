//! The machine that code is made for.
//!
//! LLVM's C interface does not tell what a CPU can do, and takes an unknown name with a warning only. So this module
//! knows by itself which names there are and how wide their vectors are; whatever it does not know is an error.

use inkwell::OptimizationLevel;
use inkwell::targets::{CodeModel, InitializationConfig, RelocMode, Target as LlvmTarget, TargetMachine, TargetTriple};
use sparsec_tir::Scalar;

/// Why a target can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No code can be made for this triple.
    #[error("unsupported target `{triple}`: {message}")]
    Triple {
        /// The triple as given.
        triple: String,
        /// Why.
        message: String,
    },
    /// The CPU is not known for this architecture.
    #[error("unknown CPU `{cpu}` for {arch}; known are {known}")]
    Cpu {
        /// The name as given.
        cpu: String,
        /// The architecture.
        arch: &'static str,
        /// Names that would do.
        known: &'static str,
    },
    /// A list of CPUs can't be in one library.
    #[error("cpu `{list}`: {message}; a list holds levels of x86-64, such as x86-64-v2,x86-64-v3,x86-64-v4")]
    Levels {
        /// The list as given.
        list: String,
        /// Why.
        message: String,
    },
    /// `native` was asked for a machine that is not this one.
    #[error("cpu `native` needs this machine's triple `{host}`, not `{triple}`")]
    NotNative {
        /// The triple as given.
        triple: String,
        /// This machine's.
        host: String,
    },
}

/// An architecture that code can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// x86, 64 bits.
    X86_64,
    /// Arm, 64 bits.
    Aarch64,
    /// RISC-V, 64 bits, with the extensions G and C.
    Riscv64,
    /// WebAssembly with 32-bit addresses and 128-bit vectors.
    Wasm32,
    /// Arm's microcontrollers without an operating system: Armv7E-M with a floating-point unit (Cortex-M4, Cortex-M7).
    Thumb,
}

/// The version of LLVM that is linked: major, minor, patch.
#[must_use]
pub fn llvm_version() -> (u32, u32, u32) {
    inkwell::support::get_llvm_version()
}

/// Names of the architectures that code can be made for, as triples have them.
#[must_use]
pub fn architectures() -> Vec<&'static str> {
    Arch::ALL.iter().map(|arch| arch.name()).collect()
}

impl Arch {
    const ALL: [Arch; 5] = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64, Arch::Wasm32, Arch::Thumb];

    fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Riscv64 => "riscv64",
            Arch::Wasm32 => "wasm32",
            Arch::Thumb => "thumbv7em",
        }
    }
}

/// Instructions that add products of bytes in 32 bits. Without any, bytes are widened, which is as exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DotProducts {
    /// `vpdpbusd` on 512-bit vectors and shorter ones (AVX512-VNNI).
    pub(crate) vnni_512: bool,
    /// `vpdpbusd` on 256-bit vectors and shorter ones.
    pub(crate) vnni_256: bool,
    /// `pmaddwd` on vectors up to as many bits; 0 for none.
    pub(crate) madd_bits: u32,
    /// `sdot` and `udot` of Arm.
    pub(crate) same_sign: bool,
    /// `usdot` of Arm.
    pub(crate) mixed_sign: bool,
}

/// A machine: triple, CPU, features, and what follows from them for schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    triple: String,
    cpu: String,
    features: String,
    arch: Arch,
    vector_bits: u32,
    fma: bool,
    dots: DotProducts,
}

const X86_KNOWN: &str = "native, x86-64-v2, x86-64-v3, x86-64-v4, haswell, broadwell, skylake, skylake-avx512, \
     cascadelake, icelake-client, icelake-server, sapphirerapids, alderlake, znver1, znver2, znver3, znver4, znver5";
/// Levels of x86-64, from the second on: what a library may choose from.
const X86_LEVELS: [&str; 3] = ["x86-64-v2", "x86-64-v3", "x86-64-v4"];
const X86_128: &[&str] = &["x86-64-v2", "nehalem", "westmere", "goldmont"];
const X86_256: &[&str] = &["x86-64-v3", "haswell", "broadwell", "skylake", "alderlake", "znver1", "znver2", "znver3"];
/// Processors with AVX-512, without its dot products.
const X86_512: &[&str] = &["x86-64-v4", "skylake-avx512"];
/// Processors with AVX-512 and its dot products, AVX512-VNNI.
const X86_VNNI: &[&str] = &[
    "cascadelake",
    "cooperlake",
    "icelake-client",
    "icelake-server",
    "tigerlake",
    "rocketlake",
    "sapphirerapids",
    "emeraldrapids",
    "graniterapids",
    "znver4",
    "znver5",
];
/// Processors with AVX-VNNI and nothing wider.
const X86_AVX_VNNI: &[&str] = &["alderlake"];
/// Processors with the dot products of Armv8.2, and those with the ones of mixed signs.
const ARM_DOT: &[&str] = &[
    "cortex-a55",
    "cortex-a75",
    "cortex-a76",
    "cortex-a77",
    "cortex-a78",
    "cortex-a710",
    "cortex-x1",
    "cortex-x2",
    "neoverse-n1",
    "neoverse-n2",
    "neoverse-v1",
    "neoverse-v2",
    "apple-m1",
];
const ARM_MIXED_DOT: &[&str] = &["cortex-a710", "cortex-x2", "neoverse-n2", "neoverse-v1", "neoverse-v2"];
const ARM_KNOWN: &str = "native, generic, cortex-a53, cortex-a55, cortex-a57, cortex-a72, cortex-a73, cortex-a75, \
     cortex-a76, cortex-a77, cortex-a78, cortex-a710, cortex-x1, cortex-x2, neoverse-n1, neoverse-n2, neoverse-v1, \
     neoverse-v2, apple-m1";

const RISCV_KNOWN: &str = "generic, sifive-u54, sifive-u74";
const WASM_KNOWN: &str = "generic";
const THUMB_KNOWN: &str = "generic, cortex-m4, cortex-m7";
/// What every engine of today has.
const WASM_FEATURES: &str = "+simd128,+bulk-memory,+nontrapping-fptoint,+sign-ext,+mutable-globals";
/// What Linux distributions rely on. LLVM's names of the first cores imply no more.
const RISCV_GC: &str = "+m,+a,+f,+d,+c,+zicsr,+zifencei";

impl Target {
    /// The machine that the compiler runs on, with all that it can do.
    ///
    /// # Errors
    /// When this machine is none that code can be made for.
    pub fn host() -> Result<Target, TargetError> {
        Target::new(None, "native")
    }

    /// A machine by triple (this machine's where `None`) and CPU name. `native` means this machine's CPU; `generic` is
    /// the least that is supported: x86-64-v2, any Armv8 with its NEON, RISC-V's G and C, or a Cortex-M4.
    ///
    /// # Errors
    /// When triple or CPU are not known.
    pub fn new(triple: Option<&str>, cpu: &str) -> Result<Target, TargetError> {
        let host = host_triple();
        let triple = match triple {
            Some(t) => normalize(t),
            None => host.clone(),
        };
        let arch = arch_of(&triple)?;
        let (cpu, features) = match cpu {
            "native" if arch_of(&host).ok() == Some(arch) => {
                (TargetMachine::get_host_cpu_name().to_string(), TargetMachine::get_host_cpu_features().to_string())
            }
            "native" => return Err(TargetError::NotNative { triple, host }),
            "generic" if arch == Arch::X86_64 => ("x86-64-v2".to_owned(), String::new()),
            "generic" if arch == Arch::Riscv64 => ("generic-rv64".to_owned(), RISCV_GC.to_owned()),
            "generic" if arch == Arch::Wasm32 => ("generic".to_owned(), WASM_FEATURES.to_owned()),
            "generic" if arch == Arch::Thumb => ("cortex-m4".to_owned(), String::new()),
            core if arch == Arch::Riscv64 => (core.to_owned(), RISCV_GC.to_owned()),
            other => (other.to_owned(), String::new()),
        };
        let has = |f: &str| features.split(',').any(|x| x.strip_prefix('+') == Some(f));
        let (vector_bits, fma) = match arch {
            Arch::Aarch64 if !features.is_empty() || ARM_KNOWN.split(", ").any(|k| k == cpu) => (128, true),
            Arch::Aarch64 => return Err(TargetError::Cpu { cpu, arch: arch.name(), known: ARM_KNOWN }),
            // No vectors: LLVM takes them apart, four lanes to four registers.
            Arch::Riscv64 if cpu == "generic-rv64" || RISCV_KNOWN.split(", ").any(|k| k == cpu) => (128, true),
            Arch::Riscv64 => return Err(TargetError::Cpu { cpu, arch: arch.name(), known: RISCV_KNOWN }),
            Arch::Wasm32 if cpu == "generic" => (128, false),
            Arch::Wasm32 => return Err(TargetError::Cpu { cpu, arch: arch.name(), known: WASM_KNOWN }),
            // Vectors are taken apart here too.
            Arch::Thumb if THUMB_KNOWN.split(", ").any(|k| k == cpu) => (128, true),
            Arch::Thumb => return Err(TargetError::Cpu { cpu, arch: arch.name(), known: THUMB_KNOWN }),
            Arch::X86_64 if !features.is_empty() => {
                let wide = has("avx512f") && has("avx512vl") && has("avx512bw") && has("avx512dq");
                match () {
                    () if wide => (512, true),
                    () if has("avx2") && has("fma") => (256, true),
                    () if has("sse4.1") => (128, has("fma")),
                    () => return Err(TargetError::Cpu { cpu, arch: arch.name(), known: X86_KNOWN }),
                }
            }
            Arch::X86_64 if [X86_512, X86_VNNI].concat().contains(&cpu.as_str()) => (512, true),
            Arch::X86_64 if X86_256.contains(&cpu.as_str()) => (256, true),
            Arch::X86_64 if X86_128.contains(&cpu.as_str()) => (128, false),
            Arch::X86_64 => return Err(TargetError::Cpu { cpu, arch: arch.name(), known: X86_KNOWN }),
        };
        let any = |known: &[&str], feature: &str| known.contains(&cpu.as_str()) && features.is_empty() || has(feature);
        let dots = match arch {
            Arch::X86_64 => {
                let vnni_512 = vector_bits == 512 && any(X86_VNNI, "avx512vnni");
                let vnni_256 = vnni_512 || any(X86_AVX_VNNI, "avxvnni");
                DotProducts { vnni_512, vnni_256, madd_bits: vector_bits, ..DotProducts::default() }
            }
            Arch::Aarch64 => DotProducts {
                same_sign: any(ARM_DOT, "dotprod"),
                mixed_sign: any(ARM_MIXED_DOT, "i8mm"),
                ..DotProducts::default()
            },
            Arch::Riscv64 | Arch::Wasm32 | Arch::Thumb => DotProducts::default(),
        };
        Ok(Target { triple, cpu, features, arch, vector_bits, fma, dots })
    }

    /// The machines of a list of CPUs, separated by commas, the lowest first; one machine where it holds one name. A list is
    /// for one library that chooses when it runs, so it holds levels of x86-64.
    ///
    /// # Errors
    /// As [`Target::new`], and where a list holds what is no level, one twice, or is for another architecture.
    pub fn levels(triple: Option<&str>, cpus: &str) -> Result<Vec<Target>, TargetError> {
        if !cpus.contains(',') {
            return Ok(vec![Target::new(triple, cpus)?]);
        }
        let refuse = |message: String| TargetError::Levels { list: cpus.to_owned(), message };
        let mut targets: Vec<Target> = Vec::new();
        for cpu in cpus.split(',').map(str::trim) {
            if !X86_LEVELS.contains(&cpu) {
                return Err(refuse(match cpu {
                    "" => "a name is missing".to_owned(),
                    "native" => "`native` is this machine alone".to_owned(),
                    other => format!("`{other}` is no level"),
                }));
            }
            if targets.iter().any(|t| t.cpu == cpu) {
                return Err(refuse(format!("`{cpu}` is there twice")));
            }
            match Target::new(triple, cpu) {
                Ok(target) => targets.push(target),
                Err(TargetError::Cpu { arch, .. }) => return Err(refuse(format!("`{cpu}` is not of {arch}"))),
                Err(other) => return Err(other),
            }
        }
        targets.sort_by_key(Target::x86_level);
        Ok(targets)
    }

    /// The same system with the least of its processors.
    pub(crate) fn of_any_x86(&self) -> Target {
        Target {
            triple: self.triple.clone(),
            cpu: "x86-64".to_owned(),
            features: String::new(),
            arch: self.arch,
            vector_bits: 128,
            fma: false,
            dots: DotProducts::default(),
        }
    }

    /// The level of x86-64, where the CPU is named so.
    pub(crate) fn x86_level(&self) -> Option<u32> {
        X86_LEVELS.iter().zip(2..).find(|(level, _)| **level == self.cpu).map(|(_, number)| number)
    }

    /// The triple, normalised.
    #[must_use]
    pub fn triple(&self) -> &str {
        &self.triple
    }

    /// LLVM's name of the CPU; never `native`.
    #[must_use]
    pub fn cpu(&self) -> &str {
        &self.cpu
    }

    /// LLVM features beside those that the CPU's name implies, `+a,-b,...`.
    #[must_use]
    pub fn features(&self) -> &str {
        &self.features
    }

    /// The architecture.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Bits of a vector register: 128, 256 or 512.
    #[must_use]
    pub fn vector_bits(&self) -> u32 {
        self.vector_bits
    }

    /// Lanes of this type in a vector register.
    #[must_use]
    pub fn lanes(&self, scalar: Scalar) -> u16 {
        (self.vector_bits as usize / 8 / scalar.size()) as u16
    }

    /// Bytes of a pointer: 8 or 4.
    #[must_use]
    pub fn pointer_bytes(&self) -> u32 {
        if matches!(self.arch, Arch::Wasm32 | Arch::Thumb) { 4 } else { 8 }
    }

    /// Whether there is a libc with a heap. Where there is none, callers bring all memory.
    #[must_use]
    pub fn has_heap(&self) -> bool {
        !matches!(self.arch, Arch::Wasm32 | Arch::Thumb)
    }

    /// Whether nothing but the model is there, not even what C compilers take for granted.
    pub(crate) fn is_bare(&self) -> bool {
        self.arch == Arch::Thumb
    }

    /// Whether code for it can be loaded at run time; if not, programs link it.
    #[must_use]
    pub fn has_shared_libraries(&self) -> bool {
        self.arch != Arch::Thumb
    }

    /// Whether objects are ELF.
    #[must_use]
    pub fn is_elf(&self) -> bool {
        self.arch != Arch::Wasm32
    }

    /// Number of vector registers that code can name: 8, 16 or 32.
    #[must_use]
    pub fn vector_registers(&self) -> u32 {
        match self.arch {
            // 32 registers of one lane.
            Arch::Thumb => 8,
            Arch::Aarch64 => 32,
            _ => {
                if self.vector_bits == 512 {
                    32
                } else {
                    16
                }
            }
        }
    }

    /// Whether `a * b + c` is one instruction, rounded once. Where it is not, [`sparsec_tir::Expr::Fma`] becomes a
    /// product and a sum, rounded twice: exactness would cost a library call per element.
    #[must_use]
    pub fn has_fma(&self) -> bool {
        self.fma
    }

    /// Whether registers have several lanes of 128 bits, within which shuffles are cheap: AVX and AVX-512.
    #[must_use]
    pub fn has_short_broadcasts(&self) -> bool {
        self.arch == Arch::X86_64 && self.vector_bits >= 256
    }

    /// What the machine has for dot products of bytes ([`sparsec_tir::Expr::Dot4`]).
    #[must_use]
    pub fn dot_products(&self) -> DotProducts {
        self.dots
    }

    /// LLVM's machine for this target: position-independent code where there is an operating system, the small code model.
    pub(crate) fn machine(&self) -> Result<TargetMachine, TargetError> {
        initialize();
        let triple = TargetTriple::create(&self.triple);
        let fail = |message: String| TargetError::Triple { triple: self.triple.clone(), message };
        let target = LlvmTarget::from_triple(&triple).map_err(|e| fail(e.to_string()))?;
        target
            .create_target_machine(
                &triple,
                &self.cpu,
                &self.features,
                OptimizationLevel::Default,
                if self.has_heap() { RelocMode::PIC } else { RelocMode::Static },
                CodeModel::Small,
            )
            .ok_or_else(|| fail("LLVM has no such machine".to_owned()))
    }
}

fn initialize() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let config = InitializationConfig { info: true, ..InitializationConfig::default() };
        LlvmTarget::initialize_x86(&config);
        LlvmTarget::initialize_aarch64(&config);
        LlvmTarget::initialize_riscv(&config);
        LlvmTarget::initialize_webassembly(&config);
        LlvmTarget::initialize_arm(&config);
    });
}

fn host_triple() -> String {
    TargetMachine::get_default_triple().as_str().to_string_lossy().into_owned()
}

fn normalize(triple: &str) -> String {
    // A null byte would end the string early on LLVM's side.
    let clean: String = triple.chars().filter(|c| *c != '\0').collect();
    // Rust names the extensions in the triple, LLVM does not.
    let clean = match clean.strip_prefix("riscv64gc-") {
        Some(rest) => format!("riscv64-{rest}"),
        None => clean,
    };
    TargetMachine::normalize_triple(&TargetTriple::create(&clean)).as_str().to_string_lossy().into_owned()
}

fn arch_of(triple: &str) -> Result<Arch, TargetError> {
    let fail = |message: &str| Err(TargetError::Triple { triple: triple.to_owned(), message: message.to_owned() });
    let arch = match triple.split('-').next().unwrap_or_default() {
        "x86_64" | "amd64" => Arch::X86_64,
        "aarch64" | "arm64" => Arch::Aarch64,
        "riscv64" => Arch::Riscv64,
        "wasm32" if triple.contains("-unknown") => return Ok(Arch::Wasm32),
        "thumbv7em" if triple.contains("-none") && triple.ends_with("-eabihf") => return Ok(Arch::Thumb),
        _ => {
            return fail(
                "the architectures are x86_64, aarch64, riscv64, wasm32-unknown-unknown and thumbv7em-none-eabihf",
            );
        }
    };
    if ["windows", "darwin", "macos", "ios", "wasm"].iter().any(|os| triple.contains(os)) {
        return fail("only ELF systems (Linux and the like) are supported");
    }
    Ok(arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_x86() {
        for (cpu, bits, registers, fma) in
            [("x86-64-v2", 128, 16, false), ("x86-64-v3", 256, 16, true), ("x86-64-v4", 512, 32, true)]
        {
            let t = Target::new(Some("x86_64-unknown-linux-gnu"), cpu).expect("known");
            assert_eq!((t.vector_bits(), t.vector_registers(), t.has_fma()), (bits, registers, fma), "{cpu}");
        }
        assert_eq!(Target::new(Some("x86_64-unknown-linux-gnu"), "x86-64-v3").expect("known").lanes(Scalar::F32), 8);
    }

    #[test]
    fn unknown_names_are_errors() {
        assert!(matches!(Target::new(Some("x86_64-unknown-linux-gnu"), "z80"), Err(TargetError::Cpu { .. })));
        assert!(matches!(Target::new(Some("z80-none"), "generic"), Err(TargetError::Triple { .. })));
        assert!(matches!(Target::new(Some("x86_64-pc-windows-msvc"), "x86-64-v3"), Err(TargetError::Triple { .. })));
    }

    #[test]
    fn lists_hold_levels_of_x86() {
        let linux = Some("x86_64-unknown-linux-gnu");
        let cpus = |list: &str| -> Vec<String> {
            Target::levels(linux, list).expect("known").iter().map(|t| t.cpu().to_owned()).collect()
        };
        assert_eq!(cpus("x86-64-v4, x86-64-v2"), ["x86-64-v2", "x86-64-v4"]);
        assert_eq!(cpus("znver4"), ["znver4"]);
        for (triple, list, why) in [
            (linux, "x86-64-v3,native", "this machine alone"),
            (linux, "x86-64-v3,x86-64-v3", "twice"),
            (linux, "x86-64-v3,znver4", "`znver4` is no level"),
            (linux, "x86-64-v3,", "missing"),
            (linux, "x86-64-v3,neoverse-n1", "`neoverse-n1` is no level"),
            (Some("aarch64-unknown-linux-gnu"), "x86-64-v2,x86-64-v3", "is not of aarch64"),
        ] {
            let refused = Target::levels(triple, list).expect_err("refused").to_string();
            assert!(refused.contains(why) && refused.contains(list), "{refused}");
        }
    }

    #[test]
    fn microcontrollers() {
        let t = Target::new(Some("thumbv7em-none-eabihf"), "generic").expect("known");
        assert_eq!((t.cpu(), t.pointer_bytes(), t.vector_registers()), ("cortex-m4", 4, 8));
        assert!(!t.has_heap() && !t.has_shared_libraries() && t.is_elf());
        for (triple, cpu) in [
            ("thumbv7em-none-eabihf", "cortex-m0"),
            ("thumbv7em-none-eabihf", "native"),
            ("thumbv7em-none-eabi", "generic"),
            ("thumbv6m-none-eabi", "generic"),
        ] {
            assert!(Target::new(Some(triple), cpu).is_err(), "{triple} {cpu}");
        }
    }

    #[test]
    fn native_is_resolved() {
        let t = Target::host().expect("this machine");
        assert_ne!(t.cpu(), "native");
        assert!(t.vector_bits() >= 128);
    }
}
