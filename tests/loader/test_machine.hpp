// Guest memory for the loader's tests, and short ways to look into it.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "loader/loader.hpp"
#include "mmu/guest_memory.hpp"
#include "tests/loader/image_builders.hpp"

namespace xenolith::loader::testing {

// 640 KiB of low RAM, 63 MiB from 1 MiB on, and 64 KiB of ROM below 1 MiB.
struct TestMemory {
    mmu::GuestMemory memory;

    TestMemory() {
        memory.add_ram({0}, 0xa0000, "low");
        memory.add_rom({0xf0000}, Bytes(0x10000), "firmware");
        memory.add_ram({0x100000}, 0x3f00000, "high");
    }
    Bytes read(std::uint64_t address, std::size_t size) const {
        Bytes bytes(size);
        EXPECT_TRUE(memory.read({address}, bytes)) << "at " << hexadecimal(address);
        return bytes;
    }
    std::uint64_t number(std::uint64_t address, std::size_t width) const { return get(read(address, width), 0, width); }
    std::string string(std::uint64_t address) const {
        std::string result;
        for (std::byte byte; (byte = read(address, 1)[0]) != std::byte{0}; ++address) {
            result.push_back(std::to_integer<char>(byte));
        }
        return result;
    }
};

inline ImageFile file(Bytes bytes, std::string name = "test.img") { return {std::move(name), std::move(bytes)}; }

// The error that a load ends in; a failure and an empty one if it succeeds.
inline LoadError error_of(const ImageFile& image, const LoadOptions& options, mmu::GuestMemory& memory) {
    try {
        (void)load(image, options, memory);
    } catch (const LoadError& error) {
        return error;
    }
    ADD_FAILURE() << "the image was loaded";
    return {LoadFailure::malformed, "", 0, "", ""};
}

}  // namespace xenolith::loader::testing
