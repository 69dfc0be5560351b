//! A function, ready to run: instructions without labels and comments, registers and arrays with their places.

use std::collections::BTreeMap;

use sparsec_ptx::{Base, Function, Guard, Instruction, Module, Operand, Reg, RegClass, Space, Statement};

use crate::flow::{Flow, meeting_points};
use crate::shared::{Array, BASE, GAP};

/// An instruction.
pub(crate) struct Op<'m> {
    /// Index into the function's body.
    pub(crate) statement: usize,
    pub(crate) guard: Option<Guard>,
    pub(crate) instruction: &'m Instruction,
    /// Where a jump leads.
    pub(crate) target: usize,
    /// Where lanes that part here meet again.
    pub(crate) meet: Option<usize>,
}

/// A function, ready to run.
pub(crate) struct Program<'m> {
    pub(crate) module: &'m Module,
    pub(crate) function: &'m Function,
    pub(crate) code: Vec<Op<'m>>,
    /// The address of each shared array of the module that the function names.
    pub(crate) shared: Vec<Option<u32>>,
    pub(crate) arrays: Vec<Array>,
    /// The offset of each parameter.
    pub(crate) params: Vec<u32>,
    first: [usize; 6],
    pub(crate) registers: usize,
}

fn class_number(class: RegClass) -> usize {
    match class {
        RegClass::Pred => 0,
        RegClass::B16 => 1,
        RegClass::B32 => 2,
        RegClass::B64 => 3,
        RegClass::F32 => 4,
        RegClass::F64 => 5,
    }
}

impl<'m> Program<'m> {
    /// Prepares a function; `dynamic` bytes of shared memory are for its open array.
    pub(crate) fn new(module: &'m Module, function: &'m Function, dynamic: u32) -> Result<Program<'m>, String> {
        let mut labels = BTreeMap::new();
        let mut code: Vec<Op<'m>> = Vec::new();
        for (statement, s) in function.body.iter().enumerate() {
            match s {
                Statement::Label(label) => {
                    labels.insert(*label, code.len());
                }
                Statement::Instr { guard, instruction } => {
                    code.push(Op { statement, guard: *guard, instruction, target: 0, meet: None });
                }
                Statement::Comment(_) => {}
            }
        }
        let mut flow = Vec::with_capacity(code.len());
        for op in &mut code {
            flow.push(match op.instruction {
                Instruction::Bra { target, .. } => {
                    op.target = *labels.get(target).ok_or_else(|| format!("label {target} does not exist"))?;
                    Flow::Jump { target: op.target, conditional: op.guard.is_some() }
                }
                Instruction::Ret | Instruction::Exit | Instruction::Trap => {
                    Flow::End { conditional: op.guard.is_some() }
                }
                _ => Flow::Next,
            });
        }
        for (op, meet) in code.iter_mut().zip(meeting_points(&flow)) {
            op.meet = meet;
        }
        let (shared, arrays) = layout(module, &code, dynamic);
        let mut first = [0; 6];
        let mut registers = 0;
        for class in RegClass::ALL {
            first[class_number(*class)] = registers;
            registers += function.registers.get(*class) as usize;
        }
        let (params, _) = parameter_offsets(function);
        Ok(Program { module, function, code, shared, arrays, params, first, registers })
    }

    /// The place of a register among all.
    pub(crate) fn slot(&self, reg: Reg) -> usize {
        self.first[class_number(reg.class)] + reg.index as usize
    }
}

/// Where each parameter lies, and the size of all.
pub(crate) fn parameter_offsets(function: &Function) -> (Vec<u32>, u32) {
    let mut end = 0_u32;
    let offsets = function.params.iter().map(|p| {
        let start = end.next_multiple_of(p.ty.bytes().max(1));
        end = start + p.ty.bytes();
        start
    });
    (offsets.collect(), end)
}

/// Addresses of the shared arrays that a function names: with gaps in between, which keep the banks as they are.
fn layout(module: &Module, code: &[Op<'_>], dynamic: u32) -> (Vec<Option<u32>>, Vec<Array>) {
    let mut named = vec![false; module.shared.len()];
    let mut name = |id: sparsec_ptx::SharedId| {
        if let Some(named) = named.get_mut(id.index()) {
            *named = true;
        }
    };
    for op in code {
        op.instruction.operands(&mut |operand, _, _| {
            if let Operand::Shared(id) = operand {
                name(id);
            }
        });
        for (_, address) in addresses(op.instruction) {
            if let Base::Shared(id) = address.base {
                name(id);
            }
        }
    }
    let mut shared = vec![None; module.shared.len()];
    let mut arrays: Vec<Array> = Vec::new();
    let mut end = BASE - GAP;
    // The open array comes last; all such begin at the same place.
    for open in [false, true] {
        let which = module.shared.iter().enumerate().filter(|(i, s)| named[*i] && s.bytes.is_none() == open);
        let mut next = end;
        for (i, s) in which {
            let (start, bytes) = ((end + GAP).next_multiple_of(s.align.max(128)), s.bytes.unwrap_or(dynamic));
            shared[i] = Some(start);
            arrays.push(Array { name: s.name.clone(), start, bytes });
            next = next.max(start + bytes);
            if !open {
                end = next;
            }
        }
    }
    (shared, arrays)
}

/// The addresses of an instruction, with their spaces.
fn addresses(instruction: &Instruction) -> Vec<(Space, sparsec_ptx::Address)> {
    match instruction {
        Instruction::Ld { space, address, .. }
        | Instruction::St { space, address, .. }
        | Instruction::Atom { space, address, .. }
        | Instruction::Red { space, address, .. } => vec![(*space, *address)],
        Instruction::CpAsync { dst, src, .. } => vec![(Space::Shared, *dst), (Space::Global, *src)],
        Instruction::Ldmatrix { address, .. } => vec![(Space::Shared, *address)],
        Instruction::Hopper(h) => h.addresses().into_iter().map(|(a, space, _)| (space, a)).collect(),
        _ => Vec::new(),
    }
}
