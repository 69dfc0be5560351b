/* Two models in one program, under load: eight threads take contexts from a shared shelf, run both models, and put the
 * contexts back where other threads find them. Every answer must be that of a single thread, to the last bit.
 *
 * usage: load RUNS [serial]     RUNS of each model, all threads together; `serial` leaves out what tools that look for
 *                               races can't follow: one context in the hands of several threads
 * With -DCOUNT_ALLOCATIONS the program counts calls of malloc and free inside of `run`. */
#define _GNU_SOURCE
#include "dense.h"
#include "pruned.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, CONTEXTS = 12, SAMPLES = 16, BATCH = 3, PIXELS = BATCH * 64, LOGITS = BATCH * 10 };

#define CHECK(c) check((c) != 0, #c, __LINE__)
static void check(int good, const char *what, int line) {
    if (!good) {
        fprintf(stderr, "line %d: %s\n", line, what);
        exit(1);
    }
}

#ifdef COUNT_ALLOCATIONS
/* glibc's own names of its functions; what the program and libc call goes through the ones below. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);
static _Thread_local long allocations;
static _Thread_local int counting;
void *malloc(size_t n) { allocations += counting; return __libc_malloc(n); }
void *calloc(size_t n, size_t size) { allocations += counting; return __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { allocations += counting; return __libc_realloc(p, n); }
void free(void *p) { allocations += counting; __libc_free(p); }
#define COUNTED(call) (counting = 1, status = (call), counting = 0, check(allocations == 0, "run allocates", __LINE__), status)
#else
#define COUNTED(call) (status = (call))
#endif

static float images[SAMPLES][PIXELS];
static float answers[2][SAMPLES][LOGITS];
static const int64_t image_shape[4] = {BATCH, 1, 8, 8}, logits_shape[2] = {BATCH, 10}, dims[1] = {BATCH};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pruned_context *shelf_of_pruned[CONTEXTS];
static dense_context *shelf_of_dense[CONTEXTS];
static long runs_a_thread;

static void run_pruned(pruned_context *context, int sample, float *out) {
    sparsec_tensor input = {images[sample], image_shape, NULL, 4, SPARSEC_F32};
    sparsec_tensor output = {out, logits_shape, NULL, 2, SPARSEC_F32};
    int32_t status;
    CHECK(COUNTED(pruned_run(context, &input, &output)) == SPARSEC_OK);
}

static void run_dense(dense_context *context, int sample, float *out) {
    sparsec_tensor input = {images[sample], image_shape, NULL, 4, SPARSEC_F32};
    sparsec_tensor output = {out, logits_shape, NULL, 2, SPARSEC_F32};
    int32_t status;
    CHECK(COUNTED(dense_run(context, &input, &output)) == SPARSEC_OK);
}

static void *work(void *arg) {
    unsigned random = 12345u + 7919u * (unsigned)(size_t)arg;
    float out[LOGITS];
    long i;
    for (i = 0; i < runs_a_thread; i++) {
        int slot, sample;
        pruned_context *pruned;
        dense_context *dense;
        random = random * 1664525u + 1013904223u;
        sample = (int)(random >> 16) % SAMPLES;
        slot = (int)(random >> 8) % CONTEXTS;
        CHECK(pthread_mutex_lock(&lock) == 0);
        /* There are more contexts than threads, so one is always there. */
        while (!shelf_of_pruned[slot]) slot = (slot + 1) % CONTEXTS;
        pruned = shelf_of_pruned[slot];
        shelf_of_pruned[slot] = NULL;
        while (!shelf_of_dense[slot]) slot = (slot + 1) % CONTEXTS;
        dense = shelf_of_dense[slot];
        shelf_of_dense[slot] = NULL;
        CHECK(pthread_mutex_unlock(&lock) == 0);
        run_pruned(pruned, sample, out);
        CHECK(memcmp(out, answers[0][sample], sizeof out) == 0);
        run_dense(dense, sample, out);
        CHECK(memcmp(out, answers[1][sample], sizeof out) == 0);
        CHECK(pthread_mutex_lock(&lock) == 0);
        for (slot = 0; shelf_of_pruned[slot]; slot++) {
        }
        shelf_of_pruned[slot] = pruned;
        for (slot = 0; shelf_of_dense[slot]; slot++) {
        }
        shelf_of_dense[slot] = dense;
        CHECK(pthread_mutex_unlock(&lock) == 0);
    }
    return NULL;
}

/* All threads use one context: each call is right or says that the context is busy. */
static pruned_context *wanted;
static void *quarrel(void *arg) {
    static const float nothing[LOGITS];
    float out[LOGITS];
    int sample = (int)(size_t)arg, round;
    for (round = 0; round < 2000; round++) {
        sparsec_tensor input = {images[sample], image_shape, NULL, 4, SPARSEC_F32};
        sparsec_tensor output = {out, logits_shape, NULL, 2, SPARSEC_F32};
        int32_t status;
        memset(out, 0, sizeof out);
        status = pruned_run(wanted, &input, &output);
        CHECK(status == SPARSEC_OK || status == SPARSEC_BUSY);
        CHECK(memcmp(out, status == SPARSEC_OK ? answers[0][sample] : nothing, sizeof out) == 0);
    }
    return NULL;
}

static void on_all_threads(void *(*what)(void *)) {
    pthread_t threads[THREADS];
    size_t i;
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, what, (void *)i) == 0);
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv) {
    int i, j;
    CHECK(argc >= 2);
    runs_a_thread = atol(argv[1]) / THREADS;
    for (i = 0; i < SAMPLES; i++) {
        for (j = 0; j < PIXELS; j++) images[i][j] = (float)((i * 31 + j * 17) % 23) / 23.0f;
    }
    for (i = 0; i < CONTEXTS; i++) {
        CHECK(pruned_create(&shelf_of_pruned[i], SPARSEC_ABI_VERSION) == SPARSEC_OK);
        CHECK(pruned_reserve(shelf_of_pruned[i], dims) == SPARSEC_OK);
        CHECK(dense_create(&shelf_of_dense[i], SPARSEC_ABI_VERSION) == SPARSEC_OK);
        CHECK(dense_reserve(shelf_of_dense[i], dims) == SPARSEC_OK);
    }
    for (i = 0; i < SAMPLES; i++) {
        run_pruned(shelf_of_pruned[0], i, answers[0][i]);
        run_dense(shelf_of_dense[0], i, answers[1][i]);
    }
    CHECK(memcmp(answers[0], answers[1], sizeof answers[0]) != 0);
    CHECK(memcmp(answers[0][0], answers[0][1], sizeof answers[0][0]) != 0);
    on_all_threads(work);
    if (argc == 2) {
        wanted = shelf_of_pruned[0];
        on_all_threads(quarrel);
    }
    for (i = 0; i < CONTEXTS; i++) {
        pruned_destroy(shelf_of_pruned[i]);
        dense_destroy(shelf_of_dense[i]);
    }
#ifdef COUNT_ALLOCATIONS
    /* The counter counts. */
    {
        void *volatile memory;
        counting = 1;
        memory = malloc(1);
        free(memory);
        counting = 0;
    }
    CHECK(allocations == 2);
#endif
    puts("all answers are the same");
    return 0;
}
