//! One module a command.

pub(crate) mod bench;
pub(crate) mod calibrate;
pub(crate) mod compile;
pub(crate) mod inspect;
pub(crate) mod integrate;
pub(crate) mod opt;
pub(crate) mod prune;
pub(crate) mod run;
pub(crate) mod tune;
