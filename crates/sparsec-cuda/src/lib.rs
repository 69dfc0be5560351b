//! NVIDIA GPUs as devices that launch plans run on.
//!
//! Everything goes through the driver's library, which is loaded when it is first asked for: neither building nor running
//! needs CUDA's toolkit, and a machine without a driver gets [`DeviceError::NoDriver`](sparsec_plan::DeviceError::NoDriver).
//!
//! ```no_run
//! use sparsec_cuda::Cuda;
//! use sparsec_plan::{Plan, Session};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plan = Plan::from_json(&std::fs::read_to_string("out/model.plan.json")?)?;
//! let device = Cuda::new(0, &plan.gpu)?;
//! let ptx = std::fs::read_to_string("out/model.ptx")?;
//! let mut session = Session::new(plan, &ptx, &mut std::fs::File::open("out/model.weights")?, device)?;
//! # Ok(())
//! # }
//! ```

mod capability;
mod cuda;
mod driver;

pub use capability::Capability;
pub use cuda::{Cuda, DeviceInfo, devices};
