//! Modules and functions.

use crate::{Guard, Instruction, Label, Reg, RegClass, Target, Type};

/// What one file of PTX holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Version of the PTX ISA, major and minor.
    pub version: (u32, u32),
    /// What it is for.
    pub target: Target,
    /// What it holds, for readers.
    pub comments: Vec<String>,
    /// Shared arrays. A function uses those that it names; only these take shared memory when it runs.
    pub shared: Vec<SharedArray>,
    /// Constant arrays.
    pub constants: Vec<ConstArray>,
    /// Kernels in order.
    pub functions: Vec<Function>,
}

impl Module {
    /// An empty module of the version that all constructs here need: 8.5, for `mma.sp::ordered_metadata`.
    #[must_use]
    pub fn new(target: Target) -> Module {
        Module {
            version: (8, 5),
            target,
            comments: Vec::new(),
            shared: Vec::new(),
            constants: Vec::new(),
            functions: Vec::new(),
        }
    }

    /// The function of this name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|f| f.name == name)
    }
}

/// An array in shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedArray {
    /// Unique in the module.
    pub name: String,
    /// Alignment in bytes, a power of two.
    pub align: u32,
    /// Size in bytes. `None`: as much as the launch asks for (`extern`); all such arrays begin at the same place.
    pub bytes: Option<u32>,
}

/// An array in constant memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstArray {
    /// Unique in the module.
    pub name: String,
    /// Alignment in bytes, a power of two.
    pub align: u32,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// A parameter of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Unique in the function, and no name of the module.
    pub name: String,
    /// Its type. Parameters lie in order, each aligned to its size.
    pub ty: Type,
}

/// How many registers a function has, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the classes")]
pub struct RegCounts {
    pub pred: u32,
    pub b16: u32,
    pub b32: u32,
    pub b64: u32,
    pub f32: u32,
    pub f64: u32,
}

impl RegCounts {
    /// The count of a class.
    #[must_use]
    pub fn get(&self, class: RegClass) -> u32 {
        match class {
            RegClass::Pred => self.pred,
            RegClass::B16 => self.b16,
            RegClass::B32 => self.b32,
            RegClass::B64 => self.b64,
            RegClass::F32 => self.f32,
            RegClass::F64 => self.f64,
        }
    }

    /// The count of a class, to be changed.
    pub fn get_mut(&mut self, class: RegClass) -> &mut u32 {
        match class {
            RegClass::Pred => &mut self.pred,
            RegClass::B16 => &mut self.b16,
            RegClass::B32 => &mut self.b32,
            RegClass::B64 => &mut self.b64,
            RegClass::F32 => &mut self.f32,
            RegClass::F64 => &mut self.f64,
        }
    }
}

/// A kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Unique in the module.
    pub name: String,
    /// What it computes, for readers: tensor, format, schedule.
    pub comments: Vec<String>,
    /// Arguments in order.
    pub params: Vec<Param>,
    /// Threads of a block: no launch may have more. Bounds the registers of a thread.
    pub max_threads: Option<u32>,
    /// How many blocks should fit on a multiprocessor.
    pub min_blocks: Option<u32>,
    /// How many registers there are.
    pub registers: RegCounts,
    /// What it does.
    pub body: Vec<Statement>,
}

impl Function {
    /// A function without parameters or a body.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Function {
        Function {
            name: name.into(),
            comments: Vec::new(),
            params: Vec::new(),
            max_threads: None,
            min_blocks: None,
            registers: RegCounts::default(),
            body: Vec::new(),
        }
    }

    /// A new register.
    pub fn reg(&mut self, class: RegClass) -> Reg {
        let count = self.registers.get_mut(class);
        let index = *count;
        *count += 1;
        Reg { class, index }
    }
}

/// A line of a function.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// A place to jump to.
    Label(Label),
    /// An instruction.
    Instr {
        /// The threads in which it acts; all where absent.
        guard: Option<Guard>,
        /// What it does.
        instruction: Instruction,
    },
    /// A remark for the reader, without line breaks.
    Comment(String),
}

impl From<Instruction> for Statement {
    fn from(instruction: Instruction) -> Statement {
        Statement::Instr { guard: None, instruction }
    }
}
