#include "machine/guests/guests.hpp"

#include <algorithm>
#include <array>

// The bytes the assembler made of this folder's .S files.
extern "C" {
extern const std::byte xenolith_guest_real16_begin[], xenolith_guest_real16_end[];
extern const std::byte xenolith_guest_protected32_begin[], xenolith_guest_protected32_end[];
extern const std::byte xenolith_guest_pae32_begin[], xenolith_guest_pae32_end[];
extern const std::byte xenolith_guest_long64_begin[], xenolith_guest_long64_end[];
extern const std::byte xenolith_guest_compatibility32_begin[], xenolith_guest_compatibility32_end[];
}

namespace xenolith::machine {

loader::ImageFile BuiltInGuest::image() const {
    return {std::string("built-in guest ") + std::string(name), {bytes.begin(), bytes.end()}};
}

std::span<const BuiltInGuest> built_in_guests() {
    using loader::Format;
    static const std::array guests = {
        BuiltInGuest{"real16",
                     "16-bit real mode",
                     Format::flat16,
                     true,
                     {xenolith_guest_real16_begin, xenolith_guest_real16_end}},
        BuiltInGuest{"protected32",
                     "32-bit protected mode",
                     Format::flat32,
                     false,
                     {xenolith_guest_protected32_begin, xenolith_guest_protected32_end}},
        BuiltInGuest{"pae32",
                     "32-bit protected mode with PAE paging",
                     Format::flat32,
                     false,
                     {xenolith_guest_pae32_begin, xenolith_guest_pae32_end}},
        BuiltInGuest{"long64",
                     "64-bit long mode",
                     Format::flat64,
                     false,
                     {xenolith_guest_long64_begin, xenolith_guest_long64_end}},
        BuiltInGuest{"compatibility32",
                     "32-bit compatibility code under long mode",
                     Format::flat64,
                     false,
                     {xenolith_guest_compatibility32_begin, xenolith_guest_compatibility32_end}},
    };
    return guests;
}

const BuiltInGuest* find_guest(std::string_view name) {
    const std::span<const BuiltInGuest> guests = built_in_guests();
    const auto found = std::ranges::find(guests, name, &BuiltInGuest::name);
    return found == guests.end() ? nullptr : &*found;
}

}  // namespace xenolith::machine
