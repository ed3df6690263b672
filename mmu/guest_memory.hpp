// Guest-physical memory: a map of regions, lazily backed, that knows which pages were written and which hold code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mmu/address.hpp"

namespace xenolith::mmu {

enum class RegionKind : std::uint8_t {
    ram,     // read and write reach host memory
    rom,     // reads reach host memory, guest writes are dropped
    device,  // every access goes to the Environment
};

// A page-aligned range of guest-physical addresses. What no region covers is a hole: reads give ones, writes are
// dropped.
struct Region {
    GuestPhysical start;
    std::uint64_t size = 0;  // bytes, a multiple of page_size
    RegionKind kind = RegionKind::ram;
    std::string name;
    std::byte* host = nullptr;  // the first byte's host address; null for a device

    bool contains(GuestPhysical address) const { return address.value - start.value < size; }
};

// Code is tracked in chunks: bit n of a page's mask covers its bytes [64n, 64n + 64).
inline constexpr std::uint64_t code_chunk_size = 64;
// The chunks that [offset, offset + size) touches within one page; size is not 0.
constexpr std::uint64_t code_chunk_mask(std::uint64_t offset, std::uint64_t size) {
    const std::uint64_t first = offset / code_chunk_size, last = (offset + size - 1) / code_chunk_size;
    return (~std::uint64_t{0} << first) & (~std::uint64_t{0} >> (63 - last));
}

// Told when guest memory that holds decoded code is about to hold other bytes. One listener per engine.
class CodeListener {
  public:
    virtual ~CodeListener() = default;
    // Bytes [start, start + size) of one physical page were written, and at least one 64-byte chunk of them
    // was marked as code. The listener drops what it decoded from them.
    virtual void code_written(GuestPhysical start, std::uint64_t size) = 0;
    // The page has just become a code page: engines must drop any cached permission to write it directly.
    virtual void code_page_added(GuestPhysical page) = 0;
    // All marks of the page were forgotten: the listener marks anew what it still holds of it.
    virtual void remark_code(GuestPhysical) {}
};

class GuestMemory {
  public:
    static constexpr std::uint64_t maximum_address = std::uint64_t{1} << 46;
    static constexpr std::uint64_t maximum_ram = std::uint64_t{64} << 30;  // bytes in all RAM regions together

    GuestMemory();
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;
    GuestMemory& operator=(const GuestMemory&) = delete;

    // Regions are page-aligned, not empty, and never overlap; std::invalid_argument says which two clash.
    // RAM starts as zeros and costs host memory only once touched.
    const Region& add_ram(GuestPhysical start, std::uint64_t size, std::string_view name);
    // The bytes are copied; the rest of the last page is zero.
    const Region& add_rom(GuestPhysical start, std::span<const std::byte> bytes, std::string_view name);
    const Region& add_device(GuestPhysical start, std::uint64_t size, std::string_view name);
    // The device region that begins at `from` begins at `to` from now on. False, and nothing has happened, if there is
    // none or `to` is no place for it: not page-aligned, beyond the highest address, or taken. What translates
    // addresses needs no telling: a device and a hole are both looked for at each access.
    bool move_device(GuestPhysical from, GuestPhysical to);

    // The region that holds the address, or null for a hole. What is returned outlives whatever is added later.
    const Region* find(GuestPhysical address) const;
    const std::vector<std::unique_ptr<Region>>& regions() const;

    // Host address of a guest-physical byte if reads (writes) of its page may go straight to host memory; else null.
    // Asking for a writable pointer marks the page dirty. A page that holds code is never handed out as writable.
    std::byte* readable(GuestPhysical address) const;
    std::byte* writable(GuestPhysical address);

    // Copies between guest and host, over any number of regions. False, with nothing copied, unless every byte is
    // RAM or ROM (read) or RAM (write). write() marks dirty pages and tells the listeners about code.
    bool read(GuestPhysical address, std::span<std::byte> to) const;
    bool write(GuestPhysical address, std::span<const std::byte> from);
    // The same, but ROM may be written too: for loaders that place an image.
    bool place(GuestPhysical address, std::span<const std::byte> from);
    bool is_ram(GuestPhysical address, std::uint64_t size) const;

    // Dirty pages since the last call, in ascending order of page number; clears them. Engines that cached write
    // permission must be flushed by the caller.
    std::vector<std::uint64_t> take_dirty_pages();

    // Code tracking, by chunks (code_chunk_mask).
    void mark_code(GuestPhysical start, std::uint64_t size);  // tells code_page_added for a page's first chunk
    void clear_code(GuestPhysical page);                      // no chunk of the page holds code any more
    void remark_code(GuestPhysical page);                     // clear_code, then every listener marks what it holds
    bool is_code_page(GuestPhysical address) const;
    std::uint64_t code_chunks(GuestPhysical page) const;
    void add_listener(CodeListener* listener);
    void remove_listener(CodeListener* listener);

  private:
    struct Implementation;
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace xenolith::mmu
