//! What can go wrong.

/// What an instruction did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An access outside of all memory, or beyond the end of what it began in.
    #[error("{bytes} bytes at {place} are out of bounds")]
    OutOfBounds {
        /// The address, as an offset into what has it, where something has.
        place: String,
        /// How many bytes were accessed.
        bytes: u32,
    },
    /// An access whose address is no multiple of its size.
    #[error("the access to {bytes} bytes at {place} is misaligned")]
    Misaligned {
        /// The address.
        place: String,
        /// How many bytes were accessed.
        bytes: u32,
    },
    /// Memory that was given back.
    #[error("{place} was freed")]
    Freed {
        /// The address.
        place: String,
    },
    /// A register is read before it is written.
    #[error("register {register} is read, which nothing has written in this thread")]
    UninitialisedRegister {
        /// The register.
        register: String,
    },
    /// Memory is read before it is written.
    #[error("{place} is read, which nothing has written")]
    UninitialisedMemory {
        /// The address.
        place: String,
    },
    /// Two threads access the same shared memory, one of them writes, and nothing orders them.
    #[error("race: {place} was {earlier} by thread {other}, with no barrier in between")]
    Race {
        /// The address.
        place: String,
        /// `read` or `written`.
        earlier: &'static str,
        /// Number of the other thread in the block; of several, one.
        other: u32,
    },
    /// Memory that `cp.async` or `cp.async.bulk` is writing is accessed.
    #[error("{place} is the target of a cp.async that has not been waited for")]
    CopyUnderWay {
        /// The address.
        place: String,
    },
    /// Shared memory is written that a matrix product of a warp group may still read.
    #[error("{place} may still be read by a wgmma that has not been waited for")]
    ProductUnderWay {
        /// The address.
        place: String,
    },
    /// A register is touched that a matrix product of a warp group may still write or read.
    #[error("register {register} belongs to a wgmma that has not been waited for")]
    RegisterUnderWay {
        /// The register.
        register: String,
    },
    /// A register of a matrix product of a warp group was touched since the last `wgmma.fence`.
    #[error("register {register} was touched since the last wgmma.fence")]
    MissingGroupFence {
        /// The register.
        register: String,
    },
    /// Memory that a thread stored is accessed through the async proxy, with no `fence.proxy.async` in between.
    #[error("{place} was stored by thread {other}, which had no fence.proxy.async since, or too late")]
    MissingProxyFence {
        /// The address.
        place: String,
        /// Number of the thread in the block.
        other: u32,
    },
    /// Warps of a group, or threads of a warp, do not agree on a matrix product.
    #[error("the threads of the warp group do not agree: {0}")]
    GroupApart(&'static str),
    /// No matrix descriptor.
    #[error("matrix descriptor {descriptor:#018x}: {reason}")]
    Descriptor {
        /// Its bits.
        descriptor: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// An `mbarrier` is used where there is none.
    #[error("{place} holds no mbarrier")]
    NoBarrier {
        /// The address.
        place: String,
    },
    /// The memory of an `mbarrier` is accessed as if it were data.
    #[error("{place} holds an mbarrier")]
    BarrierMemory {
        /// The address.
        place: String,
    },
    /// More arrivals at an `mbarrier` than its phase has.
    #[error("the phase of the mbarrier at {place} has {count} arrivals, this is one more")]
    Arrivals {
        /// The address.
        place: String,
        /// Arrivals of a phase.
        count: u32,
    },
    /// A phase of an `mbarrier` that no thread is left to complete.
    #[error("the phase of the mbarrier at {place} never completes: {arrivals} arrivals and {bytes} bytes are missing")]
    PhaseIncomplete {
        /// The address.
        place: String,
        /// Arrivals that are missing.
        arrivals: u32,
        /// Bytes that are missing.
        bytes: u64,
    },
    /// Not all threads of a warp are at a barrier.
    #[error("barrier in divergent code: only threads {active:#010x} of the warp {all:#010x} are here")]
    DivergentBarrier {
        /// Lanes that are.
        active: u32,
        /// Lanes that exist.
        all: u32,
    },
    /// A barrier that not all will reach.
    #[error("deadlock at barrier {barrier}: {waiting} threads wait for {expected}, and no other is left to come")]
    Deadlock {
        /// The barrier.
        barrier: u32,
        /// Threads that wait.
        waiting: u32,
        /// Threads that it takes.
        expected: u32,
    },
    /// Lanes that take part in an instruction of several threads are not there.
    #[error("the instruction needs lanes {needed:#010x}, here are {active:#010x}")]
    MissingLanes {
        /// The mask.
        needed: u32,
        /// Lanes that are there.
        active: u32,
    },
    /// Indices of kept entries that are equal or not ascending, or no pair of halves.
    #[error("metadata {metadata:#010x} of lane {lane}: {indices:#06b} selects no entries of four")]
    Metadata {
        /// The word.
        metadata: u32,
        /// The lane that holds it.
        lane: u32,
        /// The four bits.
        indices: u32,
    },
    /// `trap`.
    #[error("the kernel trapped")]
    Trap,
    /// More instructions than the launch allows.
    #[error("more than {0} instructions: does the kernel end?")]
    Limit(u64),
    /// A construct that PTX has, and the simulator has not.
    #[error("not simulated: {0}")]
    Unsupported(&'static str),
}

/// A fault, with the place where it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{function}, statement {statement} `{instruction}`, block {block:?}, thread {thread:?}: {fault}")]
pub struct SimError {
    /// The function.
    pub function: String,
    /// Index into the function's body.
    pub statement: usize,
    /// The instruction's text.
    pub instruction: String,
    /// The block: x, y, z.
    pub block: [u32; 3],
    /// The thread in the block: x, y, z.
    pub thread: [u32; 3],
    /// What happened.
    pub fault: Fault,
}

/// Why an operation of the device failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A kernel did something wrong.
    #[error(transparent)]
    Kernel(#[from] Box<SimError>),
    /// The host accessed memory wrongly.
    #[error("host access: {0}")]
    Memory(Fault),
    /// The module has no such function.
    #[error("the module has no function {0}")]
    NoFunction(String),
    /// A function cannot be launched like this.
    #[error("launch of {function}: {reason}")]
    Launch {
        /// The function.
        function: String,
        /// Why not.
        reason: String,
    },
}
