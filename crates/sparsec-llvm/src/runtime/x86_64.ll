; Which level of x86-64 the processor and the system have: 1, 2, 3 or 4, as the processor supplement of the System V ABI
; defines them. The bits are those of the instruction CPUID; XCR0 tells which registers the system saves.

define { i32, i32, i32, i32 } @cpuid(i32 %leaf) nounwind {
  %r = call { i32, i32, i32, i32 } asm sideeffect "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},~{flags}"(i32 %leaf, i32 0)
  ret { i32, i32, i32, i32 } %r
}

define i32 @cpu_level() nounwind {
entry:
  %basic = call { i32, i32, i32, i32 } @cpuid(i32 0)
  %leaves = extractvalue { i32, i32, i32, i32 } %basic, 0
  %has.seven = icmp uge i32 %leaves, 7
  %extended = call { i32, i32, i32, i32 } @cpuid(i32 -2147483648)
  %extended.leaves = extractvalue { i32, i32, i32, i32 } %extended, 0
  %has.extended = icmp uge i32 %extended.leaves, -2147483647
  %has.all = and i1 %has.seven, %has.extended
  %one = call { i32, i32, i32, i32 } @cpuid(i32 1)
  %c1 = extractvalue { i32, i32, i32, i32 } %one, 2
  %more = call { i32, i32, i32, i32 } @cpuid(i32 -2147483647)
  %ce.told = extractvalue { i32, i32, i32, i32 } %more, 2
  %ce = select i1 %has.extended, i32 %ce.told, i32 0
  ; SSE3 (0), SSSE3 (9), CMPXCHG16B (13), SSE4.1 (19), SSE4.2 (20), POPCNT (23); LAHF (0).
  %v2.bits = and i32 %c1, 9970177
  %v2.basic = icmp eq i32 %v2.bits, 9970177
  %lahf = trunc i32 %ce to i1
  %v2 = and i1 %v2.basic, %lahf
  br i1 %v2, label %second, label %first
first:
  ret i32 1
second:
  ; FMA (12), MOVBE (22), OSXSAVE (27), AVX (28), F16C (29); LZCNT (5).
  %v3.bits = and i32 %c1, 943722496
  %v3.basic = icmp eq i32 %v3.bits, 943722496
  %lzcnt.bit = and i32 %ce, 32
  %lzcnt = icmp ne i32 %lzcnt.bit, 0
  %v3.both = and i1 %v3.basic, %lzcnt
  %v3.told = and i1 %v3.both, %has.all
  br i1 %v3.told, label %wide, label %two
two:
  ret i32 2
wide:
  %seven = call { i32, i32, i32, i32 } @cpuid(i32 7)
  %b7 = extractvalue { i32, i32, i32, i32 } %seven, 1
  %saved = call { i32, i32 } asm sideeffect "xgetbv", "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}"(i32 0)
  %xcr0 = extractvalue { i32, i32 } %saved, 0
  ; BMI1 (3), AVX2 (5), BMI2 (8); the system saves xmm (1) and ymm (2).
  %v3.more = and i32 %b7, 296
  %v3.seven = icmp eq i32 %v3.more, 296
  %ymm.bits = and i32 %xcr0, 6
  %ymm = icmp eq i32 %ymm.bits, 6
  %v3 = and i1 %v3.seven, %ymm
  ; AVX512F (16), AVX512DQ (17), AVX512CD (28), AVX512BW (30), AVX512VL (31); masks and zmm too (5, 6, 7).
  %v4.bits = and i32 %b7, -805109760
  %v4.seven = icmp eq i32 %v4.bits, -805109760
  %zmm.bits = and i32 %xcr0, 230
  %zmm = icmp eq i32 %zmm.bits, 230
  %v4.told = and i1 %v4.seven, %zmm
  %v4 = and i1 %v3, %v4.told
  %of.three = select i1 %v3, i32 3, i32 2
  %level = select i1 %v4, i32 4, i32 %of.three
  ret i32 %level
}
