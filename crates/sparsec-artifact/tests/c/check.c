/* Uses two models in every right and wrong way, and ends with 1 at the first surprise. */
#define _POSIX_C_SOURCE 200809L
#include "other.h"
#include "tiny.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 12

static void expect(int condition, const char *what, int line) {
    if (!condition) {
        fprintf(stderr, "line %d: %s\n", line, what);
        exit(1);
    }
}
#define EXPECT(c) expect((c), #c, __LINE__)
#define STATUS(call, wanted) expect((call) == (wanted), #call " is not " #wanted, __LINE__)

static float expected(float x, int column) {
    float y = x * ((float)column * 0.5f - 2.0f) + (1.0f - (float)column * 0.25f);
    return y > 0.0f ? y : 0.0f;
}

/* A pool without threads: runs the pieces one by one, backwards, as different workers. */
struct pool {
    int calls;
};

static void parallel_for(void *self, int64_t extent, void (*body)(void *, int64_t, int64_t, int32_t), void *arg) {
    struct pool *pool = self;
    int64_t i;
    pool->calls++;
    for (i = extent; i > 0; i--) {
        body(arg, i - 1, i, (int32_t)(i % 2));
    }
}

/* A pool that tries to use its own context while it is in use. */
static tiny_context *held;
static sparsec_tensor held_input, held_output;
static int32_t held_status;

static void reenter(void *self, int64_t extent, void (*body)(void *, int64_t, int64_t, int32_t), void *arg) {
    (void)self;
    held_status = tiny_run(held, &held_input, &held_output);
    body(arg, 0, extent, 0);
}

/* Runs the other model many times. */
static void *run_other(void *arg) {
    float x[5 * WIDTH], y[5 * WIDTH];
    int64_t shape[2] = {5, WIDTH};
    sparsec_tensor in = {x, shape, NULL, 2, SPARSEC_F32}, out = {y, shape, NULL, 2, SPARSEC_F32};
    other_context *context = NULL;
    int i, round;
    (void)arg;
    STATUS(other_create(&context, SPARSEC_ABI_VERSION), SPARSEC_OK);
    STATUS(other_reserve(context, shape), SPARSEC_OK);
    for (round = 0; round < 1000; round++) {
        for (i = 0; i < 5 * WIDTH; i++) {
            x[i] = (float)((i + round) % 9);
        }
        STATUS(other_run(context, &in, &out), SPARSEC_OK);
        for (i = 0; i < 5 * WIDTH; i++) {
            EXPECT(y[i] == expected(x[i], i % WIDTH));
        }
    }
    other_destroy(context);
    return NULL;
}

/* Tensors that are not row-major. The context has room for 3 rows. */
static void strided(tiny_context *context) {
    enum { PITCH = 2 * WIDTH };
    float x[3 * PITCH], y[3 * PITCH];
    int64_t shape[2] = {3, WIDTH}, rows[2] = {PITCH, 1}, other[2];
    sparsec_tensor dense = {y, shape, NULL, 2, SPARSEC_F32};
    sparsec_tensor in = {x, shape, rows, 2, SPARSEC_F32}, out = {y, shape, other, 2, SPARSEC_F32};
    size_t bytes;
    char *memory, *arena;
    int i, j;

    for (i = 0; i < 3 * PITCH; i++) {
        x[i] = (float)i * 0.5f - 2.0f;
        y[i] = 77.0f;
    }
    /* Rows with a pitch. */
    STATUS(tiny_run(context, &in, &dense), SPARSEC_ARENA_TOO_SMALL);
    STATUS(tiny_reserve_for(NULL, &in, &dense), SPARSEC_NULL_POINTER);
    STATUS(tiny_reserve_for(context, NULL, &dense), SPARSEC_NULL_POINTER);
    STATUS(tiny_reserve_for(context, &in, &dense), SPARSEC_OK);
    STATUS(tiny_run(context, &in, &dense), SPARSEC_OK);
    for (i = 0; i < 3; i++) {
        for (j = 0; j < WIDTH; j++) {
            EXPECT(y[i * WIDTH + j] == expected(x[i * PITCH + j], j));
        }
    }
    /* Columns one after the other, and what lies between them is left alone. */
    for (i = 0; i < 3 * PITCH; i++) {
        y[i] = 77.0f;
    }
    other[0] = 1;
    other[1] = 4;
    STATUS(tiny_reserve_for(context, &in, &out), SPARSEC_OK);
    STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
    for (j = 0; j < WIDTH; j++) {
        for (i = 0; i < 3; i++) {
            EXPECT(y[4 * j + i] == expected(x[i * PITCH + j], j));
        }
        EXPECT(y[4 * j + 3] == 77.0f);
    }
    /* Backwards, one row thrice, and the result beside its input. */
    in.data = x + 2 * PITCH;
    rows[0] = -PITCH;
    STATUS(tiny_run(context, &in, &dense), SPARSEC_OK);
    EXPECT(y[0] == expected(x[2 * PITCH], 0) && y[2 * WIDTH + 1] == expected(x[1], 1));
    rows[0] = 0;
    STATUS(tiny_run(context, &in, &dense), SPARSEC_OK);
    EXPECT(y[0] == expected(x[2 * PITCH], 0) && y[2 * WIDTH + 1] == expected(x[2 * PITCH + 1], 1));
    in.data = x;
    rows[0] = PITCH;
    out.data = x + WIDTH;
    other[0] = PITCH;
    other[1] = 1;
    STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
    for (i = 0; i < 3; i++) {
        for (j = 0; j < WIDTH; j++) {
            EXPECT(x[i * PITCH + WIDTH + j] == expected(x[i * PITCH + j], j));
        }
    }
    dense.data = x + WIDTH;
    STATUS(tiny_run(context, &in, &dense), SPARSEC_OVERLAP);
    dense.data = y;

    /* Elements of an output that share memory; what reaches too far. */
    out.data = y;
    other[0] = WIDTH - 1;
    STATUS(tiny_run(context, &in, &out), SPARSEC_BAD_STRIDES);
    other[0] = 0;
    STATUS(tiny_run(context, &in, &out), SPARSEC_BAD_STRIDES);
    other[0] = PITCH;
    rows[0] = INT64_MIN;
    STATUS(tiny_run(context, &in, &out), SPARSEC_TOO_LARGE);
    rows[0] = INT64_C(1) << 31;
    rows[1] = INT64_MAX;
    STATUS(tiny_run(context, &in, &out), SPARSEC_TOO_LARGE);
    EXPECT(tiny_arena_bytes_for(&in, &out, 1) == SIZE_MAX);
    rows[0] = PITCH;
    rows[1] = 1;

    /* An arena of the caller, and not a byte more than it takes. */
    bytes = tiny_arena_bytes_for(&in, &out, 1);
    EXPECT(bytes != SIZE_MAX && tiny_arena_bytes_for(&in, &dense, 1) < bytes);
    memory = malloc(bytes + 64);
    EXPECT(memory != NULL);
    arena = memory + (64 - (uintptr_t)memory % 64);
    STATUS(tiny_set_arena(context, arena, bytes - 1), SPARSEC_OK);
    STATUS(tiny_run(context, &in, &out), SPARSEC_ARENA_TOO_SMALL);
    STATUS(tiny_set_arena(context, arena, bytes), SPARSEC_OK);
    STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
    EXPECT(y[PITCH + 1] == expected(x[PITCH + 1], 1));
    STATUS(tiny_set_arena(context, NULL, 0), SPARSEC_OK);
    free(memory);
}

int main(void) {
    float x[4 * WIDTH + 1], y[4 * WIDTH + 1];
    int64_t shape[2] = {3, WIDTH}, wrong[2], strides[2] = {WIDTH, 1};
    int64_t dims[1] = {0};
    sparsec_tensor in = {x, shape, NULL, 2, SPARSEC_F32}, out = {y, shape, NULL, 2, SPARSEC_F32}, bad;
    sparsec_parallel parallel = {NULL, 2, parallel_for};
    struct pool pool = {0};
    tiny_context *context = NULL;
    pthread_t threads[4];
    char *memory;
    size_t bytes;
    int i;

    for (i = 0; i < 4 * WIDTH; i++) {
        x[i] = (float)i * 0.25f - 3.0f;
    }
    EXPECT(tiny_abi_version() == SPARSEC_ABI_VERSION);
    STATUS(tiny_create(NULL, SPARSEC_ABI_VERSION), SPARSEC_NULL_POINTER);
    STATUS(tiny_create(&context, SPARSEC_ABI_VERSION + 1), SPARSEC_ABI_VERSION_MISMATCH);
    EXPECT(context == NULL);
    STATUS(tiny_create(&context, SPARSEC_ABI_VERSION), SPARSEC_OK);

    /* Memory. */
    STATUS(tiny_run(context, &in, &out), SPARSEC_ARENA_TOO_SMALL);
    STATUS(tiny_reserve(context, NULL), SPARSEC_NULL_POINTER);
    STATUS(tiny_reserve(NULL, shape), SPARSEC_NULL_POINTER);
    dims[0] = -1;
    STATUS(tiny_reserve(context, dims), SPARSEC_BAD_DIMENSION);
    dims[0] = INT64_C(2147483649);
    STATUS(tiny_reserve(context, dims), SPARSEC_BAD_DIMENSION);
    EXPECT(tiny_arena_bytes(dims, 1) == SIZE_MAX);
    EXPECT(tiny_arena_bytes(NULL, 1) == SIZE_MAX);
    dims[0] = (INT64_C(1) << 20) + 1;
    STATUS(tiny_reserve(context, dims), SPARSEC_OUT_OF_RANGE);
    EXPECT(tiny_arena_bytes(dims, 1) == SIZE_MAX);
    dims[0] = INT64_C(1) << 20;
    EXPECT(tiny_arena_bytes(dims, 1) == (INT64_C(64) << 20) + 64);
    dims[0] = 3;
    STATUS(tiny_reserve(context, dims), SPARSEC_OK);
    STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
    for (i = 0; i < 3 * WIDTH; i++) {
        EXPECT(y[i] == expected(x[i], i % WIDTH));
    }
    shape[0] = 4;
    STATUS(tiny_run(context, &in, &out), SPARSEC_ARENA_TOO_SMALL);
    shape[0] = 3;

    /* Tensors. */
    STATUS(tiny_run(NULL, &in, &out), SPARSEC_NULL_POINTER);
    STATUS(tiny_run(context, NULL, &out), SPARSEC_NULL_POINTER);
    STATUS(tiny_run(context, &in, NULL), SPARSEC_NULL_POINTER);
    bad = in;
    bad.data = NULL;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_NULL_POINTER);
    bad = in;
    bad.shape = NULL;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_NULL_POINTER);
    bad = in;
    bad.rank = 3;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_BAD_RANK);
    bad = in;
    bad.dtype = SPARSEC_I32;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_BAD_DTYPE);
    bad = in;
    bad.data = (char *)x + 1;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_BAD_ALIGNMENT);
    bad = in;
    bad.shape = wrong;
    wrong[0] = 3;
    wrong[1] = WIDTH - 1;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_BAD_EXTENT);
    wrong[0] = -3;
    wrong[1] = WIDTH;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_BAD_DIMENSION);
    wrong[0] = INT64_MAX;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_BAD_DIMENSION);
    /* More rows than the model allows: nothing is read, or it would be far outside. */
    wrong[0] = (INT64_C(1) << 20) + 1;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_OUT_OF_RANGE);
    STATUS(tiny_infer_dims(&bad, dims), SPARSEC_OUT_OF_RANGE);
    wrong[0] = 3;
    STATUS(tiny_infer_dims(&bad, dims), SPARSEC_OK);
    EXPECT(dims[0] == 3);
    bad = in;
    bad.strides = strides;
    STATUS(tiny_run(context, &bad, &out), SPARSEC_OK);
    strided(context);
    STATUS(tiny_reserve(context, dims), SPARSEC_OK);
    bad = out;
    bad.shape = wrong;
    wrong[0] = 2;
    STATUS(tiny_run(context, &in, &bad), SPARSEC_BAD_OUTPUT_SHAPE);
    bad = out;
    bad.data = x + WIDTH;
    STATUS(tiny_run(context, &in, &bad), SPARSEC_OVERLAP);

    /* No rows at all, and no memory for them. */
    wrong[0] = 0;
    bad.data = NULL;
    bad.shape = wrong;
    STATUS(tiny_run(context, &bad, &bad), SPARSEC_OK);

    /* A pool of the caller. */
    parallel.self = &pool;
    parallel.threads = 0;
    STATUS(tiny_set_parallel(context, &parallel), SPARSEC_BAD_THREADS);
    parallel.threads = 2;
    parallel.parallel_for = NULL;
    STATUS(tiny_set_parallel(context, &parallel), SPARSEC_NULL_POINTER);
    parallel.parallel_for = parallel_for;
    STATUS(tiny_set_parallel(NULL, &parallel), SPARSEC_NULL_POINTER);
    STATUS(tiny_set_parallel(context, &parallel), SPARSEC_OK);
    STATUS(tiny_run(context, &in, &out), SPARSEC_ARENA_TOO_SMALL);
    STATUS(tiny_reserve(context, dims), SPARSEC_OK);
    memset(y, 0, sizeof y);
    STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
    EXPECT(pool.calls == 2);
    for (i = 0; i < 3 * WIDTH; i++) {
        EXPECT(y[i] == expected(x[i], i % WIDTH));
    }

    /* A context that is in use. */
    parallel.parallel_for = reenter;
    STATUS(tiny_set_parallel(context, &parallel), SPARSEC_OK);
    held = context;
    held_input = in;
    held_output = out;
    STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
    EXPECT(held_status == SPARSEC_BUSY);
    STATUS(tiny_set_parallel(context, NULL), SPARSEC_OK);
    STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
    tiny_destroy(context);
    tiny_destroy(NULL);

    /* All memory from the caller. */
    bytes = tiny_context_bytes();
    memory = malloc(bytes);
    EXPECT(memory != NULL);
    STATUS(tiny_create_in(memory, bytes - 1, &context, SPARSEC_ABI_VERSION), SPARSEC_ARENA_TOO_SMALL);
    STATUS(tiny_create_in(memory + 1, bytes, &context, SPARSEC_ABI_VERSION), SPARSEC_BAD_ALIGNMENT);
    STATUS(tiny_create_in(NULL, bytes, &context, SPARSEC_ABI_VERSION), SPARSEC_NULL_POINTER);
    STATUS(tiny_create_in(memory, bytes, &context, SPARSEC_ABI_VERSION + 1), SPARSEC_ABI_VERSION_MISMATCH);
    STATUS(tiny_create_in(memory, bytes, &context, SPARSEC_ABI_VERSION), SPARSEC_OK);
    {
        void *arena = NULL;
        bytes = tiny_arena_bytes(dims, 1);
        EXPECT(posix_memalign(&arena, 64, bytes) == 0);
        STATUS(tiny_set_arena(context, (char *)arena + 8, bytes), SPARSEC_BAD_ALIGNMENT);
        STATUS(tiny_set_arena(context, arena, bytes - 64), SPARSEC_OK);
        STATUS(tiny_run(context, &in, &out), SPARSEC_ARENA_TOO_SMALL);
        STATUS(tiny_set_arena(context, arena, bytes), SPARSEC_OK);
        memset(y, 0, sizeof y);
        STATUS(tiny_run(context, &in, &out), SPARSEC_OK);
        for (i = 0; i < 3 * WIDTH; i++) {
            EXPECT(y[i] == expected(x[i], i % WIDTH));
        }
        tiny_destroy(context);
        free(arena);
        free(memory);
    }

    /* Queries. */
    EXPECT(tiny_symbol_count() == 1 && strcmp(tiny_symbol_name(0), "batch") == 0);
    EXPECT(tiny_symbol_name(1) == NULL && tiny_symbol_name(-1) == NULL);
    EXPECT(tiny_input_count() == 1 && tiny_output_count() == 1);
    EXPECT(strcmp(tiny_input_name(0), "x") == 0 && strcmp(tiny_output_name(0), "y") == 0);
    EXPECT(tiny_input_dtype(0) == SPARSEC_F32 && tiny_input_dtype(1) == 0);
    EXPECT(tiny_output_rank(0) == 2 && tiny_output_rank(1) == -1);
    EXPECT(tiny_input_extents(0)[0] == -1 && tiny_input_extents(0)[1] == WIDTH && tiny_input_extents(1) == NULL);
    dims[0] = 9;
    STATUS(tiny_output_shape(dims, 0, wrong), SPARSEC_OK);
    EXPECT(wrong[0] == 9 && wrong[1] == WIDTH);
    STATUS(tiny_output_shape(dims, 1, wrong), SPARSEC_BAD_INDEX);
    STATUS(tiny_input_shape(dims, -1, wrong), SPARSEC_BAD_INDEX);
    STATUS(tiny_output_shape(dims, 0, NULL), SPARSEC_NULL_POINTER);
    STATUS(tiny_infer_dims(&in, dims), SPARSEC_OK);
    EXPECT(dims[0] == 3);
    STATUS(tiny_infer_dims(&in, NULL), SPARSEC_NULL_POINTER);
    EXPECT(strcmp(tiny_status_message(SPARSEC_OK), "success") == 0);
    EXPECT(strcmp(tiny_status_message(12345), "unknown status") == 0 && tiny_status_message(-1) != NULL);

    /* Another model, in several threads. */
    for (i = 0; i < 4; i++) {
        EXPECT(pthread_create(&threads[i], NULL, run_other, NULL) == 0);
    }
    for (i = 0; i < 4; i++) {
        EXPECT(pthread_join(threads[i], NULL) == 0);
    }
    puts("all checks passed");
    return 0;
}
