//! Text of kernels of Stages II and III.

use super::expr::{Names, access_text, expr_text, list_text, write_access};
use crate::{Expr, For, Kernel, Stmt, Tile, VarId};

/// The text form of a kernel of Stage II or III.
#[must_use]
pub fn print_kernel(kernel: &Kernel) -> String {
    let mut out = String::new();
    for comment in &kernel.comments {
        push_comment(&mut out, 0, comment);
    }
    line(&mut out, 0, &format!("kernel {} {} ({}) {{", kernel.name, kernel.stage, kernel.params.join(", ")));
    for b in &kernel.buffers {
        let mut text = format!("{} {}: {}{}", b.kind.name(), b.name, b.elem, list_text(kernel, &b.shape));
        if !b.strides.is_empty() {
            text += &format!(" strides {}", list_text(kernel, &b.strides));
        }
        line(&mut out, 1, &text);
    }
    for r in &kernel.registers {
        let dims = if r.dims.is_empty() { String::new() } else { format!("{:?}", r.dims) };
        line(&mut out, 1, &format!("reg {}: {}{dims}", r.name, r.ty));
    }
    if !defined_in_order(kernel) {
        let vars: Vec<String> = kernel.vars.iter().map(|v| format!("{}: {}", v.name, v.ty)).collect();
        line(&mut out, 1, &format!("vars {}", vars.join(", ")));
    }
    print_block(&mut out, kernel, &kernel.body, 1);
    line(&mut out, 0, "}");
    out
}

/// Variables in the order in which the text defines them, repetitions included.
fn defined_vars(body: &[Stmt], out: &mut Vec<VarId>) {
    for stmt in body {
        match stmt {
            Stmt::For(l) => {
                out.push(l.var);
                out.extend(l.until);
                defined_vars(&l.body, out);
            }
            Stmt::Let(v, _) => out.push(*v),
            Stmt::If(_, yes, no) => {
                defined_vars(yes, out);
                defined_vars(no, out);
            }
            _ => {}
        }
    }
}

/// Whether a reader who numbers variables where they are first defined arrives at the same numbers.
fn defined_in_order(kernel: &Kernel) -> bool {
    let mut vars = Vec::new();
    defined_vars(&kernel.body, &mut vars);
    let mut next = 0;
    for v in vars {
        if v.index() == next {
            next += 1;
        } else if v.index() > next {
            return false;
        }
    }
    next == kernel.vars.len()
}

fn print_block(out: &mut String, kernel: &Kernel, body: &[Stmt], depth: usize) {
    for stmt in body {
        print_stmt(out, kernel, stmt, depth);
    }
}

fn print_stmt(out: &mut String, kernel: &Kernel, stmt: &Stmt, depth: usize) {
    let text = |e: &Expr| expr_text(kernel, e);
    match stmt {
        Stmt::For(l) => {
            line(out, depth, &loop_header(kernel, l));
            print_block(out, kernel, &l.body, depth + 1);
            line(out, depth, "}");
        }
        Stmt::Let(v, e) => {
            let ty = kernel.vars.get(v.index()).map(|v| v.ty.to_string()).unwrap_or_default();
            line(out, depth, &format!("let {}: {ty} = {}", text(&Expr::Var(*v)), text(e)));
        }
        Stmt::Set(r, index, e) => {
            line(out, depth, &format!("{} = {}", text(&Expr::Reg(*r, index.clone())), text(e)));
        }
        Stmt::Store(access, e) => {
            let mut place = String::new();
            write_access(&mut place, kernel, access, "store");
            line(out, depth, &format!("{place} = {}", text(e)));
        }
        Stmt::If(c, yes, no) => {
            line(out, depth, &format!("if {} {{", text(c)));
            print_block(out, kernel, yes, depth + 1);
            if !no.is_empty() {
                line(out, depth, "} else {");
                print_block(out, kernel, no, depth + 1);
            }
            line(out, depth, "}");
        }
        Stmt::Product(p) => {
            let (r, index) = &p.sums;
            let sums = text(&Expr::Reg(*r, index.clone()));
            let (left, right) = (tile_text(kernel, &p.left), tile_text(kernel, &p.right));
            let kept = p.kept.as_ref().map(|k| format!(" kept {}", access_text(kernel, k))).unwrap_or_default();
            let masked = p.masked.as_ref().map(|m| format!(" masked {}", access_text(kernel, m))).unwrap_or_default();
            let name = p.precision.name();
            let head = match p.group {
                Some(tiles) => format!("group_product.{name} {tiles} of"),
                None => format!("product.{name}"),
            };
            line(out, depth, &format!("{head} {sums} += {left} * {right}{kept}{masked}"));
        }
        Stmt::SaveTile(to, r, index) => {
            let sums = text(&Expr::Reg(*r, index.clone()));
            line(out, depth, &format!("save {} = {sums}", tile_text(kernel, to)));
        }
        Stmt::Barrier => line(out, depth, "barrier"),
        Stmt::CopyAsync(to, from) => {
            let (mut place, mut source) = (String::new(), String::new());
            write_access(&mut place, kernel, to, "store");
            write_access(&mut source, kernel, from, "load");
            line(out, depth, &format!("copy_async {place} = {source}"));
        }
        Stmt::CommitCopies => line(out, depth, "commit_copies"),
        Stmt::AwaitCopies(pending) => line(out, depth, &format!("await_copies {pending}")),
        Stmt::Spread(access, e, distance) => {
            let mut place = String::new();
            write_access(&mut place, kernel, access, "store");
            line(out, depth, &format!("spread {place} by {distance} = {}", text(e)));
        }
        Stmt::CommitProducts => line(out, depth, "commit_products"),
        Stmt::AwaitProducts(pending) => line(out, depth, &format!("await_products {pending}")),
        Stmt::Prefetch(access) => {
            let mut place = String::new();
            write_access(&mut place, kernel, access, "prefetch");
            let keyword = if place.starts_with("prefetch.") { "" } else { "prefetch " };
            line(out, depth, &format!("{keyword}{place}"));
        }
        Stmt::Comment(text) => push_comment(out, depth, text),
    }
}

/// `x[i] by (8, 1)`
fn tile_text(kernel: &Kernel, tile: &Tile) -> String {
    let [rows, columns] = &tile.strides;
    let of = tile.layout.words();
    format!("{} {of} ({}, {})", access_text(kernel, &tile.at), expr_text(kernel, rows), expr_text(kernel, columns))
}

/// `for i in 0..n step 4 {`
fn loop_header(kernel: &Kernel, l: &For) -> String {
    let var = kernel.var(l.var).map_or_else(|| format!("?var{}", l.var.0), str::to_owned);
    let mut text = format!("{} {var} in {}..{}", l.kind.name(), expr_text(kernel, &l.start), expr_text(kernel, &l.end));
    if l.step != 1 {
        text += &format!(" step {}", l.step);
    }
    if let Some(active) = &l.active {
        text += &format!(" active {}", expr_text(kernel, active));
    }
    if let Some(until) = l.until {
        text += &format!(" until {}", expr_text(kernel, &Expr::Var(until)));
    }
    text + " {"
}

fn push_comment(out: &mut String, depth: usize, text: &str) {
    line(out, depth, &if text.is_empty() { "//".to_owned() } else { format!("// {text}") });
}

pub(crate) fn line(out: &mut String, depth: usize, text: &str) {
    out.push_str(&"  ".repeat(depth));
    out.push_str(text);
    out.push('\n');
}

/// The first line of a statement.
pub(crate) fn stmt_text(kernel: &Kernel, stmt: &Stmt) -> String {
    match stmt {
        Stmt::For(l) => loop_header(kernel, l),
        Stmt::If(c, ..) => format!("if {} {{", expr_text(kernel, c)),
        _ => {
            let mut out = String::new();
            print_stmt(&mut out, kernel, stmt, 0);
            out.trim_end().to_owned()
        }
    }
}
