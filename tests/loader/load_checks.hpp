// What must hold of every load, however hostile the image: used by the mutation tests and by the fuzzer.
#pragma once

#include <string>

#include "loader/loader.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::loader::testing {

struct CheckedLoad {
    bool loaded = false;  // or refused with a LoadError
    std::string wrong;    // what must not have been so; empty if all is well
};

// Loads the image. A LoadError is fine if its message has the documented form; success, if the entry state
// and the placed ranges make sense.
CheckedLoad load_and_check(const ImageFile& image, const LoadOptions& options, mmu::GuestMemory& memory);

// Wrong if it is not one line `FILE: offset 0xNN: expected X, found Y`.
std::string check_message(const LoadError& error);

}  // namespace xenolith::loader::testing
