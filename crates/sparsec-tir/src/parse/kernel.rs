//! Kernels of Stages II and III.

use super::{
    AnyKernel, ParseError,
    expr::{Entity, Scope},
    lex::{Parser, Token},
};
use crate::{
    Buffer, BufferId, BufferKind, Expr, For, Kernel, Layout, LoopKind, ParamId, Precision, Product, Register,
    RegisterId, Stage, Stmt, Tile, Type, Var, VarId,
};

/// A kernel that is read.
struct Reader {
    kernel: Kernel,
    scope: Scope,
}

impl Parser {
    /// A kernel of any stage, with the comments before it.
    pub(super) fn any_kernel(&mut self) -> Result<AnyKernel, ParseError> {
        let mut comments = Vec::new();
        while let Token::Comment(text) = self.peek() {
            comments.push(text.clone());
            self.next();
        }
        self.expect_word("kernel")?;
        let name = self.name()?;
        let stage = match () {
            () if self.eat_word("position") => Some(Stage::Position),
            () if self.eat_word("flat") => Some(Stage::Flat),
            () if self.eat_word("coordinate") => None,
            () => return Err(self.expected("`coordinate`, `position` or `flat`")),
        };
        self.expect("(")?;
        let mut scope = Scope::new();
        let mut params = Vec::new();
        for name in self.list(")", Parser::name)? {
            self.declare(&mut scope, &name, Entity::Param(ParamId(params.len() as u32)))?;
            params.push(name);
        }
        let Some(stage) = stage else {
            return self.coordinate_kernel(name, params, scope).map(AnyKernel::Coordinate);
        };
        let mut kernel = Kernel::new(name, stage);
        (kernel.comments, kernel.params) = (comments, params);
        let mut reader = Reader { kernel, scope };
        self.expect("{")?;
        self.declarations(&mut reader)?;
        reader.kernel.body = self.block(&mut reader)?;
        Ok(AnyKernel::Kernel(reader.kernel))
    }

    pub(super) fn declare(&self, scope: &mut Scope, name: &str, entity: Entity) -> Result<(), ParseError> {
        match scope.insert(name.to_owned(), entity) {
            None => Ok(()),
            Some(_) => Err(self.error(format!("`{name}` is already defined"))),
        }
    }

    fn declarations(&mut self, r: &mut Reader) -> Result<(), ParseError> {
        loop {
            let kind = match () {
                () if self.eat_word("input") => BufferKind::Input,
                () if self.eat_word("output") => BufferKind::Output,
                () if self.eat_word("scratch") => BufferKind::Scratch,
                () if self.eat_word("team") => BufferKind::Team,
                () if self.eat_word("reg") => {
                    let name = self.name()?;
                    self.expect(":")?;
                    let ty = self.type_name()?;
                    let dims = if self.eat("[") { self.list("]", Parser::small)? } else { Vec::new() };
                    let id = RegisterId(r.kernel.registers.len() as u32);
                    self.declare(&mut r.scope, &name, Entity::Register(id))?;
                    r.kernel.registers.push(Register { name, ty, dims });
                    continue;
                }
                () if self.eat_word("vars") => {
                    loop {
                        let name = self.name()?;
                        self.expect(":")?;
                        let ty = self.type_name()?;
                        self.new_var(r, name, ty)?;
                        if !self.eat(",") {
                            break;
                        }
                    }
                    continue;
                }
                () => return Ok(()),
            };
            let name = self.name()?;
            self.expect(":")?;
            let elem = self.scalar()?;
            self.expect("[")?;
            let shape = self.list("]", |p| p.expr(&r.scope))?;
            let mut strides = Vec::new();
            if self.eat_word("strides") {
                self.expect("[")?;
                strides = self.list("]", |p| p.expr(&r.scope))?;
            }
            let id = BufferId(r.kernel.buffers.len() as u32);
            self.declare(&mut r.scope, &name, Entity::Buffer(id, elem))?;
            r.kernel.buffers.push(Buffer { name, elem, kind, shape, strides });
        }
    }

    fn new_var(&self, r: &mut Reader, name: String, ty: Type) -> Result<VarId, ParseError> {
        let id = VarId(r.kernel.vars.len() as u32);
        self.declare(&mut r.scope, &name, Entity::Var(id))?;
        r.kernel.vars.push(Var { name, ty });
        Ok(id)
    }

    /// The variable of a name: a new one, or one that was declared or defined before with this type.
    fn define(&mut self, r: &mut Reader, name: String, ty: Type) -> Result<VarId, ParseError> {
        match r.scope.get(&name) {
            Some(Entity::Var(v)) if r.kernel.vars.get(v.index()).is_some_and(|v| v.ty == ty) => Ok(*v),
            _ => self.new_var(r, name, ty),
        }
    }

    /// Statements up to the closing brace.
    fn block(&mut self, r: &mut Reader) -> Result<Vec<Stmt>, ParseError> {
        let mut body = Vec::new();
        while !self.eat("}") {
            if !self.eat(";") {
                body.push(self.nested(|p| p.stmt(r))?);
            }
        }
        Ok(body)
    }

    fn stmt(&mut self, r: &mut Reader) -> Result<Stmt, ParseError> {
        let word = match self.peek() {
            Token::Comment(text) => {
                let text = text.clone();
                self.next();
                return Ok(Stmt::Comment(text));
            }
            Token::Word(w) => w.clone(),
            _ => return Err(self.expected("a statement")),
        };
        let kinds = [LoopKind::Serial, LoopKind::Parallel, LoopKind::Warps, LoopKind::Unroll, LoopKind::Vector];
        if let Some(kind) = kinds.into_iter().find(|k| k.name() == word) {
            self.next();
            return self.for_loop(r, kind).map(Stmt::For);
        }
        if self.eat_word("let") {
            let name = self.name()?;
            self.expect(":")?;
            let ty = self.type_name()?;
            self.expect("=")?;
            let value = self.expr(&r.scope)?;
            return Ok(Stmt::Let(self.define(r, name, ty)?, value));
        }
        if self.eat_word("if") {
            let condition = self.expr(&r.scope)?;
            self.expect("{")?;
            let yes = self.block(r)?;
            let mut no = Vec::new();
            if self.eat_word("else") {
                self.expect("{")?;
                no = self.block(r)?;
            }
            return Ok(Stmt::If(condition, yes, no));
        }
        if word == "prefetch" || word.starts_with("prefetch.") {
            self.eat_word("prefetch");
            return self.access(&r.scope, "prefetch").map(Stmt::Prefetch);
        }
        if self.eat_word("barrier") {
            return Ok(Stmt::Barrier);
        }
        if self.eat_word("copy_async") {
            let to = self.access(&r.scope, "store")?;
            self.expect("=")?;
            return Ok(Stmt::CopyAsync(to, self.access(&r.scope, "load")?));
        }
        if self.eat_word("commit_copies") {
            return Ok(Stmt::CommitCopies);
        }
        if self.eat_word("await_copies") {
            return self.small().map(Stmt::AwaitCopies);
        }
        if let Some(precision) = word.strip_prefix("product.").and_then(Precision::from_name) {
            self.next();
            return self.tile_product(r, precision, None);
        }
        if let Some(precision) = word.strip_prefix("group_product.").and_then(Precision::from_name) {
            self.next();
            let tiles = self.small()?;
            self.expect_word("of")?;
            return self.tile_product(r, precision, Some(tiles));
        }
        if self.eat_word("commit_products") {
            return Ok(Stmt::CommitProducts);
        }
        if self.eat_word("await_products") {
            return self.small().map(Stmt::AwaitProducts);
        }
        if self.eat_word("spread") {
            let to = self.access(&r.scope, "store")?;
            self.expect_word("by")?;
            let distance: u32 = self.small()?;
            self.expect("=")?;
            return Ok(Stmt::Spread(to, self.expr(&r.scope)?, distance.into()));
        }
        if self.eat_word("save") {
            let to = self.tile(r)?;
            self.expect("=")?;
            let (register, index) = self.register(r)?;
            return Ok(Stmt::SaveTile(to, register, index));
        }
        if let Some(Entity::Register(register)) = r.scope.get(&word).copied() {
            self.next();
            let index = self.register_index(&r.scope)?;
            self.expect("=")?;
            return Ok(Stmt::Set(register, index, self.expr(&r.scope)?));
        }
        if word.starts_with("store.") || matches!(r.scope.get(&word), Some(Entity::Buffer(..))) {
            let place = self.access(&r.scope, "store")?;
            self.expect("=")?;
            return Ok(Stmt::Store(place, self.expr(&r.scope)?));
        }
        Err(self.expected("a statement"))
    }

    fn tile_product(&mut self, r: &mut Reader, precision: Precision, group: Option<u32>) -> Result<Stmt, ParseError> {
        let sums = self.register(r)?;
        self.expect("+=")?;
        let left = self.tile(r)?;
        self.expect("*")?;
        let right = self.tile(r)?;
        let kept = if self.eat_word("kept") { Some(self.access(&r.scope, "load")?) } else { None };
        let masked = if self.eat_word("masked") { Some(self.access(&r.scope, "load")?) } else { None };
        Ok(Stmt::Product(Box::new(Product { precision, group, sums, left, right, kept, masked })))
    }

    fn register(&mut self, r: &Reader) -> Result<(RegisterId, Vec<Expr>), ParseError> {
        let error = self.expected("a register");
        match r.scope.get(&self.name()?) {
            Some(Entity::Register(register)) => Ok((*register, self.register_index(&r.scope)?)),
            _ => Err(error),
        }
    }

    /// `x[i] by (8, 1)`
    fn tile(&mut self, r: &Reader) -> Result<Tile, ParseError> {
        let at = self.access(&r.scope, "load")?;
        self.expect_word("by")?;
        let layout = match () {
            () if self.eat_word("blocks") => Layout::Blocks,
            () if self.eat_word("columns") => Layout::Columns,
            () => Layout::Elements,
        };
        self.expect("(")?;
        let rows = self.expr(&r.scope)?;
        self.expect(",")?;
        let columns = self.expr(&r.scope)?;
        self.expect(")")?;
        Ok(Tile { at, strides: [rows, columns], layout })
    }

    fn for_loop(&mut self, r: &mut Reader, kind: LoopKind) -> Result<For, ParseError> {
        let name = self.name()?;
        self.expect_word("in")?;
        let start = self.expr(&r.scope)?;
        self.expect("..")?;
        let end = self.expr(&r.scope)?;
        let step = if self.eat_word("step") { self.small()? } else { 1 };
        let active = if self.eat_word("active") { Some(self.expr(&r.scope)?) } else { None };
        let var = self.define(r, name, Type::INDEX)?;
        let until = if self.eat_word("until") {
            let name = self.name()?;
            Some(self.define(r, name, Type::INDEX)?)
        } else {
            None
        };
        self.expect("{")?;
        let body = self.block(r)?;
        Ok(For { kind, var, start, end, step, until, active, body })
    }
}
