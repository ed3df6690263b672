// What must hold of every load, however hostile the image: used by the mutation tests and by the fuzzer.
#pragma once

#include <string>

#include "loader/loader.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::loader::testing {

// Loads the image; a LoadError is fine if its message has the documented form, success if the entry state and
// the placed ranges make sense. Returns what was wrong, or an empty string.
std::string load_and_check(const ImageFile& image, const LoadOptions& options, mmu::GuestMemory& memory);

// Wrong if it is not one line `FILE: offset 0xNN: expected X, found Y`.
std::string check_message(const LoadError& error);

}  // namespace xenolith::loader::testing
