//! Statuses, and what stands behind them as text: of the last call of each thread that failed.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use sparsec_abi::Status;
use sparsec_plan::{DeviceError, PlanError, RunError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What a status says already.
    #[error("{}", .0.message())]
    Status(Status),
    /// A status about something with a name.
    #[error("{place}: {}", .status.message())]
    At { status: Status, place: String },
    /// The file of an artefact can't be read.
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    /// The launch plan is none.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A run is refused.
    #[error(transparent)]
    Run(Box<RunError>),
    /// The device fails.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A defect of this library.
    #[error("the library failed: {0}")]
    Panic(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Status(status)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Failure::Run(Box::new(error))
    }
}

impl Failure {
    pub(crate) fn status(&self) -> Status {
        match self {
            Failure::Status(status) | Failure::At { status, .. } => *status,
            Failure::File { .. } | Failure::Plan(_) => Status::Artefact,
            Failure::Device(error) => device_status(error),
            Failure::Panic(_) => Status::Device,
            Failure::Run(error) => match &**error {
                RunError::Refused { status, .. } => *status,
                RunError::Device { source, .. } => device_status(source),
                RunError::Plan(_) | RunError::Weights { .. } | RunError::Read(_) => Status::Artefact,
                RunError::Expression { .. } | RunError::Grid { .. } => Status::TooLarge,
                // The C functions count tensors and bytes themselves; what is left contradicts the plan.
                _ => Status::Artefact,
            },
        }
    }
}

fn device_status(error: &DeviceError) -> Status {
    match error {
        DeviceError::NoDriver => Status::NoDriver,
        DeviceError::NoDevice { .. } => Status::NoDevice,
        DeviceError::Capability { .. } => Status::Capability,
        DeviceError::OutOfMemory { .. } => Status::Memory,
        _ => Status::Device,
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Runs what a function of the interface does; keeps the message where it fails.
pub(crate) fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        Err(Failure::Panic(text.unwrap_or("without a message").to_owned()))
    });
    match outcome {
        Ok(()) => Status::Ok.code(),
        Err(failure) => {
            keep(&failure.to_string());
            failure.status().code()
        }
    }
}

fn keep(message: &str) {
    let text = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // A thread that ends has nobody who asks.
    let _ = LAST.try_with(|last| last.replace(text));
}

/// The message of the last call of this thread that failed; empty where none did. Valid until the next one that fails.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sparsec_cuda_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// A sentence for a status; never null.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sparsec_cuda_status_message(status: i32) -> *const c_char {
    let texts = MESSAGES.get_or_init(|| {
        Status::ALL.iter().map(|status| CString::new(status.message()).unwrap_or_default()).collect::<Vec<_>>()
    });
    let text = usize::try_from(status).ok().and_then(|i| texts.get(i)).map(CString::as_c_str);
    text.unwrap_or(UNKNOWN).as_ptr()
}

const UNKNOWN: &CStr = c"unknown status";

static MESSAGES: std::sync::OnceLock<Vec<CString>> = std::sync::OnceLock::new();
