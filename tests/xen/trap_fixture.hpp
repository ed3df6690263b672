// A guest of four kinds of memory and a user process with a blob, around a trap core of any profile.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "mmu/guest_memory.hpp"
#include "xen/blob.hpp"
#include "xen/blob_memory.hpp"
#include "xen/error_numbers.hpp"
#include "xen/trap_core.hpp"

namespace xenolith::xen {

class TrapFixture : public testing::TestWithParam<const Profile*> {
  protected:
    static constexpr std::uint32_t msr = 0x40000000;
    static constexpr std::uint64_t page = mmu::page_size;
    static constexpr std::uint64_t blob32 = 0x7f00'0000'0000;  // user addresses
    static constexpr std::uint64_t blob64 = 0x7f10'0000'0000;
    static constexpr std::uint8_t pages32 = 2;
    static constexpr std::uint8_t pages64 = 3;

    static constexpr mmu::GuestPhysical ram{0x10000};
    static constexpr std::uint64_t ram_size = 0x10000;
    static constexpr mmu::GuestPhysical high_ram{0x1'0000'0000};
    static constexpr mmu::GuestPhysical rom{0xf0000};
    static constexpr mmu::GuestPhysical device{0xfee00000};
    static constexpr mmu::GuestPhysical hole{0x80000};

    static constexpr unsigned untouched = 0x5a;  // what guest RAM is full of

    TrapFixture() {
        memory.add_ram(ram, ram_size, "low");
        memory.add_ram(high_ram, page, "high");
        memory.add_rom(rom, std::vector<std::byte>(page, std::byte{untouched}), "firmware");
        memory.add_device(device, page, "lapic");
        const std::vector<std::byte> pattern(ram_size, std::byte{untouched});
        memory.write(ram, pattern);
        memory.write(high_ram, std::span(pattern).first(page));
        // Page n of a blob is full of n, plus 0x32 or 0x64.
        for (unsigned n = 0; n < pages32; ++n) blobs.map(blob32 + n * page, full(0x32 + n));
        for (unsigned n = 0; n < pages64; ++n) blobs.map(blob64 + n * page, full(0x64 + n));
    }

    static std::vector<std::byte> full(unsigned value) { return std::vector(page, std::byte(value)); }

    static HvmConfig blob_config() {
        HvmConfig config;
        config.msr = msr;
        config.blob_addr_32 = blob32;
        config.blob_addr_64 = blob64;
        config.blob_size_32 = pages32;
        config.blob_size_64 = pages64;
        return config;
    }
    static HvmConfig intercept_config() {
        HvmConfig config;
        config.flags = hvm_config_flag::intercept_hcall;
        config.msr = msr;
        return config;
    }
    static MsrWrite guest_write(std::uint64_t value, bool long_mode = true) {
        MsrWrite write;
        write.index = msr;
        write.value = value;
        write.long_mode_active = long_mode;
        return write;
    }

    const Profile& profile() const { return *GetParam(); }

    // All bytes of the page if they are the same, else -1; -2 if it cannot be read.
    int page_value(mmu::GuestPhysical address) const {
        std::array<std::byte, page> bytes;
        if (!memory.read(address, bytes)) return -2;
        for (const std::byte byte : bytes) {
            if (byte != bytes[0]) return -1;
        }
        return std::to_integer<int>(bytes[0]);
    }
    bool guest_memory_untouched() const {
        for (std::uint64_t offset = 0; offset < ram_size; offset += page) {
            if (page_value(ram + offset) != untouched) return false;
        }
        return page_value(high_ram) == untouched && page_value(rom) == untouched;
    }

    mmu::GuestMemory memory;
    HostBlobMemory blobs;
    TrapCore trap{*GetParam(), memory, blobs};
};

inline auto every_profile() {
    std::vector<const Profile*> all;
    for (const Profile& profile : profiles()) all.push_back(&profile);
    return testing::ValuesIn(all);
}

inline std::string profile_test_name(const testing::TestParamInfo<const Profile*>& info) {
    std::string name(info.param->name);
    for (char& letter : name) {
        if (letter == '-' || letter == '.') letter = '_';
    }
    return name;
}

}  // namespace xenolith::xen
