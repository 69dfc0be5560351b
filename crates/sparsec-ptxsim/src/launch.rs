//! Runs a grid: block after block, the warps of a block in turns from barrier to barrier.

use sparsec_ptx::print_instruction;

use crate::barrier::merge;
use crate::counts::Counts;
use crate::error::{Fault, SimError};
use crate::exec::{Context, run_warp};
use crate::hopper::Groups;
use crate::memory::Memory;
use crate::program::Program;
use crate::shared::Shared;
use crate::warp::{LaneFault, Place, State, Warp};

/// Runs all blocks of a grid.
pub(crate) fn run_grid(
    program: &Program<'_>,
    memory: &mut Memory,
    parameters: &[u8],
    grid: [u32; 3],
    block: [u32; 3],
    limit: u64,
) -> Result<Counts, Box<SimError>> {
    let mut counts = Counts::default();
    let mut shared = Shared::new(&program.arrays);
    for z in 0..grid[2] {
        for y in 0..grid[1] {
            for x in 0..grid[0] {
                let place = Place { grid, block, block_index: [x, y, z] };
                shared.clear();
                let context = Context { program, place, parameters, limit };
                run_block(&context, memory, &mut shared, &mut counts)?;
            }
        }
    }
    Ok(counts)
}

fn run_block(
    context: &Context<'_, '_>,
    memory: &mut Memory,
    shared: &mut Shared,
    counts: &mut Counts,
) -> Result<(), Box<SimError>> {
    let threads: u32 = context.place.block.iter().product();
    let count = threads.div_ceil(32);
    let mut groups = Groups::default();
    let mut asked = None;
    let mut warps: Vec<Warp> = (0..count).map(|w| Warp::new(context.program, w, threads, count as usize)).collect();
    loop {
        for warp in warps.iter_mut().filter(|w| w.state == State::Running) {
            if let Err(fault) = run_warp(context, warp, (memory, shared, &mut groups), counts) {
                return Err(located(context, warp, fault));
            }
        }
        if warps.iter().all(|w| w.state == State::Done) {
            return match groups.left_behind(&warps) {
                Some((w, fault)) => Err(located(context, &mut warps[w], (0, fault))),
                None => Ok(()),
            };
        }
        let released = release(&mut warps);
        let polling = warps.iter().find_map(|w| match w.state {
            State::Polling { address } => Some((w.index as usize, address)),
            _ => None,
        });
        if let Some((index, address)) = polling {
            if !released && asked == Some(shared.events) {
                let (arrivals, bytes) = shared.missing(address);
                let fault = Fault::PhaseIncomplete { place: shared.place(address), arrivals, bytes };
                return Err(located(context, &mut warps[index], (0, fault)));
            }
            asked = Some(shared.events);
            let asking = warps.iter_mut().filter(|w| matches!(w.state, State::Polling { .. }));
            asking.for_each(|w| w.state = State::Running);
        } else if !released {
            let Some(warp) = warps.iter_mut().find(|w| w.state != State::Done) else { return Ok(()) };
            let State::Waiting { barrier, expected } = warp.state else { return Ok(()) };
            let index = warp.index as usize;
            let at = |w: &&Warp| matches!(w.state, State::Waiting { barrier: b, .. } if b == barrier);
            let waiting = warps.iter().filter(at).map(|w| w.all.count_ones()).sum();
            let fault = Fault::Deadlock { barrier, waiting, expected };
            return Err(located(context, &mut warps[index], (0, fault)));
        }
    }
}

/// Lets the warps go on that wait at a barrier where all are that it takes; whether there are any.
fn release(warps: &mut [Warp]) -> bool {
    let mut released = false;
    for barrier in 0..16 {
        let waiting: Vec<(usize, u32)> = warps
            .iter()
            .enumerate()
            .filter_map(|(i, w)| match w.state {
                State::Waiting { barrier: b, expected } if b == barrier => Some((i, expected)),
                _ => None,
            })
            .collect();
        let Some((_, expected)) = waiting.first().copied() else { continue };
        let threads: u32 = waiting.iter().map(|(i, _)| warps[*i].all.count_ones()).sum();
        if threads < expected || waiting.iter().any(|(_, e)| *e != expected) {
            continue;
        }
        // What one knows all know now; what they do from here on is new to the others.
        let mut all = vec![0; warps.len() + 1];
        waiting.iter().for_each(|(i, _)| merge(&mut all, &warps[*i].clocks));
        for (i, _) in &waiting {
            warps[*i].clocks.clone_from(&all);
            warps[*i].clocks[*i] += 1;
            warps[*i].state = State::Running;
            warps[*i].advance();
        }
        released = true;
    }
    released
}

/// The fault with the place where the warp is.
fn located(context: &Context<'_, '_>, warp: &mut Warp, (lane, fault): LaneFault) -> Box<SimError> {
    let program = context.program;
    let op = warp.position().and_then(|(next, _)| program.code.get(next));
    Box::new(SimError {
        function: program.function.name.clone(),
        statement: op.map_or(program.function.body.len(), |op| op.statement),
        instruction: op
            .map(|op| print_instruction(program.module, program.function, op.instruction))
            .unwrap_or_default(),
        block: context.place.block_index,
        thread: context.place.thread(32 * warp.index + lane),
        fault,
    })
}
