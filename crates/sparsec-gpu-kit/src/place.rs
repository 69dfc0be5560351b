//! Where kernels run: a GPU, or the simulator. What time is to the one, instructions are to the other.

use sparsec_cuda::Cuda;
use sparsec_plan::{Device, DeviceError};
use sparsec_ptx::Target;
use sparsec_ptxsim::Simulated;

/// Where to run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The simulator.
    Simulated,
    /// A GPU by number.
    Device(usize),
}

impl Place {
    /// What it is, for people.
    pub(crate) fn describe(self) -> Result<String, String> {
        Ok(match self {
            Place::Simulated => "ptxsim, a simulator".to_owned(),
            Place::Device(ordinal) => {
                let info = info(ordinal)?;
                format!(
                    "{}, compute capability {}, {:.0} GiB",
                    info.name,
                    info.capability,
                    info.bytes as f64 / 1_073_741_824.0
                )
            }
        })
    }

    /// The architecture to compile for: the newest that the device runs, unless one is named.
    pub(crate) fn gpu(self, named: Option<&str>) -> Result<Target, String> {
        let by_name = |name: &str| Target::ALL.iter().copied().find(|t| t.name() == name);
        if let Some(name) = named {
            return by_name(name).ok_or_else(|| format!("`{name}` is no architecture that sparsec knows"));
        }
        let Place::Device(ordinal) = self else { return Ok(Target::Sm80) };
        let capability = info(ordinal)?.capability;
        let fitting = Target::ALL.iter().rev().copied().find(|t| capability.runs(t.name()) == Some(true));
        fitting.ok_or_else(|| format!("compute capability {capability} is too old: sm_80 is needed"))
    }
}

fn info(ordinal: usize) -> Result<sparsec_cuda::DeviceInfo, String> {
    let devices = sparsec_cuda::devices().map_err(|e| e.to_string())?;
    let count = devices.len();
    let missing = || DeviceError::NoDevice { ordinal, count }.to_string();
    devices.into_iter().nth(ordinal).ok_or_else(missing)
}

/// What runs between two points of a stream cost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lap {
    /// Milliseconds on a GPU.
    Milliseconds(f64),
    /// Instructions of warps on the simulator.
    Instructions(u64),
}

/// A device that tells what runs cost.
pub(crate) trait Clock: Device {
    /// The first point.
    fn start(&mut self) -> Result<(), DeviceError>;
    /// The second, once everything in between is done.
    fn stop(&mut self) -> Result<Lap, DeviceError>;
    /// Whether repetitions tell something new.
    const VARIES: bool;
}

impl Clock for Cuda {
    const VARIES: bool = true;

    fn start(&mut self) -> Result<(), DeviceError> {
        self.start_clock()
    }

    fn stop(&mut self) -> Result<Lap, DeviceError> {
        self.stop_clock().map(|ms| Lap::Milliseconds(f64::from(ms)))
    }
}

impl Clock for Simulated {
    const VARIES: bool = false;

    fn start(&mut self) -> Result<(), DeviceError> {
        self.reset_counts();
        Ok(())
    }

    fn stop(&mut self) -> Result<Lap, DeviceError> {
        Ok(Lap::Instructions(self.counts().instructions))
    }
}
