// Recognises handwritten digits with a model that CMake had sparsec compile; the C++ wrapper is one header.
#include "digits.h"
#include "samples.h"

#include <sparsec/sparsec.hpp>

#include <algorithm>
#include <iostream>
#include <vector>

SPARSEC_MODEL(digits)

int main() {
    constexpr std::int64_t classes = 10;
    std::vector<float> images(SAMPLES * 64), logits(SAMPLES * classes);
    for (std::size_t i = 0; i < images.size(); i++) images[i] = static_cast<float>(sample_images[i / 64][i % 64]) / 16.0f;

    sparsec::Context<digits> model;
    model.reserve({SAMPLES}); // the only symbolic dimension is the batch
    model.run({sparsec::view(images, {SAMPLES, 1, 8, 8})}, {sparsec::view(logits, {SAMPLES, classes})});

    int right = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const auto first = logits.begin() + i * classes;
        const auto best = std::max_element(first, first + classes) - first;
        std::cout << "image " << i << ": expected " << +sample_labels[i] << ", predicted " << best << '\n';
        right += best == sample_labels[i];
    }
    std::cout << right << " of " << SAMPLES << " right\n";

    // What does not fit is an exception with the library's message.
    try {
        model.run({sparsec::view(images, {SAMPLES, 64})}, {sparsec::view(logits, {SAMPLES, classes})});
        return 1;
    } catch (const sparsec::Error &error) {
        std::cout << "a wrong shape: " << error.what() << '\n';
        if (error.status() != SPARSEC_BAD_RANK) return 1;
    }
    return right == SAMPLES ? 0 : 1;
}
