#include "xen/blob.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "xen/hypercalls.hpp"

namespace xenolith::xen {
namespace {

constexpr std::byte fill{0xcc};
constexpr std::size_t maximum_blob_size = maximum_blob_pages * mmu::page_size;

std::string cause() { return errno != 0 ? std::generic_category().message(errno) : "input/output error"; }

}  // namespace

std::vector<std::byte> make_blob(StubKind kind, unsigned pages) {
    if (pages == 0 || pages > maximum_blob_pages) {
        throw std::invalid_argument("a blob has 1 to 255 pages, not " + std::to_string(pages));
    }
    std::vector<std::byte> blob;
    blob.reserve(pages * mmu::page_size);
    for (unsigned index = 0; index < pages; ++index) {
        const HypercallPage page = built_in_page(kind, index);
        blob.insert(blob.end(), page.begin(), page.end());
    }
    return blob;
}

void check_blob(std::span<const std::byte> bytes, std::string_view name) {
    const std::size_t size = bytes.size();
    if (size > maximum_blob_size) {
        throw BlobError(std::string(name) + ": offset " + std::to_string(maximum_blob_size) +
                        ": expected the end of the file: a blob has at most 255 pages of 4096 bytes");
    }
    const std::size_t odd = size % mmu::page_size;
    if (size == 0 || odd != 0) {
        throw BlobError(std::string(name) + ": offset " + std::to_string(size - odd) +
                        ": expected a whole page of 4096 bytes, found " + std::to_string(odd));
    }
}

std::vector<std::byte> load_blob(const std::filesystem::path& file) {
    errno = 0;
    // Opening a folder succeeds; only reading it fails, and then without saying why.
    std::error_code ignored;
    if (std::filesystem::is_directory(file, ignored)) {
        throw BlobError(file.string() + ": offset 0: expected a blob file, found a directory");
    }
    std::ifstream stream(file, std::ios::binary);
    if (!stream) throw BlobError(file.string() + ": offset 0: expected a readable file: " + cause());
    std::vector<std::byte> bytes;
    std::array<char, mmu::page_size> chunk;
    while (bytes.size() <= maximum_blob_size) {
        stream.read(chunk.data(), chunk.size());
        const auto count = static_cast<std::size_t>(stream.gcount());
        const auto* first = reinterpret_cast<const std::byte*>(chunk.data());
        bytes.insert(bytes.end(), first, first + count);
        if (count < chunk.size()) break;
    }
    if (stream.bad()) {
        throw BlobError(file.string() + ": offset " + std::to_string(bytes.size()) +
                        ": expected to read on: " + cause());
    }
    check_blob(bytes, file.string());
    return bytes;
}

void save_blob(const std::filesystem::path& file, std::span<const std::byte> bytes) {
    check_blob(bytes, file.string());
    errno = 0;
    std::ofstream stream(file, std::ios::binary | std::ios::trunc);
    stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    stream.close();
    if (!stream)
        throw BlobError(file.string() + ": expected to write " + std::to_string(bytes.size()) + " bytes: " + cause());
}

std::vector<BlobSlot> describe_blob(std::span<const std::byte> blob, unsigned width,
                                    const InstructionFormatter& formatter, std::uint64_t rip) {
    std::vector<BlobSlot> slots;
    for (std::size_t offset = 0; offset < blob.size(); offset += slot_size) {
        const std::span<const std::byte> bytes = blob.subspan(offset, std::min(slot_size, blob.size() - offset));
        // Trailing fill is not code; fill in front of other bytes is.
        const auto last = std::find_if(bytes.rbegin(), bytes.rend(), [](std::byte b) { return b != fill; });
        const auto used = static_cast<std::size_t>(bytes.rend() - last);
        if (used == 0) continue;

        const auto number = static_cast<std::uint32_t>(offset / slot_size);
        BlobSlot slot{number, hypercall_name(number), offset, bytes, {}};
        for (std::size_t at = 0; at < used;) {
            // The last instruction may take a 0xcc of the fill for an operand, so it is shown the whole slot.
            const std::span<const std::byte> rest = bytes.subspan(at);
            FormattedInstruction instruction = formatter(rest, width, rip + offset + at);
            if (instruction.length == 0 || instruction.length > rest.size()) instruction = {"(bad)", 1};
            slot.instructions.push_back({offset + at, rest.first(instruction.length), std::move(instruction.text)});
            at += instruction.length;
        }
        slots.push_back(std::move(slot));
    }
    return slots;
}

std::string hex_bytes(std::span<const std::byte> bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 3);
    for (const std::byte byte : bytes) {
        if (!text.empty()) text += ' ';
        text += digits[std::to_integer<unsigned>(byte) >> 4];
        text += digits[std::to_integer<unsigned>(byte) & 15];
    }
    return text;
}

}  // namespace xenolith::xen
