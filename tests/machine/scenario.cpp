#include "tests/machine/scenario.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "machine/engines.hpp"
#include "xen/blob.hpp"

namespace xenolith::machine::test {
namespace {

// Cycles: no program here needs a tenth. Where they are the host's time, a busy host needs more.
constexpr std::uint64_t patience = 100'000'000, patience_with_the_host = 1000 * patience;

void add_extra_regions(mmu::GuestMemory& memory) {
    memory.add_ram(layout::high_ram, layout::high_ram_size, "RAM that only EDX reaches");
    memory.add_device(layout::device, mmu::page_size, "a device");
    memory.add_rom(layout::rom, std::vector<std::byte>(mmu::page_size, std::byte{0x5a}), "ROM");
}

}  // namespace

cpu::KvmRoute route_of_tests() {
    const char* const name = std::getenv("XENOLITH_KVM_ROUTE");
    if (name == nullptr) return cpu::KvmRoute::msr_exit;
    for (const cpu::KvmRoute route : {cpu::KvmRoute::ioctl, cpu::KvmRoute::msr_exit})
        if (name == kvm_route_name(route)) return route;
    throw std::invalid_argument("XENOLITH_KVM_ROUTE: expected ioctl or msr-exit");
}

bool kernel_lays_pages(std::string_view engine) { return engine == "kvm" && route_of_tests() == cpu::KvmRoute::ioctl; }

std::span<const xen::Profile> profiles_on(std::string_view engine) {
    return kernel_lays_pages(engine) ? xen::profiles().last(1) : xen::profiles();
}

void Scenario::add_regions(mmu::GuestMemory& memory) {
    memory.add_ram(memory_map::low_ram, memory_map::low_ram_size, "low RAM");
    memory.add_ram(memory_map::extended_ram, memory_map::smallest_ram - memory_map::extended_ram.value, "RAM");
    add_extra_regions(memory);
}

Scenario::Scenario(const ScenarioOptions& options)
    : mode_(options.mode),
      engine_(options.engine),
      sees_writes_(options.engine != "kvm" || options.route.value_or(route_of_tests()) != cpu::KvmRoute::ioctl) {
    MachineOptions machine;
    machine.ram = memory_map::smallest_ram;
    machine.engine = options.engine;
    machine.model = cpu::CpuModel::find("nehalem", options.vendor);
    machine.timing = options.timing;
    machine.kvm_route = options.route.value_or(route_of_tests());
    machine.debug_out = [this](std::uint8_t byte) {
        if (debug_listener_) debug_listener_(byte);
    };
    if (options.xen) {
        machine.xen->profile = options.profile;
        machine.xen->intercept_hypercalls = options.intercept_hypercalls;
        if (!options.intercept_hypercalls) {
            machine.xen->blob_32 = marked_blob(32, pages_32);
            machine.xen->blob_64 = marked_blob(64, pages_64);
        }
    } else {
        machine.xen.reset();
    }
    machine_ = std::make_unique<Machine>(machine);
    mmu::GuestMemory& memory = machine_->memory();
    add_extra_regions(memory);
    engine().memory_map_changed();
    write_tables(memory);
}

GuestCode Scenario::code(mmu::GuestPhysical at) const { return {code_width(mode_), offset(at)}; }

void Scenario::put(mmu::GuestPhysical at, std::span<const std::byte> bytes) {
    if (!machine_->memory().write(at, bytes)) throw std::logic_error("a test puts bytes where there is no RAM");
}

std::vector<std::byte> Scenario::page(mmu::GuestPhysical at) const {
    std::vector<std::byte> bytes(mmu::page_size);
    if (!machine_->memory().read(at, bytes)) bytes.clear();
    return bytes;
}

std::uint8_t Scenario::byte(mmu::GuestPhysical at) const {
    std::byte value{};
    machine_->memory().read(at, std::span(&value, 1));
    return std::to_integer<std::uint8_t>(value);
}

std::vector<std::byte> Scenario::marked_blob(unsigned width, unsigned pages) {
    std::vector<std::byte> blob;
    for (unsigned number = 0; number < pages; ++number) {
        GuestCode start(32, 0);
        start.mov_al(mark(width, number)).ret().bytes({width, number});
        std::vector<std::byte> page(mmu::page_size, std::byte{mark(width, number)});
        std::ranges::copy(start.data(), page.begin());
        blob.insert(blob.end(), page.begin(), page.end());
    }
    return blob;
}

void Scenario::set_blobs(std::span<const std::byte> bytes) {
    std::vector<std::byte> blob(bytes.begin(), bytes.end());
    blob.resize((blob.size() + mmu::page_mask) / mmu::page_size * mmu::page_size, std::byte{0xcc});
    xen::HvmConfig config = trap().config();
    for (const unsigned width : {32u, 64u}) machine_->blob_memory().map(blob_address(width), blob);
    config.blob_size_32 = config.blob_size_64 = xen::blob_pages(blob);
    if (trap().configure(config) != 0) throw std::logic_error("a test's blobs were refused");
}

void Scenario::unmap_blobs() {
    for (const unsigned width : {32u, 64u}) {
        machine_->blob_memory().unmap(blob_address(width), mmu::page_size * xen::maximum_blob_pages);
    }
}

Ending Scenario::run(const GuestCode& program) {
    put(layout::program, program);
    remember_memory();
    engine().set_state(entry_state(mode_, layout::program));
    return run_on();
}

Ending Scenario::run_on() {
    RunLimits limits;
    limits.max_cycles =
        engine().cycles() + (find_engine(engine().name())->reproducible ? patience : patience_with_the_host);
    Ending ending;
    ending.result = machine_->run(limits);
    ending.state = engine().state();
    if (ending.result.end == RunEnd::halted) ending.trap = read_trap(machine_->memory(), mode_, ending.state);
    return ending;
}

void Scenario::remember_memory() {
    remembered_.clear();
    for (const auto& region : machine_->memory().regions()) {
        if (region->kind == mmu::RegionKind::device) continue;
        Range& range = remembered_.emplace_back(Range{region->start, std::vector<std::byte>(region->size)});
        machine_->memory().read(range.start, range.bytes);
    }
}

std::vector<std::uint64_t> Scenario::changed_pages() const {
    std::vector<std::uint64_t> changed;
    for (const Range& range : remembered_) {
        std::vector<std::byte> now(range.bytes.size());
        machine_->memory().read(range.start, now);
        for (std::uint64_t at = 0; at < now.size(); at += mmu::page_size) {
            const mmu::GuestPhysical page = range.start + at;
            if (page >= layout::stacks && page < layout::stacks + layout::stacks_size) continue;
            const std::span<const std::byte> was(&range.bytes[at], mmu::page_size), is(&now[at], mmu::page_size);
            if (std::memcmp(is.data(), was.data(), mmu::page_size) == 0) continue;
            if (engine_ == "kvm" && only_accessed_bits(page, was, is)) continue;
            changed.push_back(page.page_number());
        }
    }
    std::ranges::sort(changed);
    return changed;
}

std::vector<std::string> Scenario::remarks() const {
    std::vector<std::string> texts;
    for (const Event* event : events<Remark>()) {
        const std::string& text = std::get<Remark>(event->what).text;
        if (text.find("answers CPUID itself") == std::string::npos) texts.push_back(text);
    }
    return texts;
}

std::vector<const HypercallPageWrite*> Scenario::page_writes() const {
    std::vector<const HypercallPageWrite*> writes;
    for (const Event* event : events<HypercallPageWrite>()) {
        writes.push_back(&std::get<HypercallPageWrite>(event->what));
    }
    return writes;
}

}  // namespace xenolith::machine::test
