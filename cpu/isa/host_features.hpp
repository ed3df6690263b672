// What the host's CPU must have for rows that leave an operation to it.
#pragma once

#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

// False only for a feature whose rows need host instructions that this host lacks. SSE4.2 is taken for
// granted.
bool host_has(Feature feature);

}  // namespace xenolith::cpu
