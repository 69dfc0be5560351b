/* A model on a microcontroller of Arm: no C library and no memory but what the linker script gives. The emulator's
 * semihosting takes the results as hexadecimal words, and the exit code.
 *
 * Compiled with -DMODEL=name, -include name.h and case.h, which defines IN (numbers of the input), IN_SHAPE, OUT (numbers
 * of the output) and INPUT (the numbers, as bits). */
#define PASTE(a, b) a##_##b
#define JOIN(a, b) PASTE(a, b)
#define F(function) JOIN(MODEL, function)
#define ARENA JOIN(MODEL, ARENA_BYTES)
#define CONTEXT JOIN(MODEL, CONTEXT_BYTES)

static const uint32_t input_bits[] = {INPUT};
static float output[OUT], again[OUT];
static _Alignas(64) unsigned char arena[ARENA + 64];
static _Alignas(8) unsigned char context_memory[CONTEXT];

static int call_host(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

__attribute__((noreturn)) static void leave(uint32_t code) {
    const uint32_t arguments[2] = {0x20026, code};
    call_host(0x20, arguments);
    for (;;) {
    }
}

static void write_word(uint32_t word) {
    char text[10];
    for (int i = 0; i < 8; i++) text[i] = "0123456789abcdef"[word >> (28 - 4 * i) & 15];
    text[8] = '\n';
    text[9] = 0;
    call_host(0x04, text);
}

#define REQUIRE(condition, code) if (!(condition)) leave(code)

static void run(void) {
    const int64_t in_shape[] = IN_SHAPE;
    int64_t out_shape[8];
    F(context) *context = 0;
    sparsec_tensor in = {(void *)input_bits, in_shape, 0, sizeof in_shape / sizeof in_shape[0], SPARSEC_F32};
    sparsec_tensor out = {output, out_shape, 0, F(output_rank)(0), SPARSEC_F32};
    REQUIRE(F(context_bytes)() == CONTEXT && F(arena_bytes)(0, 1) == ARENA, 2);
    REQUIRE(F(create_in)(context_memory, CONTEXT - 1, &context, SPARSEC_ABI_VERSION) == SPARSEC_ARENA_TOO_SMALL, 3);
    REQUIRE(F(create_in)(context_memory, CONTEXT, &context, SPARSEC_ABI_VERSION) == SPARSEC_OK, 4);
    REQUIRE(F(output_shape)(0, 0, out_shape) == SPARSEC_OK, 5);
    if (ARENA > 0) {
        REQUIRE(F(set_arena)(context, arena, ARENA - 1) == SPARSEC_OK, 6);
        REQUIRE(F(run)(context, &in, &out) == SPARSEC_ARENA_TOO_SMALL, 7);
    }
    REQUIRE(F(set_arena)(context, arena, ARENA) == SPARSEC_OK, 8);
    REQUIRE(F(run)(context, 0, &out) == SPARSEC_NULL_POINTER, 9);
    for (int i = 0; i < 64; i++) arena[ARENA + i] = 0xa5;
    REQUIRE(F(run)(context, &in, &out) == SPARSEC_OK, 10);
    out.data = again;
    REQUIRE(F(run)(context, &in, &out) == SPARSEC_OK, 11);
    for (int i = 0; i < 64; i++) REQUIRE(arena[ARENA + i] == 0xa5, 12);
    F(destroy)(context);
    for (int i = 0; i < OUT; i++) {
        union { float number; uint32_t bits; } first = {output[i]}, second = {again[i]};
        REQUIRE(first.bits == second.bits, 13);
        write_word(first.bits);
    }
    leave(0);
}

/* Memory is zero when the emulator starts, and nothing is initialised otherwise. */
__attribute__((noreturn)) void start(void) {
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* CPACR: the floating-point unit */
    __asm__ volatile("dsb\n\tisb");
    run();
    leave(1);
}

__attribute__((noreturn)) static void fault(void) {
    leave(99);
}

extern char stack_end[];
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    stack_end, start, fault, fault, fault, fault, fault};
