// The encodings of MOV that reach segment, control and debug registers: the row of MOV asks here for them.
#pragma once

#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

// MOV to and from a segment register, in cpu/isa/segment.cpp.
Execute select_segment_move(const Shape& shape);
// MOV to and from a control or debug register, in cpu/isa/system.cpp.
Execute select_control_move(const Shape& shape);

}  // namespace xenolith::cpu
