//! The state of a warp: registers of 32 lanes, the stack of paths, copies under way.

use std::cell::Cell;
use std::collections::VecDeque;

use sparsec_ptx::{Guard, Operand, Reg, RegClass, Special};

use crate::alu::Lanes;
use crate::error::Fault;
use crate::program::Program;

/// Lanes that go the same way.
#[derive(Clone, Copy, Debug)]
struct Path {
    next: usize,
    lanes: u32,
    /// Where the path ends, since its lanes meet others there.
    until: Option<usize>,
}

/// What a `cp.async` will write.
#[derive(Clone, Copy)]
pub(crate) struct Copy {
    pub(crate) address: u32,
    pub(crate) bytes: u32,
    pub(crate) data: [u8; 16],
}

/// Copies of one thread.
#[derive(Clone, Default)]
pub(crate) struct Copies {
    pub(crate) open: Vec<Copy>,
    pub(crate) groups: VecDeque<Vec<Copy>>,
}

/// A matrix product of the warp's group that has not been waited for.
#[derive(Clone)]
pub(crate) struct GroupProduct {
    pub(crate) sums: Vec<Reg>,
    /// Registers of A.
    pub(crate) factor: Vec<Reg>,
    /// Addresses of the 16 bytes each that it reads.
    pub(crate) chunks: Vec<u32>,
}

/// Products of the warp's group.
#[derive(Clone, Default)]
pub(crate) struct GroupProducts {
    pub(crate) open: Vec<GroupProduct>,
    pub(crate) groups: VecDeque<Vec<GroupProduct>>,
    /// Instructions of the group so far.
    pub(crate) steps: usize,
}

impl GroupProducts {
    /// Those that have not been waited for.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = &GroupProduct> {
        self.groups.iter().flatten().chain(&self.open)
    }
}

/// Why a warp stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// At this barrier, with so many threads in all.
    Waiting {
        barrier: u32,
        expected: u32,
    },
    /// Asks for a phase of the `mbarrier` at this address, which is not complete.
    Polling {
        address: u32,
    },
    Done,
}

/// What a launch and a block say of a thread.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) block_index: [u32; 3],
}

impl Place {
    /// The coordinates of a thread in its block.
    pub(crate) fn thread(&self, number: u32) -> [u32; 3] {
        let [x, y, _] = self.block;
        [number % x, number / x % y, number / (x * y)]
    }
}

pub(crate) struct Warp {
    pub(crate) index: u32,
    /// Lanes that are threads.
    pub(crate) all: u32,
    pub(crate) state: State,
    /// The clocks of the block's warps, as far as this one knows them; its own is at `index`.
    pub(crate) clocks: Vec<u32>,
    pub(crate) copies: Vec<Copies>,
    pub(crate) products: GroupProducts,
    registers: Vec<Lanes>,
    /// The lanes in which a register was written.
    written: Vec<u32>,
    /// Whether a register was touched since the last `wgmma.fence`.
    touched: Vec<Cell<bool>>,
    paths: Vec<Path>,
}

/// A fault, and the lane that it happened in.
pub(crate) type LaneFault = (u32, Fault);

impl Warp {
    pub(crate) fn new(program: &Program<'_>, index: u32, threads: u32, warps: usize) -> Warp {
        let lanes = (threads - 32 * index).min(32);
        let all = u32::MAX >> (32 - lanes);
        // The last is that of bulk copies.
        let mut clocks = vec![0; warps + 1];
        clocks[index as usize] = 1;
        Warp {
            index,
            all,
            state: State::Running,
            clocks,
            copies: vec![Copies::default(); 32],
            products: GroupProducts::default(),
            registers: vec![[0; 32]; program.registers],
            written: vec![0; program.registers],
            touched: vec![Cell::new(false); program.registers],
            paths: vec![Path { next: 0, lanes: all, until: None }],
        }
    }

    /// The next instruction and the lanes that are there; `None` when all have ended.
    pub(crate) fn position(&mut self) -> Option<(usize, u32)> {
        while let Some(path) = self.paths.last() {
            if path.lanes != 0 && path.until != Some(path.next) {
                return Some((path.next, path.lanes));
            }
            self.paths.pop();
        }
        None
    }

    /// Goes on behind the current instruction.
    pub(crate) fn advance(&mut self) {
        if let Some(path) = self.paths.last_mut() {
            path.next += 1;
        }
    }

    /// Jumps in some of the lanes; whether others go on.
    pub(crate) fn jump(&mut self, taken: u32, target: usize, meet: Option<usize>) -> bool {
        let Some(path) = self.paths.last_mut() else { return false };
        let (here, others) = (path.next, path.lanes & !taken);
        if others == 0 || taken == 0 {
            path.next = if others == 0 { target } else { here + 1 };
            return false;
        }
        let until = path.until;
        match meet {
            // Those who meet where the path ends anyway need not wait twice.
            Some(meet) if until != Some(meet) => path.next = meet,
            _ => {
                self.paths.pop();
            }
        }
        let until = meet.or(until);
        for (next, lanes) in [(here + 1, others), (target, taken)] {
            if until != Some(next) {
                self.paths.push(Path { next, lanes, until });
            }
        }
        true
    }

    /// Ends some lanes.
    pub(crate) fn end(&mut self, lanes: u32) {
        self.paths.iter_mut().for_each(|p| p.lanes &= !lanes);
        self.advance();
    }

    /// The lanes that have not ended.
    pub(crate) fn live(&self) -> u32 {
        self.paths.iter().fold(0, |all, p| all | p.lanes)
    }

    /// The lanes among `lanes` in which a guard lets an instruction act.
    pub(crate) fn guarded(&self, program: &Program<'_>, guard: Option<Guard>, lanes: u32) -> Result<u32, LaneFault> {
        let Some(guard) = guard else { return Ok(lanes) };
        let values = self.read_register(program, guard.reg, lanes)?;
        let holds = (0..32).fold(0, |mask, l| mask | (values[l] as u32 & 1) << l);
        Ok(lanes & if guard.negate { !holds } else { holds })
    }

    /// The values of a register, which must have been written in all of the lanes.
    pub(crate) fn read_register(&self, program: &Program<'_>, reg: Reg, lanes: u32) -> Result<Lanes, LaneFault> {
        self.touched[program.slot(reg)].set(true);
        self.peek(program, reg, lanes)
    }

    /// The same for a matrix product of the warp's group, which does not count as touching.
    pub(crate) fn peek(&self, program: &Program<'_>, reg: Reg, lanes: u32) -> Result<Lanes, LaneFault> {
        let slot = program.slot(reg);
        let missing = lanes & !self.written[slot];
        if missing != 0 {
            let fault = Fault::UninitialisedRegister { register: reg.to_string() };
            return Err((missing.trailing_zeros(), fault));
        }
        Ok(self.registers[slot])
    }

    /// The values of an operand.
    pub(crate) fn read(
        &self,
        program: &Program<'_>,
        place: &Place,
        operand: Operand,
        lanes: u32,
    ) -> Result<Lanes, LaneFault> {
        Ok(match operand {
            Operand::Reg(reg) => self.read_register(program, reg, lanes)?,
            Operand::Int(x) => [x as u64; 32],
            Operand::F32(bits) => [bits.into(); 32],
            Operand::F64(bits) => [bits; 32],
            Operand::Shared(id) => [program.shared.get(id.index()).copied().flatten().unwrap_or(0).into(); 32],
            Operand::Special(special) => std::array::from_fn(|lane| self.special(place, special, lane as u32).into()),
        })
    }

    fn special(&self, place: &Place, special: Special, lane: u32) -> u32 {
        let thread = place.thread(32 * self.index + lane);
        match special {
            Special::TidX => thread[0],
            Special::TidY => thread[1],
            Special::TidZ => thread[2],
            Special::NtidX => place.block[0],
            Special::NtidY => place.block[1],
            Special::NtidZ => place.block[2],
            Special::CtaidX => place.block_index[0],
            Special::CtaidY => place.block_index[1],
            Special::CtaidZ => place.block_index[2],
            Special::NctaidX => place.grid[0],
            Special::NctaidY => place.grid[1],
            Special::NctaidZ => place.grid[2],
            Special::LaneId => lane,
        }
    }

    /// Writes a register in some lanes, cut to its width.
    pub(crate) fn write(&mut self, program: &Program<'_>, reg: Reg, lanes: u32, values: &Lanes) {
        let slot = program.slot(reg);
        let ones = match reg.class {
            RegClass::Pred => 1,
            RegClass::B16 => 0xffff,
            RegClass::B32 | RegClass::F32 => 0xffff_ffff,
            RegClass::B64 | RegClass::F64 => u64::MAX,
        };
        let register = &mut self.registers[slot];
        if lanes == u32::MAX {
            *register = values.map(|x| x & ones);
        } else {
            for l in (0..32).filter(|l| lanes >> l & 1 == 1) {
                register[l] = values[l] & ones;
            }
        }
        self.written[slot] |= lanes;
        self.touched[slot].set(true);
    }

    /// Whether a register was touched since the last `wgmma.fence`.
    pub(crate) fn is_touched(&self, program: &Program<'_>, reg: Reg) -> bool {
        self.touched[program.slot(reg)].get()
    }

    /// Sets whether a register counts as touched.
    pub(crate) fn set_touched(&self, program: &Program<'_>, reg: Reg, touched: bool) {
        self.touched[program.slot(reg)].set(touched);
    }

    /// `wgmma.fence`.
    pub(crate) fn fence(&self) {
        self.touched.iter().for_each(|t| t.set(false));
    }

    /// Makes a register undefined in some lanes.
    pub(crate) fn forget(&mut self, program: &Program<'_>, reg: Reg, lanes: u32) {
        self.written[program.slot(reg)] &= !lanes;
    }
}
