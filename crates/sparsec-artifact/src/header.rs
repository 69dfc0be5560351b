//! The C header of a model: C99 and C++, self-contained.

use std::fmt::Write;

use sparsec_abi::{ABI_VERSION, DTYPES, Features, Status};
use sparsec_tir::{Port, Program};

use crate::symbolic;

/// The header's text. `features` says which functions there are, `cpu` what the code is for, where there are several CPUs.
#[must_use]
pub fn header(program: &Program, features: Features, cpu: &str) -> String {
    let name = &program.name;
    let Features { heap, profile, levels } = features;
    let mut out = String::new();
    let guard = format!("SPARSEC_MODEL_{}_H", name.to_ascii_uppercase());
    // Writing to a string can't fail.
    let _ = write!(out, "{}", banner(program, levels.then_some(cpu)));
    let _ = write!(out, "#ifndef {guard}\n#define {guard}\n\n#include <stddef.h>\n#include <stdint.h>\n\n");
    out.push_str(&shared());
    out.push_str("\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    out.push_str(&sizes(program, profile).replace("NAME", name));
    let model = MODEL.replace("@HEAP_CREATE@", if heap { HEAP_CREATE } else { "" });
    let model = model.replace("@HEAP_RESERVE@", if heap { HEAP_RESERVE } else { "" });
    out.push_str(&model.replace("NAME", name));
    if profile {
        out.push_str(&PROFILE.replace("NAME", name));
    }
    if levels {
        out.push_str(&LEVELS.replace("NAME", name));
    }
    out.push_str("\n#ifdef __cplusplus\n}\n#endif\n\n");
    let _ = writeln!(out, "#endif /* {guard} */");
    out
}

/// Sizes that are known, for memory that is reserved when a program is built.
fn sizes(program: &Program, profile: bool) -> String {
    let extents = program.outputs.iter().map(|port| port.shape.len()).sum();
    let timed = if profile { program.launches.len() } else { 0 };
    let bytes = sparsec_abi::context_bytes(extents, timed);
    let mut out = format!("/* Bytes for NAME_create_in. */\n#define NAME_CONTEXT_BYTES {bytes}\n");
    let arena = program.arena_bytes.as_ref().map_or(Some(0), sparsec_tir::Expr::as_int);
    if let (true, Some(arena)) = (program.symbols.is_empty(), arena.and_then(|n| u64::try_from(n).ok())) {
        let bytes = arena.next_multiple_of(sparsec_abi::MEMORY_ALIGN).saturating_add(program.scratch_bytes());
        let _ = write!(out, "/* Bytes for NAME_set_arena, on one thread. */\n#define NAME_ARENA_BYTES {bytes}\n");
    }
    out.push('\n');
    out
}

/// What this model takes and gives, for readers.
fn banner(program: &Program, cpus: Option<&str>) -> String {
    let mut out = format!("/* {}: a neural network compiled by sparsec. Do not edit.\n *\n", program.name);
    let mut ports = |title: &str, ports: &[Port]| {
        let _ = writeln!(out, " * {title}:");
        for (i, p) in ports.iter().enumerate() {
            let shape = symbolic::shape(&p.shape, &program.symbols).join(", ");
            let _ = writeln!(out, " *   {i}: {} {}[{shape}]", comment_safe(&p.name), p.dtype);
        }
    };
    ports("Inputs", &program.inputs);
    ports("Outputs", &program.outputs);
    if !program.symbols.is_empty() {
        let symbols: Vec<_> = program.symbols.iter().map(|s| comment_safe(s)).collect();
        let _ = writeln!(out, " * Symbolic dimensions, in the order of `dims`: {}", symbols.join(", "));
    }
    if let Some(cpus) = cpus {
        let _ = writeln!(out, " * Code for {}, chosen when a context is made.", cpus.replace(',', ", "));
    }
    out.push_str(" */\n");
    out
}

/// Names come from the model: they must not end the comment.
fn comment_safe(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .replace("*/", "* /")
        .replace("/*", "/ *")
}

/// The part that all headers share: statuses, element types, tensors.
#[must_use]
pub fn shared() -> String {
    let statuses: Vec<String> =
        Status::ALL.iter().map(|s| format!("    /* {} */\n    {} = {}", s.message(), s.c_name(), s.code())).collect();
    let dtypes: Vec<String> = DTYPES.iter().map(|d| format!("    {} = {}", d.2, d.0)).collect();
    SHARED
        .replace("@VERSION@", &ABI_VERSION.to_string())
        .replace("@STATUSES@", &statuses.join(",\n"))
        .replace("@DTYPES@", &dtypes.join(",\n"))
}

const SHARED: &str = r"#ifndef SPARSEC_ABI_H
#define SPARSEC_ABI_H

/* Version of the interface below; passed to NAME_create, which compares it with the library's. */
#define SPARSEC_ABI_VERSION @VERSION@u

/* What functions return. NAME_status_message gives a sentence for each. */
enum sparsec_status {
@STATUSES@
};

/* Element types; the numbers are those of ONNX. */
enum sparsec_dtype {
@DTYPES@
};

/* A view of memory that belongs to the caller. */
typedef struct sparsec_tensor {
    /* First element, aligned to the element's size. May be null where there are no elements. */
    void *data;
    /* `rank` extents, outermost first. */
    const int64_t *shape;
    /* `rank` distances in elements, which may be negative, or null for row-major order. Tensors in another order are
     * copied: NAME_reserve_for makes room for that. */
    const int64_t *strides;
    int32_t rank;
    /* One of sparsec_dtype. */
    int32_t dtype;
} sparsec_tensor;

/* A thread pool of the caller. parallel_for calls `body` for pieces begin..end that together are 0..extent, on any
 * threads, and returns when all are done. `worker` is in 0..threads; no two pieces that run at the same time may have
 * the same worker. */
typedef struct sparsec_parallel {
    void *self;
    int32_t threads;
    void (*parallel_for)(void *self, int64_t extent,
                         void (*body)(void *arg, int64_t begin, int64_t end, int32_t worker), void *arg);
} sparsec_parallel;

#endif /* SPARSEC_ABI_H */
";

const MODEL: &str = r"/* What a thread needs to run the model: memory for intermediate results. Contexts share the weights and nothing else;
 * any number may exist. A context may move between threads; one that two threads use at once refuses the second. */
typedef struct NAME_context NAME_context;

/* The ABI version of the library. */
uint32_t NAME_abi_version(void);
/* A sentence for a status; never null. */
const char *NAME_status_message(int32_t status);

@HEAP_CREATE@/* Makes a context in memory of the caller: NAME_context_bytes() bytes, aligned to 8. */
int32_t NAME_create_in(void *memory, size_t bytes, NAME_context **context, uint32_t abi_version);
size_t NAME_context_bytes(void);
/* Frees what the library allocated. Null is allowed. */
void NAME_destroy(NAME_context *context);

/* Lends a thread pool to the context; null takes it back. Copied; `self` must live as long as the context uses it.
 * More threads need a larger arena: call this before reserve. */
int32_t NAME_set_parallel(NAME_context *context, const sparsec_parallel *parallel);
@HEAP_RESERVE@/* Lends memory of the caller for intermediate results, aligned to 64; null takes it back. */
int32_t NAME_set_arena(NAME_context *context, void *memory, size_t bytes);
/* Bytes of arena for these dimensions and this many threads; SIZE_MAX where they are out of range. */
size_t NAME_arena_bytes(const int64_t *dims, int32_t threads);
/* The same for a run with these tensors, with room for copies of those that are not row-major; SIZE_MAX where NAME_run
 * would refuse them. */
size_t NAME_arena_bytes_for(const sparsec_tensor *inputs, const sparsec_tensor *outputs, int32_t threads);

/* Computes the outputs. `inputs` and `outputs` are arrays of as many tensors as the model has; memory and shapes of the
 * outputs are given by the caller (NAME_output_shape). Neither allocates nor locks. */
int32_t NAME_run(NAME_context *context, const sparsec_tensor *inputs, sparsec_tensor *outputs);
/* Checks the inputs and tells the values of the symbols that they mean. */
int32_t NAME_infer_dims(const sparsec_tensor *inputs, int64_t *dims);

/* Names of the symbolic dimensions; null out of range. */
int32_t NAME_symbol_count(void);
const char *NAME_symbol_name(int32_t index);

/* Inputs and outputs: name (null out of range), sparsec_dtype (0), rank (-1). */
int32_t NAME_input_count(void);
const char *NAME_input_name(int32_t index);
int32_t NAME_input_dtype(int32_t index);
int32_t NAME_input_rank(int32_t index);
int32_t NAME_output_count(void);
const char *NAME_output_name(int32_t index);
int32_t NAME_output_dtype(int32_t index);
int32_t NAME_output_rank(int32_t index);
/* `rank` extents: a constant, -1 - s for symbol s, or INT64_MIN for an expression over symbols; null out of range. */
const int64_t *NAME_input_extents(int32_t index);
const int64_t *NAME_output_extents(int32_t index);
/* `rank` extents for these dimensions, one per symbol. */
int32_t NAME_input_shape(const int64_t *dims, int32_t index, int64_t *shape);
int32_t NAME_output_shape(const int64_t *dims, int32_t index, int64_t *shape);
/* `rank` extents that output `index` got in the last run of the context. Where an extent depends on what the inputs hold,
 * NAME_output_shape tells the largest, which the caller makes room for, and this the one that was found; the elements
 * stand at the front of the memory, row-major in the shape that was found. */
int32_t NAME_result_shape(const NAME_context *context, int32_t index, int64_t *shape);
";

const HEAP_CREATE: &str = r"/* Makes a context on the heap. A model without symbolic dimensions can run at once; otherwise reserve comes first. */
int32_t NAME_create(NAME_context **context, uint32_t abi_version);
";

const HEAP_RESERVE: &str = r"/* Makes room for inputs up to these dimensions, one per symbol, on the heap. */
int32_t NAME_reserve(NAME_context *context, const int64_t *dims);
/* Makes room for a run with these tensors: for their dimensions, and for copies of those that are not row-major. */
int32_t NAME_reserve_for(NAME_context *context, const sparsec_tensor *inputs, const sparsec_tensor *outputs);
";

const LEVELS: &str = r"
/* The CPU whose code the context runs: the highest of those in the library that this machine has. Other libraries, which
 * are for one CPU, don't have this function. */
const char *NAME_cpu(const NAME_context *context);
";

const PROFILE: &str = r"
/* This library was compiled to be looked into: run reads the clock between its steps. Tells where the context keeps the
 * nanoseconds that each step of the last run took, and how many there are. Valid until the context is destroyed; what
 * the steps are is the list `launches` of the manifest. Other libraries don't have this function. */
int32_t NAME_profile(NAME_context *context, const uint64_t **ns, size_t *count);
";
