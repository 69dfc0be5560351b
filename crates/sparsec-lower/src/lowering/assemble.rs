//! The end of the walk: a memory plan for what it placed, and what it planned in terms of the program.

use std::collections::BTreeSet;

use sparsec_graph::{Dim, Symbol, ValueId};
use sparsec_tir::{ArenaSlot, Argument, ConstantInfo, Constraint, Expr, FindStep, Launch, Location, Port, Program};

use super::{Constants, Lowered, Lowering, Place};
use crate::blocks::{Translate, counter_symbol, is_counter};
use crate::constraint::Condition;
use crate::context::{program_expr, scalar_of};
use crate::plan::{Lifetime, plan};

impl Lowering<'_> {
    /// The program, and what belongs to it.
    pub(super) fn finish(self) -> Lowered {
        let program = self.program();
        Lowered {
            program: Program { kernels: self.flat, ..program },
            data: Constants { tables: self.tables, pages: self.graph.pages().cloned() },
            dumps: self.kernels,
            schedules: self.schedules,
        }
    }

    /// The program without its kernels.
    fn program(&self) -> Program {
        let inputs = self.symbols();
        let mut symbols = inputs.clone();
        symbols.extend((0..self.blocks.counters).map(counter_symbol));
        symbols.extend(self.found.iter().map(|(symbol, _)| symbol.clone()));
        let expr = |d: &Dim| program_expr(d, &symbols);
        let lifetimes = self.lifetimes();
        let memory = plan(&lifetimes);
        let port = |name: &str, value: ValueId| {
            let ty = self.graph.ty(value);
            let shape = ty.shape.iter().map(|d| expr(&self.most(d).unwrap_or_else(|| d.clone()))).collect();
            Port { name: name.to_owned(), elem: scalar_of(ty.dtype), dtype: ty.dtype.name(), shape }
        };
        let (later, at_once): (Vec<&Condition>, Vec<&Condition>) =
            self.conditions.iter().partition(|c| self.last_found(&c.at_least_zero).is_some());
        let translator = Translator { lowering: self, symbols: &symbols, later };
        let argument = |place: &Place| translator.place(*place);
        let result_shape = |value: ValueId| self.graph.ty(value).shape.iter().map(expr).collect();
        Program {
            name: self.graph.name().to_owned(),
            symbols: inputs.iter().map(|s| s.name().to_owned()).collect(),
            inputs: self.graph.inputs().iter().map(|&v| port(&self.graph.value(v).name, v)).collect(),
            outputs: self.graph.outputs().iter().map(|(name, v)| port(name, *v)).collect(),
            constants: self
                .tables
                .iter()
                .map(|t| ConstantInfo { name: t.full_name.clone(), bytes: t.bytes(), align: 64 })
                .collect(),
            arena: lifetimes
                .iter()
                .zip(&memory.offsets)
                .map(|(l, offset)| ArenaSlot { offset: expr(offset), bytes: expr(&l.bytes) })
                .collect(),
            arena_bytes: Some(expr(&memory.total)),
            launches: self
                .launches
                .iter()
                .map(|l| Launch {
                    kernel: l.kernel,
                    label: l.label.clone(),
                    params: l.params.iter().map(expr).collect(),
                    arguments: l.places.iter().map(argument).collect(),
                })
                .collect(),
            steps: self.blocks.program_steps(&translator),
            counters: self.blocks.counters,
            found: self.found.iter().map(|(symbol, _)| symbol.name().to_owned()).collect(),
            result_shapes: match self.found.is_empty() {
                true => Vec::new(),
                false => self.graph.outputs().iter().map(|(_, v)| result_shape(*v)).collect(),
            },
            constraints: at_once.into_iter().map(|c| c.constraint(&symbols)).collect(),
            kernels: Vec::new(),
        }
    }

    /// From which to which launch each temporary is needed.
    fn lifetimes(&self) -> Vec<Lifetime> {
        let mut lifetimes: Vec<Lifetime> =
            self.temporaries.iter().map(|t| Lifetime { bytes: t.bytes.clone(), first: usize::MAX, last: 0 }).collect();
        let by_launches = self.launches.iter().enumerate().flat_map(|(i, launch)| {
            launch.places.iter().filter_map(move |place| match self.base(*place).0 {
                Place::Temporary(t) => Some((t, i, launch.region)),
                _ => None,
            })
        });
        for (t, at, region) in self.blocks.touched.iter().copied().chain(by_launches) {
            let (first, last) = self.blocks.alive(at, region, self.temporaries[t as usize].region);
            let life = &mut lifetimes[t as usize];
            life.first = life.first.min(first);
            life.last = life.last.max(last);
        }
        lifetimes
    }

    /// The symbols that the model's signature, its memory and its launches depend on, in order of name.
    fn symbols(&self) -> Vec<Symbol> {
        let mut symbols = BTreeSet::new();
        let outputs = self.graph.outputs().iter().map(|(_, v)| *v);
        for value in self.graph.inputs().iter().copied().chain(outputs) {
            self.graph.ty(value).shape.iter().for_each(|d| d.collect_symbols(&mut symbols));
        }
        let params = self.launches.iter().flat_map(|l| &l.params);
        let conditions = self.conditions.iter().map(|c| &c.at_least_zero);
        let temporaries = self.temporaries.iter().map(|t| &t.bytes);
        let offsets = self.views.iter().map(|(_, offset)| offset);
        let all = params.chain(temporaries).chain(offsets).chain(conditions).chain(self.blocks.expressions());
        all.for_each(|d| d.collect_symbols(&mut symbols));
        let is_found = |s: &Symbol| self.found.iter().any(|(found, _)| found == s);
        symbols.into_iter().filter(|s| !is_counter(s) && !is_found(s)).collect()
    }

    /// The extent in an expression that is found out last, by number.
    fn last_found(&self, dim: &Dim) -> Option<usize> {
        let mut symbols = BTreeSet::new();
        dim.collect_symbols(&mut symbols);
        self.found.iter().rposition(|(symbol, _)| symbols.contains(symbol))
    }
}

/// Says what was planned in terms of the program.
struct Translator<'a, 'g> {
    lowering: &'a Lowering<'g>,
    /// The program's symbols, counters and extents that are found out.
    symbols: &'a [Symbol],
    /// The conditions that can't be checked before extents are found out.
    later: Vec<&'a Condition>,
}

impl Translate for Translator<'_, '_> {
    fn expr(&self, dim: &Dim) -> Expr {
        program_expr(dim, self.symbols)
    }

    fn place(&self, place: Place) -> Location {
        let (base, offset) = self.lowering.base(place);
        let argument = match base {
            Place::Input(i) => Argument::Input(i),
            Place::Output(i) => Argument::Output(i),
            Place::Constant(i) => Argument::Constant(i),
            // Views of views don't exist.
            Place::Temporary(i) | Place::View(i) => Argument::Arena(i),
        };
        (argument, self.expr(&offset))
    }

    fn find(&self, symbol: &Symbol, from: Place) -> FindStep {
        let found = self.lowering.found.iter().position(|(s, _)| s == symbol).unwrap_or(usize::MAX);
        let due = self.later.iter().filter(|c| self.lowering.last_found(&c.at_least_zero) == Some(found));
        let constraints = due.map(|c| c.constraint(self.symbols)).collect();
        FindStep { found: found as u32, from: self.place(from), constraints }
    }

    fn constraint(&self, condition: &Condition) -> Constraint {
        condition.constraint(self.symbols)
    }
}
