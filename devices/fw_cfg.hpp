// QEMU's firmware configuration device: what the machine tells its firmware, as numbered items and named files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/device.hpp"

namespace xenolith::devices {

// Two ports: at offset 0 the selector, written as a 16-bit word; at offset 1 the chosen item, read byte by byte from
// its beginning. There is no DMA, and nothing can be written: the item `id` says so.
class FwCfg final : public PortDevice {
  public:
    static constexpr std::uint16_t port_count = 2;
    static constexpr std::size_t longest_name = 55;  // bytes of a file's name
    static constexpr std::size_t most_files = 0x1000;

    struct State {
        std::uint16_t selector = 0;
        std::uint64_t offset = 0;  // of the byte that is read next
    };

    // An image and where firmware is to put it.
    struct Blob {
        std::uint32_t address = 0;
        std::vector<std::byte> bytes;
    };

    // `ram` in bytes.
    FwCfg(std::uint64_t ram, std::uint16_t processors);

    // The protected-mode kernel, its real-mode setup code, the initial RAM disk and the command line, as firmware that
    // starts Linux itself asks for them. std::length_error if 32 bits cannot say the size.
    void set_kernel(Blob kernel, std::uint32_t entry);
    void set_setup(Blob setup);
    void set_initrd(Blob initrd);
    void set_command_line(std::uint32_t address, std::string_view text);
    // An item that replaces the one with its key. Numbers are little-endian. std::invalid_argument for a key with
    // bit 14, which no selector reaches, and for the key of a file.
    void set_item(std::uint16_t key, std::vector<std::byte> bytes);
    void set_item16(std::uint16_t key, std::uint16_t value);
    void set_item32(std::uint16_t key, std::uint32_t value);
    void set_item64(std::uint16_t key, std::uint64_t value);
    // A file that the guest finds by name in the directory. std::invalid_argument if the name is empty, too long or
    // taken; std::length_error if the directory is full or 32 bits cannot say the size.
    void add_file(std::string_view name, std::vector<std::byte> bytes);

    std::uint32_t read(std::uint16_t offset, unsigned width) override;
    void write(std::uint16_t offset, unsigned width, std::uint32_t value) override;

    // Items stay; the selection goes.
    void reset() { state_ = {}; }
    State save() const { return state_; }
    void restore(const State& state) { state_ = state; }
    // For snapshots: every item, files included, by its key.
    void restore_item(std::uint16_t key, std::vector<std::byte> bytes) { items_[key] = std::move(bytes); }
    const std::map<std::uint16_t, std::vector<std::byte>>& items() const { return items_; }

  private:
    struct File {
        std::string name;
        std::uint16_t key = 0;
        std::uint32_t size = 0;
    };

    void set_blob(std::uint16_t address_key, std::uint16_t size_key, std::uint16_t data_key, Blob blob);
    void write_directory();

    std::map<std::uint16_t, std::vector<std::byte>> items_;
    std::vector<File> files_;
    State state_;
};

}  // namespace xenolith::devices
