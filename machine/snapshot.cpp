// The checksum is for accidents. What it does not catch, because somebody has made it right, the readers refuse: every
// length, truth value and page number is looked at, and devices check their own registers.
#include "machine/snapshot.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"
#include "loader/image_file.hpp"
#include "loader/load_error.hpp"
#include "machine/state_lists.hpp"
#include "xen/profile.hpp"

namespace xenolith::machine {

namespace {

constexpr std::string_view magic = "XENOSNAP";
constexpr std::uint64_t header_size = 16, section_header_size = 12, largest_file = std::uint64_t{80} << 30;
constexpr std::string_view machine_section = "MACH", state_section = "STAT", pages_section = "PAGE";

using Page = std::array<std::byte, mmu::page_size>;

std::uint32_t checksum(std::span<const std::byte> bytes) {
    return static_cast<std::uint32_t>(
        crc32_z(crc32_z(0, nullptr, 0), reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// --- How the machine is built

struct BuildRecord {
    std::uint64_t ram = 0;
    std::string model;
    cpu::Vendor vendor = cpu::Vendor::intel;
    std::string timing;
    std::uint64_t random_seed = 0;
    bool xen = false;
    std::string profile;
    std::uint32_t msr = 0;
    bool intercept_hypercalls = false;
    std::vector<std::byte> blob_32, blob_64;
};

template <class Archive, Of<BuildRecord> T>
void list_fields(Archive& archive, T& s) {
    archive(s.ram, s.model, s.vendor, s.timing, s.random_seed, s.xen, s.profile, s.msr, s.intercept_hypercalls,
            s.blob_32, s.blob_64);
}

BuildRecord record_of(const Machine& machine) {
    const MachineOptions& options = machine.options();
    BuildRecord record;
    record.ram = options.ram;
    record.model = machine.model().name();
    record.vendor = machine.model().vendor();
    record.timing = machine.timing().name;
    record.random_seed = options.random_seed;
    if (options.xen) {
        record.xen = true;
        record.profile = options.xen->profile->name;
        record.msr = options.xen->msr;
        record.intercept_hypercalls = options.xen->intercept_hypercalls;
        record.blob_32 = options.xen->blob_32;
        record.blob_64 = options.xen->blob_64;
    }
    return record;
}

// What does not exist is named in the std::invalid_argument.
MachineOptions options_of(const BuildRecord& record) {
    MachineOptions options;
    options.ram = record.ram;
    const bool known_vendor = record.vendor == cpu::Vendor::intel || record.vendor == cpu::Vendor::amd;
    options.model = known_vendor ? cpu::CpuModel::find(record.model, record.vendor) : nullptr;
    if (options.model == nullptr) throw std::invalid_argument("the name of a CPU model");
    options.timing = cpu::find_timing(record.timing);
    if (options.timing == nullptr) throw std::invalid_argument("the name of a timing preset");
    options.random_seed = record.random_seed;
    options.xen.reset();
    if (!record.xen) return options;
    XenOptions& xen_options = options.xen.emplace();
    xen_options.profile = xen::find_profile(record.profile);
    if (xen_options.profile == nullptr) throw std::invalid_argument("the name of a profile");
    xen_options.msr = record.msr;
    xen_options.intercept_hypercalls = record.intercept_hypercalls;
    constexpr std::size_t largest_blob = 255 * mmu::page_size;
    for (const auto* blob : {&record.blob_32, &record.blob_64})
        if (blob->size() % mmu::page_size != 0 || blob->size() > largest_blob)
            throw std::invalid_argument("a blob of 0 to 255 whole pages");
    xen_options.blob_32 = record.blob_32;
    xen_options.blob_64 = record.blob_64;
    return options;
}

// --- Memory

class Deflater {
  public:
    Deflater() {
        if (deflateInit(&stream_, Z_BEST_SPEED) != Z_OK) throw std::bad_alloc();
    }
    ~Deflater() { deflateEnd(&stream_); }
    Deflater(const Deflater&) = delete;
    Deflater& operator=(const Deflater&) = delete;

    void put(std::span<const std::byte> bytes) { work(bytes, Z_NO_FLUSH); }
    std::vector<std::byte> finish() {
        work({}, Z_FINISH);
        return std::move(result_);
    }

  private:
    void work(std::span<const std::byte> bytes, int flush) {
        stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
        stream_.avail_in = static_cast<uInt>(bytes.size());
        do {
            stream_.next_out = reinterpret_cast<Bytef*>(space_.data());
            stream_.avail_out = static_cast<uInt>(space_.size());
            deflate(&stream_, flush);
            result_.insert(result_.end(), space_.begin(), space_.end() - stream_.avail_out);
        } while (stream_.avail_out == 0);
    }

    z_stream stream_{};
    std::array<std::byte, 1 << 16> space_;
    std::vector<std::byte> result_;
};

class Inflater {
  public:
    explicit Inflater(std::span<const std::byte> bytes) : rest_(bytes) {
        if (inflateInit(&stream_) != Z_OK) throw std::bad_alloc();
    }
    ~Inflater() { inflateEnd(&stream_); }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    // Fills all of `to`, or nothing at the end; CodecError for anything between.
    bool get(std::span<std::byte> to) {
        stream_.next_out = reinterpret_cast<Bytef*>(to.data());
        stream_.avail_out = static_cast<uInt>(to.size());
        while (stream_.avail_out != 0 && !ended_) {
            constexpr std::size_t piece = 1 << 20;
            const std::size_t count = std::min(piece, rest_.size());
            stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(rest_.data()));
            stream_.avail_in = static_cast<uInt>(count);
            const int result = inflate(&stream_, Z_NO_FLUSH);
            const std::size_t used = count - stream_.avail_in;
            rest_ = rest_.subspan(used);
            offset_ += used;
            ended_ = result == Z_STREAM_END;
            if (result != Z_OK && !ended_) throw CodecError(offset_, "data that zlib has compressed");
        }
        if (stream_.avail_out == to.size() && ended_) return false;
        if (stream_.avail_out != 0) throw CodecError(offset_, "whole pages");
        return true;
    }
    std::uint64_t offset() const { return offset_; }
    void expect_end() const {
        if (!rest_.empty()) throw CodecError(offset_, "the end of the section");
    }

  private:
    z_stream stream_{};
    std::span<const std::byte> rest_;
    std::uint64_t offset_ = 0;
    bool ended_ = false;
};

std::vector<std::byte> pages_of(Machine& machine) {
    Deflater deflater;
    static constexpr Page zeros{};
    for (const auto& region : machine.memory().regions()) {
        if (region->kind != mmu::RegionKind::ram) continue;
        for (std::uint64_t at = 0; at < region->size; at += mmu::page_size) {
            const std::span<const std::byte> page(region->host + at, mmu::page_size);
            if (std::ranges::equal(page, zeros)) continue;
            Encoder number;
            number((region->start.value + at) / mmu::page_size);
            deflater.put(number.bytes());
            deflater.put(page);
        }
    }
    return deflater.finish();
}

void add_section(std::vector<std::byte>& to, std::string_view name, std::span<const std::byte> bytes) {
    Encoder header;
    for (const char letter : name) header(letter);
    header(static_cast<std::uint64_t>(bytes.size()));
    to.insert(to.end(), header.bytes().begin(), header.bytes().end());
    to.insert(to.end(), bytes.begin(), bytes.end());
}

// The next section, which must have that name; `at` moves behind it.
std::span<const std::byte> take_section(const loader::ImageFile& file, std::uint64_t& at, std::string_view name) {
    const auto letters = file.range(at, name.size(), "a section's name");
    if (!std::ranges::equal(letters, std::as_bytes(std::span(name))))
        file.refuse(loader::LoadFailure::malformed, at, fmt::format("the section {}", name), "another one");
    const std::uint64_t size = file.u64(at + name.size(), "a section's length");
    const auto bytes = file.range(at + section_header_size, size, fmt::format("the section {}", name));
    at += section_header_size + size;
    return bytes;
}

}  // namespace

void save_snapshot(Machine& machine, const std::filesystem::path& path) {
    Encoder build, state;
    build(record_of(machine));
    state(machine.save());
    std::vector<std::byte> body;
    add_section(body, machine_section, build.bytes());
    add_section(body, state_section, state.bytes());
    add_section(body, pages_section, pages_of(machine));
    Encoder header;
    for (const char letter : magic) header(letter);
    header(snapshot_version, checksum(body));
    std::string text(reinterpret_cast<const char*>(header.bytes().data()), header.bytes().size());
    text.append(reinterpret_cast<const char*>(body.data()), body.size());
    write_atomically(path, text);
}

Snapshot Snapshot::read(const std::filesystem::path& path) {
    return parse(loader::ImageFile::read(path, largest_file));
}

Snapshot Snapshot::parse(loader::ImageFile file) {
    using loader::LoadFailure;
    if (!file.holds(0, header_size) ||
        !std::ranges::equal(file.bytes().first(magic.size()), std::as_bytes(std::span(magic))))
        file.refuse(LoadFailure::malformed, 0, "a snapshot, which begins with XENOSNAP", "something else");
    if (const std::uint32_t version = file.u32(8, "the format's version"); version != snapshot_version)
        file.refuse(LoadFailure::unsupported, 8, fmt::format("version {}", snapshot_version),
                    fmt::format("version {}", version));
    const std::uint32_t expected = file.u32(12, "the checksum"), found = checksum(file.bytes().subspan(header_size));
    if (expected != found)
        file.refuse(LoadFailure::malformed, 12, fmt::format("the checksum {:#010x} of what follows", found),
                    fmt::format("{:#010x}", expected));
    Snapshot snapshot(std::move(file));
    std::uint64_t at = header_size;
    const auto decode = [&](std::string_view name, auto& into) {
        Decoder decoder(take_section(snapshot.file_, at, name));
        const std::uint64_t start = at - section_header_size;
        try {
            decoder(into);
            decoder.expect_end();
        } catch (const CodecError& error) {
            snapshot.refuse(start + section_header_size, error.offset(), error.what());
        }
        return start;
    };
    BuildRecord record;
    const std::uint64_t build_offset = at + section_header_size;
    decode(machine_section, record);
    try {
        snapshot.options_ = options_of(record);
    } catch (const std::invalid_argument& error) {
        snapshot.refuse(build_offset, 0, error.what());
    }
    snapshot.state_offset_ = at + section_header_size;
    decode(state_section, snapshot.state_);
    snapshot.pages_offset_ = at + section_header_size;
    take_section(snapshot.file_, at, pages_section);
    if (at != snapshot.file_.size()) snapshot.file_.refuse(LoadFailure::malformed, at, "the end of the file", "more");
    return snapshot;
}

void Snapshot::refuse(std::uint64_t section, std::uint64_t offset, std::string_view expected) const {
    file_.refuse(loader::LoadFailure::malformed, section + offset, expected, "something else");
}

void Snapshot::restore(Machine& machine) const {
    Inflater inflater(file_.bytes().subspan(pages_offset_));
    try {
        std::array<std::byte, 8> number{};
        const auto page = std::make_unique<Page>();
        for (std::optional<std::uint64_t> last; inflater.get(number);) {
            std::uint64_t value = 0;
            Decoder decoder(number);
            decoder(value);
            if (value > mmu::GuestMemory::maximum_address / mmu::page_size || (last && value <= *last))
                throw CodecError(inflater.offset(), "page numbers in ascending order");
            last = value;
            const mmu::GuestPhysical address{value * mmu::page_size};
            if (!machine.memory().is_ram(address, mmu::page_size))
                throw CodecError(inflater.offset(), "a page of the machine's memory");
            if (!inflater.get(*page)) throw CodecError(inflater.offset(), "a page behind its number");
            machine.memory().place(address, *page);
        }
        inflater.expect_end();
    } catch (const CodecError& error) {
        refuse(pages_offset_, error.offset(), error.what());
    }
    try {
        machine.restore(state_);
    } catch (const std::invalid_argument& error) {
        file_.refuse(loader::LoadFailure::malformed, state_offset_, "a state that this machine can be in",
                     error.what());
    }
}

}  // namespace xenolith::machine
