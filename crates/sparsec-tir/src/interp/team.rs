//! Teams of warps: a statement without a barrier is run for one warp after the other; into one with a barrier all go together.

use super::{
    BufferData, InterpError,
    eval::{Machine, unsupported},
    node::{Code, Memory},
};
use crate::BufferKind;

type Result<T> = std::result::Result<T, InterpError>;

/// What each warp has for itself.
#[derive(Clone)]
struct Own {
    registers: Vec<u64>,
    vars: Vec<u64>,
    /// One for each buffer that is scratch.
    scratch: Vec<BufferData>,
}

/// The warps of a team, of which one is in the machine.
struct Team {
    others: Vec<Own>,
    current: usize,
}

impl Machine<'_> {
    /// Runs the body for a team.
    pub(super) fn team(&mut self, var: usize, count: usize, body: &[Code]) -> Result<()> {
        let scratch = self.kernel.buffers.iter().zip(&self.buffers).filter(|(b, _)| b.kind == BufferKind::Scratch);
        let scratch = scratch.map(|(_, bound)| bound.data.clone()).collect();
        let own = Own { registers: self.registers.clone(), vars: self.vars.clone(), scratch };
        let mut team = Team { others: vec![own; count], current: 0 };
        for warp in 0..count {
            self.change_to(&mut team, warp);
            self.vars[var] = warp as u64;
        }
        self.together(&mut team, body)?;
        self.change_to(&mut team, 0);
        Ok(())
    }

    fn together(&mut self, team: &mut Team, body: &[Code]) -> Result<()> {
        for code in body {
            let Code::Together(code) = code else {
                for warp in 0..team.others.len() {
                    self.change_to(team, warp);
                    self.run(std::slice::from_ref(code))?;
                }
                continue;
            };
            match &**code {
                Code::Barrier => {}
                Code::For { var, start, end, step, body, .. } => {
                    let (mut i, end) = (self.int(start)?, self.int(end)?);
                    while i < end {
                        for warp in 0..team.others.len() {
                            self.change_to(team, warp);
                            self.vars[*var] = i as u64;
                        }
                        self.together(team, body)?;
                        i = i.saturating_add(*step);
                    }
                }
                Code::If(c, yes, no) => {
                    let branch = if self.scalar(c)? != 0 { yes } else { no };
                    self.together(team, branch)?;
                }
                _ => return Err(unsupported(self.kernel, "a barrier within a vector loop")),
            }
        }
        Ok(())
    }

    fn change_to(&mut self, team: &mut Team, warp: usize) {
        if warp != team.current {
            self.swap(&mut team.others[team.current]);
            self.swap(&mut team.others[warp]);
            team.current = warp;
        }
    }

    /// Exchanges the machine's own with that of a warp that is not in it.
    fn swap(&mut self, own: &mut Own) {
        std::mem::swap(&mut self.registers, &mut own.registers);
        std::mem::swap(&mut self.vars, &mut own.vars);
        let scratch = self.kernel.buffers.iter().zip(&mut self.buffers).filter(|(b, _)| b.kind == BufferKind::Scratch);
        for ((_, bound), data) in scratch.zip(&mut own.scratch) {
            std::mem::swap(&mut bound.data, data);
        }
    }

    /// A copy of a warp: pieces of 16 bytes, as many as begin below the active count.
    pub(super) fn copy(&mut self, to: &Memory, from: &Memory) -> Result<()> {
        let piece = 16 / self.kernel.buffers[from.buffer].elem.size();
        let active = match &from.active {
            Some(a) => self.int(a)?.clamp(0, from.lanes as i64) as usize,
            None => from.lanes,
        };
        let elements = active.next_multiple_of(piece);
        if elements == 0 {
            return Ok(());
        }
        let source = self.start(from, elements)?;
        let target = self.start(to, elements)?;
        for i in 0..elements {
            let value = self.buffers[from.buffer].data.get(source + i).unwrap_or(0);
            self.buffers[to.buffer].data.set(target + i, value);
        }
        Ok(())
    }
}
