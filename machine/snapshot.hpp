// A whole machine in a file: what it is made of, the state of everything in it, and its memory.
//
//     8 bytes   "XENOSNAP"
//     4         the format's version
//     4         CRC-32 of all that follows
//     then sections: 4 bytes of name, 8 of length, and that many bytes
//       "MACH"  how the machine is built: memory, CPU model, timing, Xen configuration
//       "STAT"  CPU, engine, clock, trap and devices
//       "PAGE"  pages of RAM that are not all zeros: number and bytes, compressed by zlib
//
// Numbers are little-endian. Versions are not converted: a file of another one is refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

#include "loader/image_file.hpp"
#include "machine/machine.hpp"
#include "machine/machine_state.hpp"

namespace xenolith::machine {

inline constexpr std::uint32_t snapshot_version = 1;

// Between two runs. The file is there whole or not at all; std::runtime_error if it cannot be written.
void save_snapshot(Machine& machine, const std::filesystem::path& path);

class Snapshot {
  public:
    // loader::LoadError names the file, the offset and what was expected.
    static Snapshot read(const std::filesystem::path& path);
    static Snapshot parse(loader::ImageFile file);

    // How to build the machine that it is restored into. The engine is the caller's choice.
    const MachineOptions& options() const { return options_; }
    // Into a machine of these options that has not run yet. loader::LoadError if a state cannot be.
    void restore(Machine& machine) const;

  private:
    explicit Snapshot(loader::ImageFile file) : file_(std::move(file)) {}
    // `offset` counts from the section's first byte.
    [[noreturn]] void refuse(std::uint64_t section, std::uint64_t offset, std::string_view expected) const;

    loader::ImageFile file_;
    std::uint64_t state_offset_ = 0, pages_offset_ = 0;  // in the file
    MachineOptions options_;
    MachineState state_;
};

}  // namespace xenolith::machine
