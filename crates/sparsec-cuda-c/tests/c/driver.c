/* Drives libsparsec_cuda_c as a program that knows no model: argument 1 is the folder of an artefact, 2 one without.
 * Prints what became of it: `ran` where there is a GPU, else why not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sparsec_cuda.h"

#define CHECK(condition)                                                        \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n  %s\n", __FILE__, __LINE__, #condition, sparsec_cuda_error()); \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

int main(int argc, char **argv) {
    sparsec_cuda_context *context = (sparsec_cuda_context *)argv;
    int32_t status;
    CHECK(argc == 3);
    CHECK(sparsec_cuda_abi_version() == SPARSEC_ABI_VERSION);
    CHECK(strcmp(sparsec_cuda_status_message(SPARSEC_OK), "success") == 0);
    CHECK(strstr(sparsec_cuda_status_message(SPARSEC_NO_DRIVER), "driver") != NULL);
    CHECK(strcmp(sparsec_cuda_status_message(-5), "unknown status") == 0);
    CHECK(strcmp(sparsec_cuda_error(), "") == 0);

    /* What is refused before there is a device. */
    CHECK(sparsec_cuda_create(argv[1], 0, NULL, SPARSEC_ABI_VERSION) == SPARSEC_NULL_POINTER);
    CHECK(sparsec_cuda_create(NULL, 0, &context, SPARSEC_ABI_VERSION) == SPARSEC_NULL_POINTER);
    CHECK(sparsec_cuda_create(argv[1], 0, &context, SPARSEC_ABI_VERSION + 1) == SPARSEC_ABI_VERSION_MISMATCH);
    CHECK(context == NULL);
    CHECK(sparsec_cuda_create(argv[2], 0, &context, SPARSEC_ABI_VERSION) == SPARSEC_BAD_ARTEFACT);
    CHECK(context == NULL && strstr(sparsec_cuda_error(), argv[2]) != NULL);
    CHECK(sparsec_cuda_create_on_stream(argv[2], 0, NULL, &context, SPARSEC_ABI_VERSION) == SPARSEC_BAD_ARTEFACT);
    CHECK(sparsec_cuda_run(NULL, NULL, NULL) == SPARSEC_NULL_POINTER);
    CHECK(sparsec_cuda_synchronise(NULL) == SPARSEC_NULL_POINTER);
    CHECK(sparsec_cuda_reserve(NULL, NULL) == SPARSEC_NULL_POINTER);
    CHECK(sparsec_cuda_set_stream(NULL, NULL) == SPARSEC_NULL_POINTER);
    CHECK(sparsec_cuda_input_count(NULL) == 0 && sparsec_cuda_input_name(NULL, 0) == NULL);
    CHECK(sparsec_cuda_output_rank(NULL, 0) == -1 && sparsec_cuda_output_extents(NULL, 0) == NULL);
    sparsec_cuda_destroy(NULL);

    status = sparsec_cuda_create(argv[1], 0, &context, SPARSEC_ABI_VERSION);
    if (status == SPARSEC_NO_DRIVER) {
        CHECK(context == NULL && strstr(sparsec_cuda_error(), "libcuda") != NULL);
        puts("no driver");
        return 0;
    }
    if (status == SPARSEC_NO_DEVICE || status == SPARSEC_BAD_DEVICE) {
        CHECK(context == NULL && strlen(sparsec_cuda_error()) > 0);
        puts("no device");
        return 0;
    }
    CHECK(status == SPARSEC_OK);
    {
        /* The model of the test: y = relu(x w) with a free number of rows. */
        float x[6] = {1, 2, 3, 4, 5, 6}, y[4];
        int64_t in_shape[2] = {2, 3}, out_shape[2] = {0, 0}, dims[1] = {0};
        sparsec_tensor in = {x, in_shape, NULL, 2, SPARSEC_F32}, out = {y, out_shape, NULL, 2, SPARSEC_F32};
        CHECK(sparsec_cuda_infer_dims(context, &in, dims) == SPARSEC_OK && dims[0] == 2);
        CHECK(sparsec_cuda_output_shape(context, dims, 0, out_shape) == SPARSEC_OK && out_shape[1] == 2);
        CHECK(sparsec_cuda_run(context, &in, &out) == SPARSEC_OK);
        CHECK(y[0] == 7 && y[1] == 0 && y[2] == 16 && y[3] == 0);
        sparsec_cuda_destroy(context);
    }
    puts("ran");
    return 0;
}
