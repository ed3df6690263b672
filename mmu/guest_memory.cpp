// How guest memory is kept.
//
// Every region of RAM or ROM has three host mappings, all anonymous and without reservation, so that a page
// of them costs host memory only once it is touched: the bytes themselves, one byte of flags per guest page,
// and one 64-bit mask of code chunks per guest page. Asking whether a page may be written directly is one
// test of its flag byte; the mask is looked at only when the flag says that the page holds code.
//
// Dirty pages are found again through a second, coarser array, one byte per 4096 guest pages. Collecting the
// dirty pages of a guest with 64 GiB of untouched RAM therefore looks at 4096 bytes, not at 16 million flags.
#include "mmu/guest_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace xenolith::mmu {
namespace {

constexpr std::uint8_t dirty_flag = 1u << 0;
constexpr std::uint8_t code_flag = 1u << 1;

constexpr std::uint64_t pages_per_group = 4096;

// Anonymous host memory, zero until written, returned to the host at the end.
class Mapping {
  public:
    Mapping() = default;
    explicit Mapping(std::uint64_t size) : size_(size) {
        void* const address =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (address == MAP_FAILED)
            throw std::system_error(errno, std::generic_category(), "cannot reserve host memory for the guest");
        bytes_ = static_cast<std::byte*>(address);
    }
    Mapping(Mapping&& other) noexcept
        : bytes_(std::exchange(other.bytes_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Mapping() {
        if (bytes_ != nullptr) ::munmap(bytes_, size_);
    }

    std::byte* bytes() const { return bytes_; }

  private:
    std::byte* bytes_ = nullptr;
    std::uint64_t size_ = 0;
};

std::string describe(std::string_view name, std::uint64_t start, std::uint64_t size) {
    std::ostringstream text;
    text << "'" << name << "' (0x" << std::hex << start;
    if (size == 0)
        text << ", empty)";
    else
        text << "-0x" << start + (size - 1) << ")";
    return text.str();
}

std::string hexadecimal(std::uint64_t value) {
    std::ostringstream text;
    text << "0x" << std::hex << value;
    return text.str();
}

}  // namespace

struct GuestMemory::Implementation {
    // What belongs to a region and is nobody else's business. Device regions have no mappings.
    struct Backing {
        std::uint64_t start = 0;
        std::uint64_t size = 0;
        std::byte* host = nullptr;
        std::uint8_t* flags = nullptr;         // per page
        std::uint64_t* chunks = nullptr;       // per page, meaningful where the code flag is set
        std::uint8_t* dirty_groups = nullptr;  // per pages_per_group pages, not 0 if a page of the group is dirty
        RegionKind kind = RegionKind::ram;
        Mapping host_mapping, flags_mapping, chunks_mapping, groups_mapping;

        bool contains(GuestPhysical address) const { return address.value - start < size; }
        std::uint64_t page_of(GuestPhysical address) const { return (address.value - start) / page_size; }
        std::byte* at(GuestPhysical address) const { return host + (address.value - start); }
        std::uint8_t& flags_of(GuestPhysical address) const { return flags[page_of(address)]; }
        std::uint64_t& chunks_of(GuestPhysical address) const { return chunks[page_of(address)]; }
        void mark_dirty(std::uint64_t page) const {
            if ((flags[page] & dirty_flag) != 0) return;
            flags[page] = static_cast<std::uint8_t>(flags[page] | dirty_flag);
            dirty_groups[page / pages_per_group] = 1;
        }
    };

    // Both sorted by address, and the same region at the same index.
    std::vector<std::unique_ptr<Region>> regions;
    std::vector<Backing> backings;
    std::uint64_t ram_bytes = 0;
    std::vector<CodeListener*> listeners;
    // Where the last search ended: a hint only, checked before use, so any value is a correct one.
    mutable std::atomic<std::size_t> last_found{0};

    static constexpr std::size_t not_found = ~std::size_t{0};

    std::size_t index_of(GuestPhysical address) const {
        const std::size_t hint = last_found.load(std::memory_order_relaxed);
        if (hint < backings.size() && backings[hint].contains(address)) return hint;
        const auto next =
            std::upper_bound(backings.begin(), backings.end(), address.value,
                             [](std::uint64_t value, const Backing& backing) { return value < backing.start; });
        if (next == backings.begin()) return not_found;
        const auto found = static_cast<std::size_t>(next - backings.begin()) - 1;
        if (!backings[found].contains(address)) return not_found;
        last_found.store(found, std::memory_order_relaxed);
        return found;
    }

    const Backing* backing_of(GuestPhysical address) const {
        const std::size_t index = index_of(address);
        return index == not_found ? nullptr : &backings[index];
    }
    // The backing if it has host memory, so that its flags may be looked at.
    const Backing* memory_of(GuestPhysical address) const {
        const Backing* const backing = backing_of(address);
        return backing != nullptr && backing->host != nullptr ? backing : nullptr;
    }

    void check_new_region(GuestPhysical start, std::uint64_t size, std::string_view name, RegionKind kind) const {
        const auto refuse = [](const std::string& message) { throw std::invalid_argument(message); };
        if (size == 0) refuse("region " + describe(name, start.value, size) + " has no bytes");
        if (start.value > maximum_address || size > maximum_address - start.value)
            refuse("region " + describe(name, start.value, size) + " goes beyond the highest address, " +
                   hexadecimal(maximum_address - 1));
        if (start.page_offset() != 0 || size % page_size != 0)
            refuse("region " + describe(name, start.value, size) + " is not aligned to pages of 0x1000 bytes");
        for (const Backing& other : backings) {
            if (start.value >= other.start + other.size || other.start >= start.value + size) continue;
            const auto index = static_cast<std::size_t>(&other - backings.data());
            refuse("region " + describe(name, start.value, size) + " overlaps region " +
                   describe(regions[index]->name, other.start, other.size));
        }
        if (kind == RegionKind::ram && size > maximum_ram - ram_bytes)
            refuse("region " + describe(name, start.value, size) + " brings the RAM to " +
                   hexadecimal(ram_bytes + size) + " bytes, more than the maximum of " + hexadecimal(maximum_ram));
    }

    Region& add(GuestPhysical start, std::uint64_t size, std::string_view name, RegionKind kind) {
        check_new_region(start, size, name, kind);

        Backing backing;
        backing.start = start.value;
        backing.size = size;
        backing.kind = kind;
        if (kind != RegionKind::device) {
            const std::uint64_t pages = size / page_size;
            backing.host_mapping = Mapping(size);
            backing.flags_mapping = Mapping(pages);
            backing.chunks_mapping = Mapping(pages * sizeof(std::uint64_t));
            backing.groups_mapping = Mapping((pages + pages_per_group - 1) / pages_per_group);
            backing.host = backing.host_mapping.bytes();
            backing.flags = reinterpret_cast<std::uint8_t*>(backing.flags_mapping.bytes());
            backing.chunks = reinterpret_cast<std::uint64_t*>(backing.chunks_mapping.bytes());
            backing.dirty_groups = reinterpret_cast<std::uint8_t*>(backing.groups_mapping.bytes());
        }
        auto region = std::make_unique<Region>(Region{start, size, kind, std::string(name), backing.host});

        // With room for both nothing can fail between the two insertions, which keep the indices equal.
        regions.reserve(regions.size() + 1);
        backings.reserve(backings.size() + 1);
        const auto position =
            std::upper_bound(backings.begin(), backings.end(), start.value,
                             [](std::uint64_t value, const Backing& other) { return value < other.start; }) -
            backings.begin();
        backings.insert(backings.begin() + position, std::move(backing));
        Region& added = **regions.insert(regions.begin() + position, std::move(region));
        if (kind == RegionKind::ram) ram_bytes += size;
        return added;
    }

    bool move_device(GuestPhysical from, GuestPhysical to) {
        const std::size_t index = index_of(from);
        if (index == not_found || backings[index].start != from.value || backings[index].host != nullptr) return false;
        const std::uint64_t size = backings[index].size;
        if (to.page_offset() != 0 || to.value > maximum_address || size > maximum_address - to.value) return false;
        for (std::size_t other = 0; other < backings.size(); ++other) {
            const std::uint64_t start = backings[other].start;
            if (other != index && to.value < start + backings[other].size && start < to.value + size) return false;
        }
        backings[index].start = to.value;
        regions[index]->start = to;
        std::ranges::sort(backings, {}, &Backing::start);
        std::ranges::sort(regions, {}, [](const std::unique_ptr<Region>& region) { return region->start.value; });
        return true;
    }

    // True if every byte of the range lies in a region whose kind the predicate accepts.
    template <typename Accepts>
    bool covered(GuestPhysical address, std::uint64_t size, Accepts accepts) const {
        while (size != 0) {
            const Backing* const backing = backing_of(address);
            if (backing == nullptr || !accepts(backing->kind)) return false;
            const std::uint64_t here = backing->size - (address.value - backing->start);
            if (here >= size) return true;
            size -= here;
            address = address + here;
        }
        return true;
    }

    // The range is known to be RAM or ROM. The listeners hear of it once all the bytes are in place, so that
    // what they read back is what the guest will run.
    void store(GuestPhysical address, std::span<const std::byte> from) const {
        bool holds_code = false;
        for_each_page(address, from.size(),
                      [&](const Backing& backing, GuestPhysical at, std::uint64_t offset, std::uint64_t size) {
                          backing.mark_dirty(backing.page_of(at));
                          std::memmove(backing.at(at), from.data() + offset, size);
                          holds_code = holds_code || (backing.flags_of(at) & code_flag) != 0;
                      });
        if (!holds_code) return;
        for_each_page(address, from.size(),
                      [this](const Backing& backing, GuestPhysical at, std::uint64_t, std::uint64_t size) {
                          if ((backing.flags_of(at) & code_flag) == 0) return;
                          if ((backing.chunks_of(at) & code_chunk_mask(at.page_offset(), size)) == 0) return;
                          // By index: a listener may add or remove listeners.
                          for (std::size_t index = 0; index < listeners.size(); ++index)
                              listeners[index]->code_written(at, size);
                      });
    }

    // Calls visit(backing, address, offset from the start of the range, size) for every page of the range, or
    // the part of it that the range covers. Pages without host memory are left out.
    template <typename Visit>
    void for_each_page(GuestPhysical address, std::uint64_t size, Visit visit) const {
        std::uint64_t offset = 0;
        while (offset < size) {
            const GuestPhysical at = address + offset;
            const std::uint64_t here = std::min(size - offset, page_size - at.page_offset());
            if (at.value >= maximum_address) return;
            if (const Backing* const backing = memory_of(at)) visit(*backing, at, offset, here);
            offset += here;
        }
    }
};

GuestMemory::GuestMemory() : implementation_(std::make_unique<Implementation>()) {}
GuestMemory::~GuestMemory() = default;

const Region& GuestMemory::add_ram(GuestPhysical start, std::uint64_t size, std::string_view name) {
    return implementation_->add(start, size, name, RegionKind::ram);
}

const Region& GuestMemory::add_rom(GuestPhysical start, std::span<const std::byte> bytes, std::string_view name) {
    const std::uint64_t size = (bytes.size() + page_mask) & ~page_mask;
    const Region& region = implementation_->add(start, size, name, RegionKind::rom);
    std::memcpy(region.host, bytes.data(), bytes.size());
    return region;
}

const Region& GuestMemory::add_device(GuestPhysical start, std::uint64_t size, std::string_view name) {
    return implementation_->add(start, size, name, RegionKind::device);
}

bool GuestMemory::move_device(GuestPhysical from, GuestPhysical to) { return implementation_->move_device(from, to); }

const Region* GuestMemory::find(GuestPhysical address) const {
    const std::size_t index = implementation_->index_of(address);
    return index == Implementation::not_found ? nullptr : implementation_->regions[index].get();
}

const std::vector<std::unique_ptr<Region>>& GuestMemory::regions() const { return implementation_->regions; }

std::byte* GuestMemory::readable(GuestPhysical address) const {
    const auto* const backing = implementation_->memory_of(address);
    return backing == nullptr ? nullptr : backing->at(address);
}

std::byte* GuestMemory::writable(GuestPhysical address) {
    const auto* const backing = implementation_->memory_of(address);
    if (backing == nullptr || backing->kind != RegionKind::ram) return nullptr;
    const std::uint64_t page = backing->page_of(address);
    if ((backing->flags[page] & code_flag) != 0) return nullptr;
    backing->mark_dirty(page);
    return backing->at(address);
}

bool GuestMemory::read(GuestPhysical address, std::span<std::byte> to) const {
    if (!implementation_->covered(address, to.size(), [](RegionKind kind) { return kind != RegionKind::device; }))
        return false;
    std::uint64_t done = 0;
    while (done < to.size()) {
        const GuestPhysical at = address + done;
        const auto* const backing = implementation_->memory_of(at);
        const std::uint64_t here = std::min(to.size() - done, backing->size - (at.value - backing->start));
        std::memmove(to.data() + done, backing->at(at), here);
        done += here;
    }
    return true;
}

bool GuestMemory::write(GuestPhysical address, std::span<const std::byte> from) {
    if (!is_ram(address, from.size())) return false;
    implementation_->store(address, from);
    return true;
}

bool GuestMemory::place(GuestPhysical address, std::span<const std::byte> from) {
    if (!implementation_->covered(address, from.size(), [](RegionKind kind) { return kind != RegionKind::device; }))
        return false;
    implementation_->store(address, from);
    return true;
}

bool GuestMemory::is_ram(GuestPhysical address, std::uint64_t size) const {
    return implementation_->covered(address, size, [](RegionKind kind) { return kind == RegionKind::ram; });
}

std::vector<std::uint64_t> GuestMemory::take_dirty_pages() {
    std::vector<std::uint64_t> dirty;
    for (const auto& backing : implementation_->backings) {
        if (backing.host == nullptr) continue;
        const std::uint64_t pages = backing.size / page_size;
        for (std::uint64_t first = 0; first < pages; first += pages_per_group) {
            if (backing.dirty_groups[first / pages_per_group] == 0) continue;
            const std::uint64_t end = std::min(pages, first + pages_per_group);
            for (std::uint64_t page = first; page < end; ++page) {
                if ((backing.flags[page] & dirty_flag) != 0) dirty.push_back(backing.start / page_size + page);
            }
        }
    }
    // Cleared only once the list is complete: if there is no memory for the list, nothing is forgotten.
    for (const std::uint64_t number : dirty) {
        const GuestPhysical address{number * page_size};
        const auto& backing = *implementation_->memory_of(address);
        auto& flags = backing.flags_of(address);
        flags = static_cast<std::uint8_t>(flags & ~dirty_flag);
        backing.dirty_groups[backing.page_of(address) / pages_per_group] = 0;
    }
    return dirty;
}

void GuestMemory::mark_code(GuestPhysical start, std::uint64_t size) {
    implementation_->for_each_page(
        start, size,
        [this](const Implementation::Backing& backing, GuestPhysical at, std::uint64_t, std::uint64_t here) {
            auto& flags = backing.flags_of(at);
            const bool first_chunk = (flags & code_flag) == 0;
            backing.chunks_of(at) |= code_chunk_mask(at.page_offset(), here);
            flags = static_cast<std::uint8_t>(flags | code_flag);
            if (!first_chunk) return;
            const auto& listeners = implementation_->listeners;
            for (std::size_t index = 0; index < listeners.size(); ++index) listeners[index]->code_page_added(at.page());
        });
}

void GuestMemory::clear_code(GuestPhysical page) {
    const auto* const backing = implementation_->memory_of(page);
    if (backing == nullptr) return;
    auto& flags = backing->flags_of(page);
    if ((flags & code_flag) == 0) return;
    flags = static_cast<std::uint8_t>(flags & ~code_flag);
    backing->chunks_of(page) = 0;
}

// The page keeps its code flag while the listeners mark it anew: it has never ceased to be a code page,
// nobody could have cached a permission to write it, so nobody need be told that it has become one.
void GuestMemory::remark_code(GuestPhysical page) {
    const auto* const backing = implementation_->memory_of(page);
    if (backing == nullptr) return;
    backing->chunks_of(page) = 0;
    const auto& listeners = implementation_->listeners;
    for (std::size_t index = 0; index < listeners.size(); ++index) listeners[index]->remark_code(page.page());
    if (backing->chunks_of(page) == 0) clear_code(page);
}

bool GuestMemory::is_code_page(GuestPhysical address) const {
    const auto* const backing = implementation_->memory_of(address);
    return backing != nullptr && (backing->flags_of(address) & code_flag) != 0;
}

std::uint64_t GuestMemory::code_chunks(GuestPhysical page) const {
    return is_code_page(page) ? implementation_->memory_of(page)->chunks_of(page) : 0;
}

void GuestMemory::add_listener(CodeListener* listener) {
    auto& listeners = implementation_->listeners;
    if (listener == nullptr || std::find(listeners.begin(), listeners.end(), listener) != listeners.end()) return;
    listeners.push_back(listener);
}

void GuestMemory::remove_listener(CodeListener* listener) {
    auto& listeners = implementation_->listeners;
    listeners.erase(std::remove(listeners.begin(), listeners.end(), listener), listeners.end());
}

}  // namespace xenolith::mmu
