//! Kernels of Stage I.

use super::{
    ParseError,
    expr::{Entity, Scope},
    lex::{Parser, Token},
};
use crate::{
    Axis, AxisId, AxisKind, BufferId, CoordinateBuffer, CoordinateKernel, CoordinateMap, IterKind, Iteration, MapId,
    VarId,
};

/// A kernel that is read.
struct Reader {
    kernel: CoordinateKernel,
    scope: Scope,
}

impl Parser {
    /// A kernel of Stage I, from its opening brace on.
    pub(super) fn coordinate_kernel(
        &mut self,
        name: String,
        params: Vec<String>,
        scope: Scope,
    ) -> Result<CoordinateKernel, ParseError> {
        let mut kernel = CoordinateKernel::new(name);
        kernel.params = params;
        let mut r = Reader { kernel, scope };
        self.expect("{")?;
        while !self.eat("}") {
            match () {
                () if self.eat_word("axis") => self.axis(&mut r)?,
                () if self.eat_word("map") => {
                    let name = self.name()?;
                    self.expect("(")?;
                    let axes = self.list(")", |p| p.axis_name(&r))?;
                    self.expect("<")?;
                    let len = self.unsigned()?;
                    r.kernel.maps.push(CoordinateMap { name, axes, len });
                }
                () if self.at_word("buffer") || self.at_word("output") => self.coordinate_buffer(&mut r)?,
                () if self.eat_word("vars") => {
                    let mut more = true;
                    while more {
                        let name = self.name()?;
                        self.coordinate_var(&mut r, name)?;
                        more = self.eat(",");
                    }
                }
                () if self.eat_word("iterate") => {
                    let iteration = self.iteration(&mut r)?;
                    r.kernel.iterations.push(iteration);
                }
                () if self.eat(";") => {}
                () => return Err(self.expected("`axis`, `map`, `buffer`, `output` or `iterate`")),
            }
        }
        Ok(r.kernel)
    }

    fn axis(&mut self, r: &mut Reader) -> Result<(), ParseError> {
        let name = self.name()?;
        self.expect("=")?;
        let kind = match self.peek() {
            Token::Word(w) => w.clone(),
            _ => String::new(),
        };
        let unknown = self.expected("a kind of axis");
        self.next();
        self.expect("(")?;
        let kind = match kind.as_str() {
            "dense_fixed" => AxisKind::DenseFixed { len: self.expr(&r.scope)? },
            "dense_variable" => {
                let parent = self.axis_name(r)?;
                AxisKind::DenseVariable { parent, total: self.labelled("total")? }
            }
            "sparse_fixed" | "sparse_variable" => {
                let parent = self.axis_name(r)?;
                self.expect(",")?;
                let len = self.unsigned()?;
                if kind == "sparse_fixed" {
                    let too_large = self.error("the width is too large");
                    let width = u32::try_from(self.labelled("width")?).map_err(|_| too_large)?;
                    AxisKind::SparseFixed { parent, len, width }
                } else {
                    AxisKind::SparseVariable { parent, len, nnz: self.labelled("nnz")? }
                }
            }
            _ => return Err(unknown),
        };
        self.expect(")")?;
        r.kernel.axes.push(Axis { name, kind });
        Ok(())
    }

    /// `, label number`
    fn labelled(&mut self, label: &str) -> Result<u64, ParseError> {
        self.expect(",")?;
        self.expect_word(label)?;
        self.unsigned()
    }

    fn coordinate_buffer(&mut self, r: &mut Reader) -> Result<(), ParseError> {
        let output = self.at_word("output");
        self.next();
        let name = self.name()?;
        self.expect(":")?;
        let elem = self.scalar()?;
        let shape = if self.eat("[") { self.list("]", |p| p.expr(&r.scope))? } else { Vec::new() };
        let mut axes = Vec::new();
        if self.eat_word("over") {
            self.expect("[")?;
            axes = self.list("]", |p| p.axis_name(r))?;
        }
        let id = BufferId(r.kernel.buffers.len() as u32);
        self.declare(&mut r.scope, &name, Entity::Buffer(id, elem))?;
        r.kernel.buffers.push(CoordinateBuffer { name, elem, shape, axes, output });
        Ok(())
    }

    fn iteration(&mut self, r: &mut Reader) -> Result<Iteration, ParseError> {
        let name = self.name()?;
        self.expect("[")?;
        let pairs = self.list("]", |p| {
            let axis = p.axis_name(r)?;
            let name = p.name()?;
            Ok((axis, p.coordinate_var(r, name)?))
        })?;
        self.expect_word("as")?;
        let kinds = match self.peek() {
            Token::Quoted(text) => text.chars().map(kind).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let kinds = kinds.filter(|k| k.len() == pairs.len());
        let Some(kinds) = kinds else { return Err(self.expected("one `S` or `R` per axis in quotes")) };
        self.next();
        let axes = pairs.into_iter().zip(kinds).map(|((a, v), k)| (a, v, k)).collect();
        self.expect("{")?;
        let mut coordinates = Vec::new();
        while self.eat_word("let") {
            let name = self.name()?;
            self.expect("=")?;
            let map = self.map_name(r)?;
            self.expect("(")?;
            let positions = self.list(")", |p| p.bound_var(r))?;
            coordinates.push((self.coordinate_var(r, name)?, map, positions));
            self.eat(";");
        }
        self.expect_word("init")?;
        let init = self.expr(&r.scope)?;
        self.eat(";");
        let target = self.access(&r.scope, "store")?;
        self.expect("+=")?;
        let value = self.expr(&r.scope)?;
        self.eat(";");
        let epilogue = if self.eat_word("epilogue") { Some(self.expr(&r.scope)?) } else { None };
        self.eat(";");
        self.expect("}")?;
        Ok(Iteration { name, axes, coordinates, init, target, value, epilogue })
    }

    /// The variable of a name, a new one where there is none.
    fn coordinate_var(&mut self, r: &mut Reader, name: String) -> Result<VarId, ParseError> {
        if let Some(Entity::Var(v)) = r.scope.get(&name) {
            return Ok(*v);
        }
        let id = VarId(r.kernel.vars.len() as u32);
        self.declare(&mut r.scope, &name, Entity::Var(id))?;
        r.kernel.vars.push(name);
        Ok(id)
    }

    fn bound_var(&mut self, r: &Reader) -> Result<VarId, ParseError> {
        let error = self.expected("a variable");
        match r.scope.get(&self.name()?) {
            Some(Entity::Var(v)) => Ok(*v),
            _ => Err(error),
        }
    }

    fn axis_name(&mut self, r: &Reader) -> Result<AxisId, ParseError> {
        let error = self.expected("an axis");
        let name = self.name()?;
        let found = r.kernel.axes.iter().position(|a| a.name == name);
        found.map(|i| AxisId(i as u32)).ok_or(error)
    }

    fn map_name(&mut self, r: &Reader) -> Result<MapId, ParseError> {
        let error = self.expected("a map");
        let name = self.name()?;
        let found = r.kernel.maps.iter().position(|m| m.name == name);
        found.map(|i| MapId(i as u32)).ok_or(error)
    }
}

fn kind(c: char) -> Option<IterKind> {
    match c {
        'S' => Some(IterKind::Spatial),
        'R' => Some(IterKind::Reduction),
        _ => None,
    }
}
