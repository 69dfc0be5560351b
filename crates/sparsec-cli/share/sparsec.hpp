/* C++17 for models that sparsec compiled: contexts that free themselves, views of memory, exceptions.
 *
 *     #include "digits.h"               // what `sparsec compile` wrote
 *     #include <sparsec/sparsec.hpp>    // this file, behind it
 *     SPARSEC_MODEL(digits)             // once, outside of all namespaces
 *
 *     sparsec::Context<digits> model;
 *     model.reserve({batch});
 *     model.run({sparsec::view(pixels, {batch, 1, 8, 8})}, {sparsec::view(logits, {batch, 10})});
 *
 * Nothing is compiled into a library: all functions are inline, and `run` allocates nothing. */
#ifndef SPARSEC_HPP
#define SPARSEC_HPP

#ifndef SPARSEC_ABI_H
#error "include the header of a compiled model before sparsec.hpp"
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sparsec {

/* What a function of a model answered, where it was not SPARSEC_OK. */
class Error : public std::runtime_error {
public:
    Error(const char *function, std::int32_t status, const char *message)
        : std::runtime_error(std::string(function) + ": " + message), status_(status) {}
    /* One of sparsec_status. */
    std::int32_t status() const noexcept { return status_; }

private:
    std::int32_t status_;
};

/* The element type of a C++ type. Types of 16 and of fewer bits that C++ lacks go through `view` with a number. */
template <class T> constexpr std::int32_t dtype() noexcept {
    using U = std::remove_const_t<T>;
    if constexpr (std::is_same_v<U, float>) return SPARSEC_F32;
    else if constexpr (std::is_same_v<U, double>) return SPARSEC_F64;
    else if constexpr (std::is_same_v<U, bool>) return SPARSEC_BOOL;
    else {
        static_assert(std::is_integral_v<U>, "no element type of models");
        constexpr bool is_signed = std::is_signed_v<U>;
        if constexpr (sizeof(U) == 1) return is_signed ? SPARSEC_I8 : SPARSEC_U8;
        else if constexpr (sizeof(U) == 2) return is_signed ? SPARSEC_I16 : SPARSEC_U16;
        else if constexpr (sizeof(U) == 4) return is_signed ? SPARSEC_I32 : SPARSEC_U32;
        else return is_signed ? SPARSEC_I64 : SPARSEC_U64;
    }
}

/* Memory of the caller, its shape and its element type. Holds no elements: copies are views of the same memory. */
class View {
public:
    static constexpr std::size_t max_rank = 8;

    View(void *data, std::int32_t dtype, const std::int64_t *shape, std::size_t rank)
        : data_(data), dtype_(dtype), rank_(rank) {
        if (rank > max_rank) throw std::length_error("sparsec::View: more than 8 dimensions");
        for (std::size_t i = 0; i < rank; i++) shape_[i] = shape[i];
    }
    void *data() const noexcept { return data_; }
    std::int32_t dtype() const noexcept { return dtype_; }
    std::size_t rank() const noexcept { return rank_; }
    std::int64_t extent(std::size_t i) const noexcept { return shape_[i]; }
    /* The C structure; valid as long as this view is where it is. */
    sparsec_tensor raw() const noexcept {
        return {data_, shape_.data(), nullptr, static_cast<std::int32_t>(rank_), dtype_};
    }

private:
    void *data_;
    std::array<std::int64_t, max_rank> shape_{};
    std::int32_t dtype_;
    std::size_t rank_;
};

/* A view of elements in row-major order. Inputs are only read, so constant memory does for them. */
template <class T> View view(T *data, std::initializer_list<std::int64_t> shape) {
    return View(const_cast<std::remove_const_t<T> *>(data), dtype<T>(), shape.begin(), shape.size());
}
/* The same, of anything that has `data()` and `size()`, whose size must be that of the shape. */
template <class C> auto view(C &&elements, std::initializer_list<std::int64_t> shape) -> decltype(view(elements.data(), shape)) {
    std::size_t count = 1;
    for (std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    if (count != elements.size()) throw std::invalid_argument("sparsec::view: the shape does not fit the size");
    return view(elements.data(), shape);
}

/* A context of a model: one run at a time, on any thread. `M` is what SPARSEC_MODEL made. */
template <class M> class Context {
public:
    using Model = typename M::sparsec_model;

    Context() : inputs_(static_cast<std::size_t>(Model::input_count())), outputs_(static_cast<std::size_t>(Model::output_count())) {
        check("create", Model::create(&context_, SPARSEC_ABI_VERSION));
    }
    ~Context() { Model::destroy(context_); }
    Context(Context &&other) noexcept { swap(other); }
    Context &operator=(Context &&other) noexcept {
        swap(other);
        return *this;
    }
    Context(const Context &) = delete;
    Context &operator=(const Context &) = delete;
    void swap(Context &other) noexcept {
        std::swap(context_, other.context_);
        inputs_.swap(other.inputs_);
        outputs_.swap(other.outputs_);
    }

    /* Makes room for inputs up to these dimensions, one for each symbol. */
    void reserve(std::initializer_list<std::int64_t> dims) {
        check_dims(dims.size());
        check("reserve", Model::reserve(context_, dims.begin()));
    }
    /* Bytes of arena for these dimensions and this many threads; SIZE_MAX where they are out of range. */
    static std::size_t arena_bytes(std::initializer_list<std::int64_t> dims, std::int32_t threads = 1) {
        check_dims(dims.size());
        return Model::arena_bytes(dims.begin(), threads);
    }
    /* Lends memory in place of reserve, aligned to 64. */
    void set_arena(void *memory, std::size_t bytes) { check("set_arena", Model::set_arena(context_, memory, bytes)); }
    /* Lends a thread pool; null takes it back. Before reserve. */
    void set_parallel(const sparsec_parallel *pool) { check("set_parallel", Model::set_parallel(context_, pool)); }

    /* Computes the outputs into the memory given. */
    void run(std::initializer_list<View> inputs, std::initializer_list<View> outputs) {
        if (inputs.size() != inputs_.size() || outputs.size() != outputs_.size()) {
            throw std::invalid_argument("sparsec::Context::run: the model has another number of inputs or outputs");
        }
        std::size_t i = 0;
        for (const View &view : inputs) inputs_[i++] = view.raw();
        i = 0;
        for (const View &view : outputs) outputs_[i++] = view.raw();
        check("run", Model::run(context_, inputs_.data(), outputs_.data()));
    }

    /* The shape that an output has for these dimensions: the largest, where it depends on what the inputs hold. */
    static std::vector<std::int64_t> output_shape(std::initializer_list<std::int64_t> dims, std::int32_t index = 0) {
        check_dims(dims.size());
        std::vector<std::int64_t> shape = room(index);
        check("output_shape", Model::output_shape(dims.begin(), index, shape.data()));
        return cut(std::move(shape), index);
    }
    /* The shape that an output got in the last run. */
    std::vector<std::int64_t> result_shape(std::int32_t index = 0) const {
        std::vector<std::int64_t> shape = room(index);
        check("result_shape", Model::result_shape(context_, index, shape.data()));
        return cut(std::move(shape), index);
    }
    /* The C context, for what is not wrapped. */
    typename Model::context *raw() const noexcept { return context_; }

private:
    static void check(const char *function, std::int32_t status) {
        if (status != SPARSEC_OK) throw Error(function, status, Model::status_message(status));
    }
    static void check_dims(std::size_t count) {
        if (count != static_cast<std::size_t>(Model::symbol_count())) {
            throw std::invalid_argument("sparsec: the model has another number of symbolic dimensions");
        }
    }
    static std::size_t rank(std::int32_t index) {
        const std::int32_t rank = Model::output_rank(index);
        return rank > 0 ? static_cast<std::size_t>(rank) : 0;
    }
    /* Never without an address, also where the rank is 0. */
    static std::vector<std::int64_t> room(std::int32_t index) { return std::vector<std::int64_t>(rank(index) + 1); }
    static std::vector<std::int64_t> cut(std::vector<std::int64_t> shape, std::int32_t index) {
        shape.resize(rank(index));
        return shape;
    }

    typename Model::context *context_ = nullptr;
    std::vector<sparsec_tensor> inputs_, outputs_;
};

} // namespace sparsec

/* Makes a type NAME that stands for the model with that prefix. */
#define SPARSEC_MODEL(NAME)                                                                                            \
    struct NAME {                                                                                                      \
        struct sparsec_model {                                                                                         \
            using context = NAME##_context;                                                                            \
            static constexpr auto create = NAME##_create;                                                              \
            static constexpr auto destroy = NAME##_destroy;                                                            \
            static constexpr auto reserve = NAME##_reserve;                                                            \
            static constexpr auto arena_bytes = NAME##_arena_bytes;                                                    \
            static constexpr auto set_arena = NAME##_set_arena;                                                        \
            static constexpr auto set_parallel = NAME##_set_parallel;                                                  \
            static constexpr auto run = NAME##_run;                                                                    \
            static constexpr auto status_message = NAME##_status_message;                                              \
            static constexpr auto symbol_count = NAME##_symbol_count;                                                  \
            static constexpr auto input_count = NAME##_input_count;                                                    \
            static constexpr auto output_count = NAME##_output_count;                                                  \
            static constexpr auto output_rank = NAME##_output_rank;                                                    \
            static constexpr auto output_shape = NAME##_output_shape;                                                  \
            static constexpr auto result_shape = NAME##_result_shape;                                                  \
        };                                                                                                             \
    };

#endif /* SPARSEC_HPP */
