//! Plans with branches and loops, step by step. What decides is read from the device, which waits for it.

use super::{Frame, Session, on_device};
use crate::plan::{Location, LoopStep, Step, Trip};
use crate::{Device, RunError};

impl<D: Device> Session<D> {
    pub(super) fn follow(&mut self, steps: &[Step], frame: &mut Frame) -> Result<(), RunError> {
        for step in steps {
            match step {
                Step::Launch(index) => self.launch(*index, frame)?,
                Step::If { condition, then, otherwise } => {
                    let branch = if self.truth("branch", condition, frame)? { then } else { otherwise };
                    self.follow(branch, frame)?;
                }
                Step::Loop(step) => self.follow_loop(step, frame)?,
                Step::Find { found, from, constraints } => {
                    let value = i64::from_le_bytes(self.load("extent", from, frame)?);
                    let at = self.plan.symbols.len() + self.plan.loops as usize + *found as usize;
                    if let Some(slot) = frame.values.get_mut(at) {
                        *slot = value;
                    }
                    constraints.iter().try_for_each(|c| self.plan.require(c, &frame.values))?;
                }
                Step::Require(constraint) => self.plan.require(constraint, &frame.values)?,
            }
        }
        Ok(())
    }

    fn follow_loop(&mut self, step: &LoopStep, frame: &mut Frame) -> Result<(), RunError> {
        let trip = match &step.trip {
            Trip::Count(e) => {
                e.eval(&frame.values).map_err(|source| RunError::Expression { place: "loop".into(), source })?
            }
            Trip::Load(from) => i64::from_le_bytes(self.load("loop", from, frame)?),
            Trip::Unbounded => i64::MAX,
        };
        let mut goes_on = match &step.condition {
            Some((before, _)) => self.truth("loop", before, frame)?,
            None => true,
        };
        let counter = self.plan.symbols.len() + step.counter as usize;
        let mut iteration = 0i64;
        while goes_on && iteration < trip {
            if let Some(value) = frame.values.get_mut(counter) {
                *value = iteration;
            }
            if let Some(index) = &step.index {
                let bytes = iteration.to_le_bytes();
                let address = self.place("loop", "iteration", index, bytes.len() as i128, frame)?;
                self.device.write(address, &bytes).map_err(on_device("loop"))?;
            }
            self.follow(&step.body, frame)?;
            if let Some((_, after)) = &step.condition {
                goes_on = self.truth("loop", after, frame)?;
            }
            iteration += 1;
        }
        Ok(())
    }

    fn truth(&mut self, label: &str, location: &Location, frame: &Frame) -> Result<bool, RunError> {
        Ok(self.load::<1>(label, location, frame)? != [0])
    }

    fn load<const N: usize>(&mut self, label: &str, location: &Location, frame: &Frame) -> Result<[u8; N], RunError> {
        let address = self.place(label, "value", location, N as i128, frame)?;
        let mut bytes = [0; N];
        self.device.read(address, &mut bytes).map_err(on_device(label))?;
        Ok(bytes)
    }
}
