; Tensors of a caller that are not row-major: what memory they reach, and copies between them and memory that is row-major.
; Numbers have 64 bits on every target.
;
; A range is three numbers: where a tensor's memory begins, where it ends, and how many bytes its row-major copy takes. The
; last is 0 where the tensor is row-major itself.

; sparsec_tensor.
%view = type { ptr, ptr, ptr, i32, i32 }

; How far apart neighbours along an axis are, whichever way.
define i64 @strided_distance(ptr %strides, i64 %axis) nounwind {
  %at = getelementptr i64, ptr %strides, i64 %axis
  %stride = load i64, ptr %at
  %negative = icmp slt i64 %stride, 0
  %opposite = sub i64 0, %stride
  %distance = select i1 %negative, i64 %opposite, i64 %stride
  ret i64 %distance
}

; How many steps an axis has: one less than its extent.
define i64 @strided_steps(ptr %shape, i64 %axis) nounwind {
  %at = getelementptr i64, ptr %shape, i64 %axis
  %extent = load i64, ptr %at
  %steps = sub i64 %extent, 1
  ret i64 %steps
}

; Finds the range of a tensor that has strides and, all together, so many bytes. Returns SPARSEC_TOO_LARGE (9) where it
; reaches too far, and SPARSEC_BAD_STRIDES (10) where elements that must be distinct may share memory: an axis has to step
; over all that the axes with smaller steps reach.
define i32 @strided_layout(ptr %tensor, i64 %rank, i64 %element, i64 %bytes, i1 %distinct, ptr %range) nounwind {
entry:
  %data = load ptr, ptr %tensor
  %address = ptrtoint ptr %data to i64
  %shape.at = getelementptr %view, ptr %tensor, i32 0, i32 1
  %shape = load ptr, ptr %shape.at
  %strides.at = getelementptr %view, ptr %tensor, i32 0, i32 2
  %strides = load ptr, ptr %strides.at
  %end = add i64 %address, %bytes
  %end.at = getelementptr i64, ptr %range, i64 1
  %copy.at = getelementptr i64, ptr %range, i64 2
  store i64 %address, ptr %range
  store i64 %end, ptr %end.at
  store i64 0, ptr %copy.at
  %empty = icmp eq i64 %bytes, 0
  br i1 %empty, label %direct, label %order
order:
  ; Is it row-major? From the innermost axis outwards.
  %axis = phi i64 [ %rank, %entry ], [ %outer, %order.next ]
  %expected = phi i64 [ 1, %entry ], [ %expected.next, %order.next ]
  %ordered = icmp eq i64 %axis, 0
  br i1 %ordered, label %direct, label %order.axis
order.axis:
  %outer = sub i64 %axis, 1
  %extent.at = getelementptr i64, ptr %shape, i64 %outer
  %extent = load i64, ptr %extent.at
  %stride.at = getelementptr i64, ptr %strides, i64 %outer
  %stride = load i64, ptr %stride.at
  %single = icmp eq i64 %extent, 1
  %same = icmp eq i64 %stride, %expected
  %good = or i1 %single, %same
  br i1 %good, label %order.next, label %reach
order.next:
  %expected.next = mul i64 %expected, %extent
  br label %order
direct:
  ret i32 0
reach:
  ; The elements furthest before and behind the first.
  %r = phi i64 [ 0, %order.axis ], [ %r.next, %reach.next ]
  %before = phi i64 [ 0, %order.axis ], [ %before.next, %reach.next ]
  %behind = phi i64 [ 0, %order.axis ], [ %behind.next, %reach.next ]
  %reach.more = icmp ult i64 %r, %rank
  br i1 %reach.more, label %reach.axis, label %reached
reach.axis:
  %r.steps = call i64 @strided_steps(ptr %shape, i64 %r)
  %r.distance = call i64 @strided_distance(ptr %strides, i64 %r)
  %r.stride.at = getelementptr i64, ptr %strides, i64 %r
  %r.stride = load i64, ptr %r.stride.at
  %r.several = icmp ne i64 %r.steps, 0
  %r.beyond = icmp ugt i64 %r.distance, 2147483648
  %r.far = and i1 %r.several, %r.beyond
  %r.span = mul i64 %r.steps, %r.distance
  %r.backwards = icmp slt i64 %r.stride, 0
  %r.before = select i1 %r.backwards, i64 %r.span, i64 0
  %r.behind = select i1 %r.backwards, i64 0, i64 %r.span
  %before.next = add i64 %before, %r.before
  %behind.next = add i64 %behind, %r.behind
  %both = add i64 %before.next, %behind.next
  %wide = icmp ugt i64 %both, 288230376151711744
  %refused = or i1 %r.far, %wide
  %r.next = add i64 %r, 1
  br i1 %refused, label %far, label %reach.next
reach.next:
  br label %reach
far:
  ret i32 9
reached:
  br i1 %distinct, label %axes, label %strided
axes:
  %a = phi i64 [ 0, %reached ], [ %a.next, %axes.next ]
  %axes.more = icmp ult i64 %a, %rank
  br i1 %axes.more, label %axes.axis, label %strided
axes.axis:
  %a.steps = call i64 @strided_steps(ptr %shape, i64 %a)
  %a.distance = call i64 @strided_distance(ptr %strides, i64 %a)
  %a.single = icmp eq i64 %a.steps, 0
  br i1 %a.single, label %axes.next, label %inner
inner:
  %b = phi i64 [ 0, %axes.axis ], [ %b.next, %inner.axis ]
  %inside = phi i64 [ 0, %axes.axis ], [ %inside.next, %inner.axis ]
  %inner.more = icmp ult i64 %b, %rank
  br i1 %inner.more, label %inner.axis, label %inner.done
inner.axis:
  %b.steps = call i64 @strided_steps(ptr %shape, i64 %b)
  %b.distance = call i64 @strided_distance(ptr %strides, i64 %b)
  %closer = icmp ult i64 %b.distance, %a.distance
  %equal = icmp eq i64 %b.distance, %a.distance
  %later = icmp ugt i64 %b, %a
  %tie = and i1 %equal, %later
  %counts = or i1 %closer, %tie
  %b.span = mul i64 %b.steps, %b.distance
  %b.inside = select i1 %counts, i64 %b.span, i64 0
  %inside.next = add i64 %inside, %b.inside
  %b.next = add i64 %b, 1
  br label %inner
inner.done:
  %steps.over = icmp ult i64 %inside, %a.distance
  br i1 %steps.over, label %axes.next, label %shared
axes.next:
  %a.next = add i64 %a, 1
  br label %axes
shared:
  ret i32 10
strided:
  %before.bytes = mul i64 %before, %element
  %start = sub i64 %address, %before.bytes
  %last = add i64 %behind, 1
  %behind.bytes = mul i64 %last, %element
  %stop = add i64 %address, %behind.bytes
  %more = add i64 %bytes, 63
  %rounded = and i64 %more, -64
  store i64 %start, ptr %range
  store i64 %stop, ptr %end.at
  store i64 %rounded, ptr %copy.at
  ret i32 0
}

; Copies elements, which are so many bytes apart on either side.
define void @strided_row(ptr %to, i64 %to.step, ptr %from, i64 %from.step, i64 %count, i64 %size) nounwind {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %copied ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %copy, label %done
copy:
  %to.offset = mul i64 %i, %to.step
  %from.offset = mul i64 %i, %from.step
  %there = getelementptr i8, ptr %to, i64 %to.offset
  %here = getelementptr i8, ptr %from, i64 %from.offset
  switch i64 %size, label %bytes [
    i64 2, label %two
    i64 4, label %four
    i64 8, label %eight
  ]
two:
  %value2 = load i16, ptr %here, align 2
  store i16 %value2, ptr %there, align 2
  br label %copied
four:
  %value4 = load i32, ptr %here, align 4
  store i32 %value4, ptr %there, align 4
  br label %copied
eight:
  %value8 = load i64, ptr %here, align 8
  store i64 %value8, ptr %there, align 8
  br label %copied
bytes:
  ; One, or those of a text.
  %b = phi i64 [ 0, %copy ], [ %b.next, %byte ]
  %b.more = icmp ult i64 %b, %size
  br i1 %b.more, label %byte, label %copied
byte:
  %b.here = getelementptr i8, ptr %here, i64 %b
  %b.there = getelementptr i8, ptr %there, i64 %b
  %value = load i8, ptr %b.here
  store i8 %value, ptr %b.there
  %b.next = add i64 %b, 1
  br label %bytes
copied:
  %next = add i64 %i, 1
  br label %loop
done:
  ret void
}

; Copies the elements of a tensor to row-major memory, or back (`out`). `shape` is what is copied, at the front of what the
; tensor has; `index` has room for a number for each of its axes, of which there is one at least.
define void @strided_copy(ptr %tensor, ptr %shape, ptr %dense, i64 %size, i1 %out, ptr %index) nounwind {
entry:
  %data = load ptr, ptr %tensor
  %strides.at = getelementptr %view, ptr %tensor, i32 0, i32 2
  %strides = load ptr, ptr %strides.at
  %rank.at = getelementptr %view, ptr %tensor, i32 0, i32 3
  %rank.told = load i32, ptr %rank.at
  %rank = zext i32 %rank.told to i64
  %last = sub i64 %rank, 1
  %row.at = getelementptr i64, ptr %shape, i64 %last
  %row = load i64, ptr %row.at
  %row.bytes = mul i64 %row, %size
  %step.at = getelementptr i64, ptr %strides, i64 %last
  %step = load i64, ptr %step.at
  %step.bytes = mul i64 %step, %size
  %to.step = select i1 %out, i64 %step.bytes, i64 %size
  %from.step = select i1 %out, i64 %size, i64 %step.bytes
  br label %clear
clear:
  ; Counters from 0; nothing is copied where an extent is 0.
  %c = phi i64 [ 0, %entry ], [ %c.next, %clear.axis ]
  %clear.more = icmp ult i64 %c, %rank
  br i1 %clear.more, label %clear.axis, label %copy
clear.axis:
  %c.at = getelementptr i64, ptr %index, i64 %c
  store i64 0, ptr %c.at
  %c.extent.at = getelementptr i64, ptr %shape, i64 %c
  %c.extent = load i64, ptr %c.extent.at
  %c.next = add i64 %c, 1
  %nothing = icmp eq i64 %c.extent, 0
  br i1 %nothing, label %done, label %clear
copy:
  %here = phi ptr [ %data, %clear ], [ %moved, %stay ]
  %there = phi ptr [ %dense, %clear ], [ %there.next, %stay ]
  %to = select i1 %out, ptr %here, ptr %there
  %from = select i1 %out, ptr %there, ptr %here
  call void @strided_row(ptr %to, i64 %to.step, ptr %from, i64 %from.step, i64 %row, i64 %size)
  %there.next = getelementptr i8, ptr %there, i64 %row.bytes
  br label %carry
carry:
  ; On to the next row: the innermost axis but one that has a place left.
  %inner = phi i64 [ %last, %copy ], [ %axis, %wrap ]
  %place = phi ptr [ %here, %copy ], [ %back, %wrap ]
  %over = icmp eq i64 %inner, 0
  br i1 %over, label %done, label %advance
advance:
  %axis = sub i64 %inner, 1
  %at = getelementptr i64, ptr %index, i64 %axis
  %count = load i64, ptr %at
  %count.next = add i64 %count, 1
  store i64 %count.next, ptr %at
  %stride.at = getelementptr i64, ptr %strides, i64 %axis
  %stride = load i64, ptr %stride.at
  %stride.bytes = mul i64 %stride, %size
  %moved = getelementptr i8, ptr %place, i64 %stride.bytes
  %extent.at = getelementptr i64, ptr %shape, i64 %axis
  %extent = load i64, ptr %extent.at
  %within = icmp ult i64 %count.next, %extent
  br i1 %within, label %stay, label %wrap
stay:
  br label %copy
wrap:
  store i64 0, ptr %at
  %all = mul i64 %extent, %stride.bytes
  %none = sub i64 0, %all
  %back = getelementptr i8, ptr %moved, i64 %none
  br label %carry
done:
  ret void
}
