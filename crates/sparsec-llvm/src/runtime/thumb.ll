; What LLVM calls on Armv7E-M with a single-precision floating-point unit, as the run-time ABI for the Arm architecture
; (RTABI) and C99 define it. Helpers of the RTABI take and return floats in integer registers. No function calls
; another one by name: what its own operations need is looked up like everything else.

; Memory. The variants for aligned memory do the same.

define arm_aapcscc void @__aeabi_memcpy(ptr %to, ptr %from, i32 %bytes) nounwind {
entry:
  %addresses = ptrtoint ptr %to to i32
  %other = ptrtoint ptr %from to i32
  %both = or i32 %addresses, %other
  %odd = and i32 %both, 3
  %aligned = icmp eq i32 %odd, 0
  %rounded = and i32 %bytes, -4
  %words = select i1 %aligned, i32 %rounded, i32 0
  br label %word
word:
  %i = phi i32 [ 0, %entry ], [ %i.next, %word.copy ]
  %word.more = icmp ult i32 %i, %words
  br i1 %word.more, label %word.copy, label %byte
word.copy:
  %word.from = getelementptr i8, ptr %from, i32 %i
  %word.to = getelementptr i8, ptr %to, i32 %i
  %word.value = load i32, ptr %word.from, align 4
  store i32 %word.value, ptr %word.to, align 4
  %i.next = add i32 %i, 4
  br label %word
byte:
  %j = phi i32 [ %words, %word ], [ %j.next, %byte.copy ]
  %byte.more = icmp ult i32 %j, %bytes
  br i1 %byte.more, label %byte.copy, label %done
byte.copy:
  %byte.from = getelementptr i8, ptr %from, i32 %j
  %byte.to = getelementptr i8, ptr %to, i32 %j
  %byte.value = load i8, ptr %byte.from, align 1
  store i8 %byte.value, ptr %byte.to, align 1
  %j.next = add i32 %j, 1
  br label %byte
done:
  ret void
}

define arm_aapcscc void @__aeabi_memcpy4(ptr %to, ptr %from, i32 %bytes) nounwind {
  call void @llvm.memcpy.p0.p0.i32(ptr align 1 %to, ptr align 1 %from, i32 %bytes, i1 false)
  ret void
}

define arm_aapcscc void @__aeabi_memcpy8(ptr %to, ptr %from, i32 %bytes) nounwind {
  call void @llvm.memcpy.p0.p0.i32(ptr align 1 %to, ptr align 1 %from, i32 %bytes, i1 false)
  ret void
}

define arm_aapcscc void @__aeabi_memmove(ptr %to, ptr %from, i32 %bytes) nounwind {
entry:
  %to.address = ptrtoint ptr %to to i32
  %from.address = ptrtoint ptr %from to i32
  %distance = sub i32 %to.address, %from.address
  %forwards = icmp uge i32 %distance, %bytes
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %i.next, %copy ]
  %more = icmp ult i32 %i, %bytes
  br i1 %more, label %copy, label %done
copy:
  %i.next = add i32 %i, 1
  %mirrored = sub i32 %bytes, %i.next
  %at = select i1 %forwards, i32 %i, i32 %mirrored
  %source = getelementptr i8, ptr %from, i32 %at
  %target = getelementptr i8, ptr %to, i32 %at
  %value = load i8, ptr %source, align 1
  store i8 %value, ptr %target, align 1
  br label %loop
done:
  ret void
}

define arm_aapcscc void @__aeabi_memmove4(ptr %to, ptr %from, i32 %bytes) nounwind {
  call void @llvm.memmove.p0.p0.i32(ptr align 1 %to, ptr align 1 %from, i32 %bytes, i1 false)
  ret void
}

define arm_aapcscc void @__aeabi_memmove8(ptr %to, ptr %from, i32 %bytes) nounwind {
  call void @llvm.memmove.p0.p0.i32(ptr align 1 %to, ptr align 1 %from, i32 %bytes, i1 false)
  ret void
}

define arm_aapcscc void @__aeabi_memset(ptr %to, i32 %bytes, i32 %value) nounwind {
entry:
  %byte = trunc i32 %value to i8
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %i.next, %fill ]
  %more = icmp ult i32 %i, %bytes
  br i1 %more, label %fill, label %done
fill:
  %target = getelementptr i8, ptr %to, i32 %i
  store i8 %byte, ptr %target, align 1
  %i.next = add i32 %i, 1
  br label %loop
done:
  ret void
}

define arm_aapcscc void @__aeabi_memset4(ptr %to, i32 %bytes, i32 %value) nounwind {
  %byte = trunc i32 %value to i8
  call void @llvm.memset.p0.i32(ptr align 1 %to, i8 %byte, i32 %bytes, i1 false)
  ret void
}

define arm_aapcscc void @__aeabi_memset8(ptr %to, i32 %bytes, i32 %value) nounwind {
  %byte = trunc i32 %value to i8
  call void @llvm.memset.p0.i32(ptr align 1 %to, i8 %byte, i32 %bytes, i1 false)
  ret void
}

define arm_aapcscc void @__aeabi_memclr(ptr %to, i32 %bytes) nounwind {
entry:
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %i.next, %fill ]
  %more = icmp ult i32 %i, %bytes
  br i1 %more, label %fill, label %done
fill:
  %target = getelementptr i8, ptr %to, i32 %i
  store i8 0, ptr %target, align 1
  %i.next = add i32 %i, 1
  br label %loop
done:
  ret void
}

define arm_aapcscc void @__aeabi_memclr4(ptr %to, i32 %bytes) nounwind {
  call void @llvm.memset.p0.i32(ptr align 1 %to, i8 0, i32 %bytes, i1 false)
  ret void
}

define arm_aapcscc void @__aeabi_memclr8(ptr %to, i32 %bytes) nounwind {
  call void @llvm.memset.p0.i32(ptr align 1 %to, i8 0, i32 %bytes, i1 false)
  ret void
}

declare void @llvm.memcpy.p0.p0.i32(ptr, ptr, i32, i1)
declare void @llvm.memmove.p0.p0.i32(ptr, ptr, i32, i1)
declare void @llvm.memset.p0.i32(ptr, i8, i32, i1)

; Division of 64 bits: quotient and remainder. Where both fit in 32 bits, which is nearly always, it is the CPU's; otherwise
; one bit of the quotient after the other.

define arm_aapcscc { i64, i64 } @__aeabi_uldivmod(i64 %x, i64 %y) nounwind {
entry:
  %both = or i64 %x, %y
  %narrow = icmp ult i64 %both, 4294967296
  br i1 %narrow, label %short, label %long
short:
  %x32 = trunc i64 %x to i32
  %y32 = trunc i64 %y to i32
  %q32 = udiv i32 %x32, %y32
  %p32 = mul i32 %q32, %y32
  %r32 = sub i32 %x32, %p32
  %q.short = zext i32 %q32 to i64
  %r.short = zext i32 %r32 to i64
  br label %done
long:
  %less = icmp ult i64 %x, %y
  br i1 %less, label %done, label %start
start:
  %zeros.x = call i64 @llvm.ctlz.i64(i64 %x, i1 false)
  %zeros.y = call i64 @llvm.ctlz.i64(i64 %y, i1 false)
  %shift = sub i64 %zeros.y, %zeros.x
  %top = shl i64 %y, %shift
  br label %loop
loop:
  %left = phi i64 [ %shift, %start ], [ %left.next, %loop ]
  %part = phi i64 [ %top, %start ], [ %part.next, %loop ]
  %r = phi i64 [ %x, %start ], [ %r.next, %loop ]
  %q = phi i64 [ 0, %start ], [ %q.next, %loop ]
  %fits = icmp uge i64 %r, %part
  %taken = select i1 %fits, i64 %part, i64 0
  %r.next = sub i64 %r, %taken
  %doubled = shl i64 %q, 1
  %bit = zext i1 %fits to i64
  %q.next = or i64 %doubled, %bit
  %part.next = lshr i64 %part, 1
  %left.next = sub i64 %left, 1
  %last = icmp eq i64 %left, 0
  br i1 %last, label %done, label %loop
done:
  %q.all = phi i64 [ %q.short, %short ], [ 0, %long ], [ %q.next, %loop ]
  %r.all = phi i64 [ %r.short, %short ], [ %x, %long ], [ %r.next, %loop ]
  %first = insertvalue { i64, i64 } poison, i64 %q.all, 0
  %pair = insertvalue { i64, i64 } %first, i64 %r.all, 1
  ret { i64, i64 } %pair
}

define arm_aapcscc { i64, i64 } @__aeabi_ldivmod(i64 %x, i64 %y) nounwind {
  %sign.x = ashr i64 %x, 63
  %sign.y = ashr i64 %y, 63
  %flipped.x = xor i64 %x, %sign.x
  %flipped.y = xor i64 %y, %sign.y
  %size.x = sub i64 %flipped.x, %sign.x
  %size.y = sub i64 %flipped.y, %sign.y
  %q.size = udiv i64 %size.x, %size.y
  %r.size = urem i64 %size.x, %size.y
  %sign.q = xor i64 %sign.x, %sign.y
  %q.flipped = xor i64 %q.size, %sign.q
  %q = sub i64 %q.flipped, %sign.q
  %r.flipped = xor i64 %r.size, %sign.x
  %r = sub i64 %r.flipped, %sign.x
  %first = insertvalue { i64, i64 } poison, i64 %q, 0
  %pair = insertvalue { i64, i64 } %first, i64 %r, 1
  ret { i64, i64 } %pair
}

declare i64 @llvm.ctlz.i64(i64, i1)

; 64-bit integers to floats, rounded to the nearest, halves to even: the 24 highest bits, and what is below them.

define arm_aapcscc i32 @__aeabi_ul2f(i64 %x) nounwind {
  %zero = icmp eq i64 %x, 0
  %zeros = call i64 @llvm.ctlz.i64(i64 %x, i1 false)
  %amount = and i64 %zeros, 63
  %moved = shl i64 %x, %amount
  %kept = lshr i64 %moved, 40
  %mantissa = trunc i64 %kept to i32
  %rest = and i64 %moved, 1099511627775
  %zeros32 = trunc i64 %zeros to i32
  ; The mantissa's highest bit adds one to the exponent.
  %exponent = sub i32 189, %zeros32
  %placed = shl i32 %exponent, 23
  %below = add i32 %placed, %mantissa
  %odd = and i64 %kept, 1
  %sticky = or i64 %rest, %odd
  %up = icmp ugt i64 %sticky, 549755813888
  %carry = zext i1 %up to i32
  %rounded = add i32 %below, %carry
  %result = select i1 %zero, i32 0, i32 %rounded
  ret i32 %result
}

define arm_aapcscc i32 @__aeabi_l2f(i64 %x) nounwind {
  %sign = ashr i64 %x, 63
  %flipped = xor i64 %x, %sign
  %size = sub i64 %flipped, %sign
  %float = uitofp i64 %size to float
  %bits = bitcast float %float to i32
  %sign32 = trunc i64 %sign to i32
  %top = and i32 %sign32, -2147483648
  %result = or i32 %bits, %top
  ret i32 %result
}

; Floats to 64-bit integers, towards zero. What is out of range is not defined, and caught by the caller.

define arm_aapcscc i64 @__aeabi_f2ulz(i32 %bits) nounwind {
  %shifted = lshr i32 %bits, 23
  %biased = and i32 %shifted, 255
  %small = icmp ult i32 %biased, 127
  %fraction = and i32 %bits, 8388607
  %mantissa32 = or i32 %fraction, 8388608
  %mantissa = zext i32 %mantissa32 to i64
  %exponent = sub i32 %biased, 150
  %left = icmp sge i32 %exponent, 0
  %left.by = and i32 %exponent, 63
  %left.by64 = zext i32 %left.by to i64
  %larger = shl i64 %mantissa, %left.by64
  %negated = sub i32 0, %exponent
  %right.by = and i32 %negated, 63
  %right.by64 = zext i32 %right.by to i64
  %smaller = lshr i64 %mantissa, %right.by64
  %size = select i1 %left, i64 %larger, i64 %smaller
  %result = select i1 %small, i64 0, i64 %size
  ret i64 %result
}

define arm_aapcscc i64 @__aeabi_f2lz(i32 %bits) nounwind {
  %size.bits = and i32 %bits, 2147483647
  %size.float = bitcast i32 %size.bits to float
  %size = fptoui float %size.float to i64
  %negative = icmp slt i32 %bits, 0
  %negated = sub i64 0, %size
  %result = select i1 %negative, i64 %negated, i64 %size
  ret i64 %result
}

; C's roundings. Beyond 2^23 every float is a whole number; NaN is not below it either, and comes back as it is.

define float @floorf(float %x) nounwind {
  %size = call float @llvm.fabs.f32(float %x)
  %small = fcmp olt float %size, 0x4160000000000000
  %whole = fptosi float %x to i32
  %towards.zero = sitofp i32 %whole to float
  %above = fcmp ogt float %towards.zero, %x
  %less = fsub float %towards.zero, 1.0
  %floor = select i1 %above, float %less, float %towards.zero
  %signed = call float @llvm.copysign.f32(float %floor, float %x)
  %result = select i1 %small, float %signed, float %x
  ret float %result
}

define float @ceilf(float %x) nounwind {
  %size = call float @llvm.fabs.f32(float %x)
  %small = fcmp olt float %size, 0x4160000000000000
  %whole = fptosi float %x to i32
  %towards.zero = sitofp i32 %whole to float
  %below = fcmp olt float %towards.zero, %x
  %more = fadd float %towards.zero, 1.0
  %ceil = select i1 %below, float %more, float %towards.zero
  %signed = call float @llvm.copysign.f32(float %ceil, float %x)
  %result = select i1 %small, float %signed, float %x
  ret float %result
}

; To the nearest whole number, halves to even: the sum with 2^23 has no room for a fraction.
define float @roundevenf(float %x) nounwind {
  %size = call float @llvm.fabs.f32(float %x)
  %small = fcmp olt float %size, 0x4160000000000000
  %sum = fadd float %size, 0x4160000000000000
  %nearest = fsub float %sum, 0x4160000000000000
  %signed = call float @llvm.copysign.f32(float %nearest, float %x)
  %result = select i1 %small, float %signed, float %x
  ret float %result
}

declare float @llvm.fabs.f32(float)
declare float @llvm.copysign.f32(float, float)
