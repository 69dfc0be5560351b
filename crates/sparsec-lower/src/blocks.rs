//! Control flow while a graph is lowered: which launches stand in which loop or branch.
//!
//! Launches are numbered as they are added, so those of a loop are a range. A value that is made outside of a loop and used in
//! it is used in every iteration, that is, over the whole range; one that an iteration makes anew lives within it.

use sparsec_graph::{Dim, Symbol};
use sparsec_tir::{Constraint, Expr, FindStep, Location, LoopStep, Step, TripCount};

use crate::constraint::Condition;
use crate::lowering::Place;

/// The symbol that stands for the iteration of loop `counter` in the offsets of views. No model can have a symbol of this name.
pub(crate) fn counter_symbol(counter: u32) -> Symbol {
    Symbol::new(&format!("{PREFIX}{counter}"))
}

/// Whether a symbol is a loop's iteration.
pub(crate) fn is_counter(symbol: &Symbol) -> bool {
    symbol.name().starts_with(PREFIX)
}

const PREFIX: &str = "%loop";

/// A step before the memory plan is made.
pub(crate) enum PlannedStep {
    Launch(u32),
    If {
        condition: Place,
        then: Vec<PlannedStep>,
        otherwise: Vec<PlannedStep>,
    },
    Loop {
        counter: u32,
        trip: PlannedTrip,
        /// Before the first iteration, and after each.
        condition: Option<(Place, Place)>,
        index: Option<Place>,
        body: Vec<PlannedStep>,
    },
    /// An extent that the kernels before have found out.
    Find {
        symbol: Symbol,
        from: Place,
    },
    /// What the steps behind take for granted.
    Require(Condition),
}

/// How often a loop runs.
pub(crate) enum PlannedTrip {
    Known(Dim),
    Load(Place),
    Unbounded,
}

/// The launches of a loop. Region 0 is the whole model.
struct Region {
    parent: usize,
    first: usize,
    last: usize,
}

/// The steps so far.
pub(crate) struct Blocks {
    /// The steps of the blocks that are open, the innermost last.
    open: Vec<Vec<PlannedStep>>,
    regions: Vec<Region>,
    region: usize,
    /// How many branches are open.
    branches: usize,
    /// How many loops there are.
    pub(crate) counters: u32,
    /// Temporaries that steps other than launches use: which, at which launch, in which region.
    pub(crate) touched: Vec<(u32, usize, usize)>,
}

impl Default for Blocks {
    fn default() -> Self {
        let whole = Region { parent: 0, first: 0, last: usize::MAX };
        Blocks {
            open: vec![Vec::new()],
            regions: vec![whole],
            region: 0,
            branches: 0,
            counters: 0,
            touched: Vec::new(),
        }
    }
}

impl Blocks {
    /// The loop that the next launch is in.
    pub(crate) fn region(&self) -> usize {
        self.region
    }

    pub(crate) fn launch(&mut self, index: u32) {
        self.push(PlannedStep::Launch(index));
    }

    pub(crate) fn push(&mut self, step: PlannedStep) {
        if let Some(block) = self.open.last_mut() {
            block.push(step);
        }
    }

    fn begin(&mut self) {
        self.open.push(Vec::new());
    }

    fn end(&mut self) -> Vec<PlannedStep> {
        self.open.pop().unwrap_or_default()
    }

    /// Begins the block of a branch.
    pub(crate) fn begin_branch(&mut self) {
        self.branches += 1;
        self.begin();
    }

    /// Ends the block of a branch.
    pub(crate) fn end_branch(&mut self) -> Vec<PlannedStep> {
        self.branches -= 1;
        self.end()
    }

    /// Whether the next launch may not be reached.
    pub(crate) fn is_optional(&self) -> bool {
        self.branches > 0
    }

    /// Begins the block of a loop whose first launch will be `first`. Returns its counter.
    pub(crate) fn begin_loop(&mut self, first: usize) -> u32 {
        self.begin();
        self.regions.push(Region { parent: self.region, first, last: first });
        self.region = self.regions.len() - 1;
        self.counters += 1;
        self.counters - 1
    }

    /// Ends the block of a loop whose launches are those before `end`.
    pub(crate) fn end_loop(&mut self, end: usize) -> Vec<PlannedStep> {
        let region = &mut self.regions[self.region];
        region.last = end.saturating_sub(1).max(region.first);
        self.region = region.parent;
        self.end()
    }

    pub(crate) fn touch(&mut self, temporary: u32, at: usize) {
        self.touched.push((temporary, at, self.region));
    }

    /// From which to which launch a temporary of region `home` has to be alive that is used at launch `at` in `region`.
    pub(crate) fn alive(&self, at: usize, mut region: usize, home: usize) -> (usize, usize) {
        let mut range = (at, at);
        while region != home && region != 0 {
            let around = &self.regions[region];
            range = (around.first.min(at), around.last.max(at));
            region = around.parent;
        }
        range
    }

    /// The expressions of the steps: numbers of iterations, and what branches demand.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = &Dim> {
        let mut all = Vec::new();
        self.open.iter().for_each(|block| collect_expressions(block, &mut all));
        all.into_iter()
    }

    /// The steps of the program.
    pub(crate) fn program_steps(&self, translate: &dyn Translate) -> Vec<Step> {
        self.open.first().map_or_else(Vec::new, |block| program_steps(block, translate))
    }
}

fn collect_expressions<'a>(steps: &'a [PlannedStep], all: &mut Vec<&'a Dim>) {
    for step in steps {
        match step {
            PlannedStep::Launch(_) | PlannedStep::Find { .. } => {}
            PlannedStep::Require(condition) => all.push(&condition.at_least_zero),
            PlannedStep::If { then, otherwise, .. } => {
                collect_expressions(then, all);
                collect_expressions(otherwise, all);
            }
            PlannedStep::Loop { trip, body, .. } => {
                if let PlannedTrip::Known(trip) = trip {
                    all.push(trip);
                }
                collect_expressions(body, all);
            }
        }
    }
}

/// How what is planned is said in a program.
pub(crate) trait Translate {
    fn expr(&self, dim: &Dim) -> Expr;
    fn place(&self, place: Place) -> Location;
    fn find(&self, symbol: &Symbol, from: Place) -> FindStep;
    fn constraint(&self, condition: &Condition) -> Constraint;
}

fn program_steps(steps: &[PlannedStep], translate: &dyn Translate) -> Vec<Step> {
    let place = |place: &Place| translate.place(*place);
    let step = |step: &PlannedStep| match step {
        PlannedStep::Launch(index) => Step::Launch(*index),
        PlannedStep::Require(condition) => Step::Require(translate.constraint(condition)),
        PlannedStep::If { condition, then, otherwise } => Step::If {
            condition: place(condition),
            then: program_steps(then, translate),
            otherwise: program_steps(otherwise, translate),
        },
        PlannedStep::Loop { counter, trip, condition, index, body } => Step::Loop(Box::new(LoopStep {
            counter: *counter,
            trip: match trip {
                PlannedTrip::Known(trip) => TripCount::Expr(translate.expr(trip)),
                PlannedTrip::Load(from) => TripCount::Load(place(from)),
                PlannedTrip::Unbounded => TripCount::Unbounded,
            },
            condition: condition.as_ref().map(|(before, after)| (place(before), place(after))),
            index: index.as_ref().map(&place),
            body: program_steps(body, translate),
        })),
        PlannedStep::Find { symbol, from } => Step::Find(Box::new(translate.find(symbol, *from))),
    };
    steps.iter().map(step).collect()
}
