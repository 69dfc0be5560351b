//! The process that runs cases: names come in, one a line, and reports go out, one a line of JSON.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Mutex;

use sparsec::{Backend, Gpu, Target};

use super::run;

/// What a case is compiled for, besides being interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing.
    Interpreted,
    /// This machine.
    Native,
    /// A GPU, which is simulated.
    Simulated,
}

/// Stack of the thread that does the work, as the command `sparsec` has it.
const STACK_BYTES: usize = 256 << 20;

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Message and place of the last panic.
pub(super) fn last_panic() -> String {
    LAST_PANIC.lock().map(|message| message.clone()).unwrap_or_default()
}

/// Works until there are no more names.
///
/// # Errors
/// Where there is no compiler for this machine, or the other end is gone.
pub fn serve(data: &Path, way: Way) -> Result<(), String> {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("no message");
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = format!("{place}: {message}");
        }
    }));
    let target = match way {
        Way::Interpreted => None,
        Way::Native => Some(Backend::Cpu(Target::host().map_err(|e| e.to_string())?)),
        Way::Simulated => Some(Backend::Cuda(Gpu::Sm80)),
    };
    let work = || -> std::io::Result<()> {
        for name in std::io::stdin().lock().lines() {
            let report = run::run(data, &name?, target.as_ref());
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
            out.flush()?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| e.to_string())?;
        thread.join().map_err(|_| last_panic())?.map_err(|e| e.to_string())
    })
}
