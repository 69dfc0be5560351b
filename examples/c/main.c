/* Recognises handwritten digits with a model that sparsec compiled to a library.
 *
 * The library needs no runtime: this file, digits.h and libdigits.a (or libdigits.so) are the whole program. */
#include "digits.h"
#include "samples.h"

#include <stdio.h>

#define CLASSES 10

static int fail(const char *what, int32_t status) {
    fprintf(stderr, "%s: %s\n", what, digits_status_message(status));
    return 1;
}

/* Shows an image with four shades of ink. */
static void draw(const unsigned char *image) {
    int row, column;
    for (row = 0; row < 8; row++) {
        printf("    ");
        for (column = 0; column < 8; column++) {
            int ink = image[row * 8 + column];
            printf("%s", ink < 4 ? "  " : ink < 8 ? ".." : ink < 12 ? "oo" : "##");
        }
        printf("\n");
    }
}

int main(void) {
    static float images[SAMPLES][64];
    static float logits[SAMPLES][CLASSES];
    const int64_t image_shape[4] = {SAMPLES, 1, 8, 8};
    const int64_t logits_shape[2] = {SAMPLES, CLASSES};
    const int64_t dims[1] = {SAMPLES}; /* the only symbolic dimension is the batch */
    sparsec_tensor input = {images, image_shape, NULL, 4, SPARSEC_F32};
    sparsec_tensor output = {logits, logits_shape, NULL, 2, SPARSEC_F32};
    digits_context *context = NULL;
    int32_t status;
    int i, j, right = 0;

    for (i = 0; i < SAMPLES; i++) {
        for (j = 0; j < 64; j++) {
            images[i][j] = (float)sample_images[i][j] / 16.0f;
        }
    }

    status = digits_create(&context, SPARSEC_ABI_VERSION);
    if (status != SPARSEC_OK) {
        return fail("digits_create", status);
    }
    /* Memory for intermediate results, once; digits_run allocates nothing. */
    status = digits_reserve(context, dims);
    if (status == SPARSEC_OK) {
        status = digits_run(context, &input, &output);
    }
    digits_destroy(context);
    if (status != SPARSEC_OK) {
        return fail("digits_run", status);
    }

    draw(sample_images[7]);
    for (i = 0; i < SAMPLES; i++) {
        int best = 0;
        for (j = 1; j < CLASSES; j++) {
            if (logits[i][j] > logits[i][best]) {
                best = j;
            }
        }
        printf("image %d: expected %d, predicted %d\n", i, sample_labels[i], best);
        right += best == sample_labels[i];
    }
    printf("%d of %d right\n", right, SAMPLES);
    return right == SAMPLES ? 0 : 1;
}
