/* Runs the model `digits` on the images of a file, and writes the CPU whose code it ran and the results to standard output. */
#include "digits.h"
#include <stdio.h>
#include <stdlib.h>

#define CHECK(call) \
    if ((status = (call)) != SPARSEC_OK) { \
        printf("%s\n", digits_status_message(status)); \
        return 3; \
    }

enum { IMAGES = 5 };
static float images[IMAGES * 64], logits[IMAGES * 10], again[IMAGES * 10];

int main(int argc, char **argv) {
    const int64_t in_shape[4] = {IMAGES, 1, 8, 8}, out_shape[2] = {IMAGES, 10}, dims[1] = {IMAGES};
    sparsec_tensor in = {images, in_shape, NULL, 4, SPARSEC_F32}, out = {logits, out_shape, NULL, 2, SPARSEC_F32};
    digits_context *context = NULL, *other = NULL;
    int32_t status;
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (!file || fread(images, sizeof images, 1, file) != 1) return 2;
    CHECK(digits_create(&context, SPARSEC_ABI_VERSION))
    if (digits_cpu(NULL) != NULL || digits_run(NULL, &in, &out) != SPARSEC_NULL_POINTER) return 4;
    if (digits_reserve(NULL, dims) != SPARSEC_NULL_POINTER || digits_run(context, &in, &out) != SPARSEC_ARENA_TOO_SMALL) return 5;
    CHECK(digits_reserve(context, dims))
    CHECK(digits_run(context, &in, &out))

    /* The same in memory of the caller. */
    size_t bytes = digits_arena_bytes(dims, 1), rounded = (bytes + 63) / 64 * 64;
    void *memory = malloc(digits_context_bytes()), *arena = aligned_alloc(64, rounded ? rounded : 64);
    if (!memory || !arena || digits_context_bytes() != digits_CONTEXT_BYTES) return 6;
    CHECK(digits_create_in(memory, digits_context_bytes(), &other, SPARSEC_ABI_VERSION))
    CHECK(digits_set_arena(other, arena, bytes))
    out.data = again;
    CHECK(digits_run(other, &in, &out))
    if (digits_cpu(context) != digits_cpu(other)) return 7;

    puts(digits_cpu(context));
    for (int i = 0; i < IMAGES * 10; i++) {
        if (logits[i] != again[i]) return 8;
        printf("%.9g\n", logits[i]);
    }
    digits_destroy(other);
    digits_destroy(context);
    free(memory);
    free(arena);
    return 0;
}
