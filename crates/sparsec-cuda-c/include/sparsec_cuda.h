/* libsparsec_cuda_c: models that sparsec compiled for NVIDIA GPUs.
 *
 * A model is a folder: NAME.plan.json, NAME.ptx, NAME.weights. Link with -lsparsec_cuda_c; for the static library add
 * -lpthread -ldl -lm. The driver is loaded when a context is made. */
#ifndef SPARSEC_CUDA_H
#define SPARSEC_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifndef SPARSEC_ABI_H
#define SPARSEC_ABI_H

/* Version of the interface below; passed to NAME_create, which compares it with the library's. */
#define SPARSEC_ABI_VERSION 1u

/* What functions return. NAME_status_message gives a sentence for each. */
enum sparsec_status {
    /* success */
    SPARSEC_OK = 0,
    /* a required pointer is null */
    SPARSEC_NULL_POINTER = 1,
    /* the header's ABI version is not the library's */
    SPARSEC_ABI_VERSION_MISMATCH = 2,
    /* a tensor has another rank than the model asks for */
    SPARSEC_BAD_RANK = 3,
    /* a tensor has another element type than the model asks for */
    SPARSEC_BAD_DTYPE = 4,
    /* an extent of an input is not the one that the model fixes */
    SPARSEC_BAD_EXTENT = 5,
    /* extents of the inputs disagree about a symbolic dimension */
    SPARSEC_SYMBOL_CONFLICT = 6,
    /* a dimension is negative or larger than 2147483648 */
    SPARSEC_BAD_DIMENSION = 7,
    /* the shape given for an output is not the one that the inputs lead to */
    SPARSEC_BAD_OUTPUT_SHAPE = 8,
    /* the dimensions need more memory than can be addressed */
    SPARSEC_TOO_LARGE = 9,
    /* strides that let elements of an output share memory, or that a GPU does not take */
    SPARSEC_BAD_STRIDES = 10,
    /* the arena is too small for these dimensions, strides and threads: reserve first */
    SPARSEC_ARENA_TOO_SMALL = 11,
    /* the context is in use by another thread */
    SPARSEC_BUSY = 12,
    /* the system has no more memory */
    SPARSEC_OUT_OF_MEMORY = 13,
    /* the memory of an output overlaps that of another tensor */
    SPARSEC_OVERLAP = 14,
    /* an index is out of range */
    SPARSEC_BAD_INDEX = 15,
    /* a pointer is not aligned as it must be */
    SPARSEC_BAD_ALIGNMENT = 16,
    /* the number of threads is out of range */
    SPARSEC_BAD_THREADS = 17,
    /* a symbolic dimension is outside the range that the model allows */
    SPARSEC_OUT_OF_RANGE = 18,
    /* no driver of the GPU is installed */
    SPARSEC_NO_DRIVER = 19,
    /* the machine has no GPU of this number */
    SPARSEC_NO_DEVICE = 20,
    /* the GPU is too old for the model, or of another kind */
    SPARSEC_BAD_DEVICE = 21,
    /* the files of the model can't be read, or are not of one compilation */
    SPARSEC_BAD_ARTEFACT = 22,
    /* the GPU or its driver failed */
    SPARSEC_DEVICE_FAILED = 23,
    /* the library has no code for this machine's CPU */
    SPARSEC_UNSUPPORTED_CPU = 24
};

/* Element types; the numbers are those of ONNX. */
enum sparsec_dtype {
    SPARSEC_F32 = 1,
    SPARSEC_U8 = 2,
    SPARSEC_I8 = 3,
    SPARSEC_U16 = 4,
    SPARSEC_I16 = 5,
    SPARSEC_I32 = 6,
    SPARSEC_I64 = 7,
    SPARSEC_STRING = 8,
    SPARSEC_BOOL = 9,
    SPARSEC_F16 = 10,
    SPARSEC_F64 = 11,
    SPARSEC_U32 = 12,
    SPARSEC_U64 = 13,
    SPARSEC_BF16 = 16,
    SPARSEC_F8E4M3FN = 17,
    SPARSEC_F8E4M3FNUZ = 18,
    SPARSEC_F8E5M2 = 19,
    SPARSEC_F8E5M2FNUZ = 20,
    SPARSEC_U4 = 21,
    SPARSEC_I4 = 22,
    SPARSEC_F4E2M1 = 23,
    SPARSEC_F8E8M0 = 24
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

/* Added to a tensor's element type: `data` is memory of the context's GPU, aligned to 16. */
#define SPARSEC_ON_DEVICE 0x10000

#ifdef __cplusplus
extern "C" {
#endif

/* A model on a GPU: its weights, and memory for intermediate results. One that two threads use at once refuses the second. */
typedef struct sparsec_cuda_context sparsec_cuda_context;

/* The ABI version of the library. */
uint32_t sparsec_cuda_abi_version(void);
/* A sentence for a status; never null. */
const char *sparsec_cuda_status_message(int32_t status);
/* What the last call of this thread that failed has to say, with the names of tensors and files; never null, valid until the
 * next call that fails. */
const char *sparsec_cuda_error(void);

/* Loads a model onto a GPU by number. `artefact` is its folder, or the file NAME.plan.json where a folder holds several.
 * The context has a stream of its own. */
int32_t sparsec_cuda_create(const char *artefact, int32_t device, sparsec_cuda_context **context, uint32_t abi_version);
/* The same on a stream of the caller (cudaStream_t, CUstream) of the GPU's primary context, which lives as long as the context
 * uses it; null is the default stream. */
int32_t sparsec_cuda_create_on_stream(const char *artefact, int32_t device, void *stream, sparsec_cuda_context **context,
                                      uint32_t abi_version);
/* Waits for the stream and frees everything. Null is allowed. */
void sparsec_cuda_destroy(sparsec_cuda_context *context);
/* Waits, and goes on with another stream of the caller. */
int32_t sparsec_cuda_set_stream(sparsec_cuda_context *context, void *stream);
/* Makes room for inputs up to these dimensions, one per symbol. A run that needs more takes more. */
int32_t sparsec_cuda_reserve(sparsec_cuda_context *context, const int64_t *dims);

/* Computes the outputs. Each tensor is on the host or on the GPU. Returns when outputs on the host are written; what is on the
 * GPU is written when the stream comes so far. */
int32_t sparsec_cuda_run(sparsec_cuda_context *context, const sparsec_tensor *inputs, sparsec_tensor *outputs);
/* Waits for the stream. */
int32_t sparsec_cuda_synchronise(sparsec_cuda_context *context);
/* Checks the inputs and tells the values of the symbols that they mean. */
int32_t sparsec_cuda_infer_dims(const sparsec_cuda_context *context, const sparsec_tensor *inputs, int64_t *dims);

/* Names of the symbolic dimensions; null out of range. */
int32_t sparsec_cuda_symbol_count(const sparsec_cuda_context *context);
const char *sparsec_cuda_symbol_name(const sparsec_cuda_context *context, int32_t index);

/* Inputs and outputs: name (null out of range), sparsec_dtype (0), rank (-1). */
int32_t sparsec_cuda_input_count(const sparsec_cuda_context *context);
const char *sparsec_cuda_input_name(const sparsec_cuda_context *context, int32_t index);
int32_t sparsec_cuda_input_dtype(const sparsec_cuda_context *context, int32_t index);
int32_t sparsec_cuda_input_rank(const sparsec_cuda_context *context, int32_t index);
int32_t sparsec_cuda_output_count(const sparsec_cuda_context *context);
const char *sparsec_cuda_output_name(const sparsec_cuda_context *context, int32_t index);
int32_t sparsec_cuda_output_dtype(const sparsec_cuda_context *context, int32_t index);
int32_t sparsec_cuda_output_rank(const sparsec_cuda_context *context, int32_t index);
/* `rank` extents: a constant, -1 - s for symbol s, or INT64_MIN for an expression over symbols; null out of range. */
const int64_t *sparsec_cuda_input_extents(const sparsec_cuda_context *context, int32_t index);
const int64_t *sparsec_cuda_output_extents(const sparsec_cuda_context *context, int32_t index);
/* `rank` extents for these dimensions, one per symbol. */
int32_t sparsec_cuda_input_shape(const sparsec_cuda_context *context, const int64_t *dims, int32_t index, int64_t *shape);
int32_t sparsec_cuda_output_shape(const sparsec_cuda_context *context, const int64_t *dims, int32_t index, int64_t *shape);
/* `rank` extents that output `index` got in the last run. Where they depend on what the inputs hold, sparsec_cuda_output_shape
 * tells the largest, which the caller makes room for. */
int32_t sparsec_cuda_result_shape(const sparsec_cuda_context *context, int32_t index, int64_t *shape);

#ifdef __cplusplus
}
#endif

#endif /* SPARSEC_CUDA_H */
