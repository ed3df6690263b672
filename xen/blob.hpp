// Blobs: hypercall pages as files and as bytes, checked, made and described.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "xen/hypercall_page.hpp"

namespace xenolith::xen {

inline constexpr unsigned maximum_blob_pages = 255;  // HvmConfig's sizes are one byte

// What is wrong with a blob file, in one line: the file, the offset, what was expected there.
class BlobError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// The built-in blob of `pages` pages (1..255; std::invalid_argument otherwise). The same bytes serve as the
// 32-bit and as the 64-bit blob.
std::vector<std::byte> make_blob(StubKind kind, unsigned pages = 1);

// Throws BlobError unless the bytes are 1..255 whole pages. `name` is the file's, for the message.
void check_blob(std::span<const std::byte> bytes, std::string_view name);

// Reads a whole blob file and checks it. Never reads more than 255 pages and a byte, whatever the file is.
std::vector<std::byte> load_blob(const std::filesystem::path& file);
void save_blob(const std::filesystem::path& file, std::span<const std::byte> bytes);

// Pages of a blob that check_blob accepts, as HvmConfig counts them.
constexpr std::uint8_t blob_pages(std::span<const std::byte> bytes) {
    return static_cast<std::uint8_t>(bytes.size() / mmu::page_size);
}

struct FormattedInstruction {
    std::string text;
    unsigned length = 0;  // bytes; 0 says that the bytes are no instruction
};

// Formats the one instruction that starts at bytes[0], which lies at `rip` in code of `width` bits (16, 32,
// 64). Handed in, because xen/ knows no decoder.
using InstructionFormatter =
    std::function<FormattedInstruction(std::span<const std::byte> bytes, unsigned width, std::uint64_t rip)>;

struct SlotInstruction {
    std::size_t offset;                // in the blob, in bytes
    std::span<const std::byte> bytes;  // within the blob handed in
    std::string text;
};

struct BlobSlot {
    std::uint32_t number;                       // of the hypercall that a guest calls here
    std::string_view name;                      // its name; empty if Xen gives the number none
    std::size_t offset;                         // in the blob, in bytes
    std::span<const std::byte> bytes;           // the slot's 32 bytes, within the blob handed in
    std::vector<SlotInstruction> instructions;  // up to the fill (0xcc) that ends the slot
};

// The blob's slots in order, without those that hold nothing but fill. `rip` is where the blob would lie.
std::vector<BlobSlot> describe_blob(std::span<const std::byte> blob, unsigned width,
                                    const InstructionFormatter& formatter, std::uint64_t rip = 0);

// "b8 11 00 00 00": lower-case, separated by spaces.
std::string hex_bytes(std::span<const std::byte> bytes);

}  // namespace xenolith::xen
