//! A model on a device.

use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, TryLockError};

use sparsec_abi::{EXTENT_EXPRESSION, Status, dtype_code, symbol_extent};
use sparsec_plan::{DeviceError, Expression, Plan, Port, Session};

use crate::device::AnyDevice;
use crate::failure::Failure;

/// `sparsec_cuda_context`.
pub(crate) struct Context {
    pub(crate) plan: Plan,
    pub(crate) symbols: Vec<CString>,
    pub(crate) inputs: Vec<PortText>,
    pub(crate) outputs: Vec<PortText>,
    running: Mutex<Running>,
}

/// What runs change.
pub(crate) struct Running {
    pub(crate) session: Session<AnyDevice>,
    /// Extents of the outputs of the last run.
    pub(crate) results: Vec<Vec<i64>>,
}

/// An input or output as C reads it.
pub(crate) struct PortText {
    pub(crate) name: CString,
    pub(crate) dtype: i32,
    pub(crate) extents: Vec<i64>,
}

impl Context {
    /// Loads a model: the plan's file, and PTX and weights beside it. `open` makes the device once it is known what for.
    pub(crate) fn load(
        plan_file: &Path,
        open: impl FnOnce(&Plan) -> Result<AnyDevice, DeviceError>,
    ) -> Result<Context, Failure> {
        let beside = |end: &str| -> PathBuf {
            let name = plan_file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let name = name.strip_suffix(".plan.json").unwrap_or(&name).to_owned();
            plan_file.with_file_name(name + end)
        };
        let file = |path: &Path| {
            let path = path.display().to_string();
            move |source| Failure::File { path, source }
        };
        let plan = std::fs::read_to_string(plan_file).map_err(file(plan_file))?;
        let plan = Plan::from_json(&plan)?;
        let (ptx, weights) = (beside(".ptx"), beside(".weights"));
        let text = std::fs::read_to_string(&ptx).map_err(file(&ptx))?;
        let mut weights = File::open(&weights).map_err(file(&weights))?;
        let device = open(&plan)?;
        let session = Session::new(plan, &text, &mut weights, device)?;
        Self::new(session)
    }

    fn new(session: Session<AnyDevice>) -> Result<Context, Failure> {
        let plan = session.plan().clone();
        let symbols = plan.symbols.iter().map(|s| text(s)).collect();
        let (inputs, outputs) = (ports(&plan.inputs), ports(&plan.outputs));
        let mut running = Running { session, results: vec![Vec::new(); plan.outputs.len()] };
        if plan.symbols.is_empty() {
            running.session.reserve(&[])?;
        }
        Ok(Context { plan, symbols, inputs, outputs, running: Mutex::new(running) })
    }

    /// The part that one thread at a time has.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Running>, Failure> {
        match self.running.try_lock() {
            Ok(running) => Ok(running),
            // What a run left behind when it failed is overwritten by the next.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(Status::Busy.into()),
        }
    }
}

fn ports(ports: &[Port]) -> Vec<PortText> {
    let port = |port: &Port| PortText {
        name: text(&port.name),
        dtype: dtype_code(&port.dtype).unwrap_or(0),
        extents: port.shape.iter().map(extent).collect(),
    };
    ports.iter().map(port).collect()
}

fn extent(e: &Expression) -> i64 {
    match e {
        Expression::Int(n) => *n,
        Expression::Value(symbol) => symbol_extent(*symbol),
        _ => EXTENT_EXPRESSION,
    }
}

fn text(name: &str) -> CString {
    CString::new(name.replace('\0', " ")).unwrap_or_default()
}
