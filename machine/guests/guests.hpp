// The built-in guests: small programs, one per operating mode, that do the whole hypercall set-up.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "loader/loader.hpp"

namespace xenolith::machine {

struct BuiltInGuest {
    std::string_view name;
    std::string_view description;
    loader::Format format;
    bool needs_doorbell;  // its code is 16-bit, which only doorbell stubs are fit for
    std::span<const std::byte> bytes;

    loader::ImageFile image() const;
};

std::span<const BuiltInGuest> built_in_guests();
// Null for an unknown name.
const BuiltInGuest* find_guest(std::string_view name);

}  // namespace xenolith::machine
