// The run: enter the guest, answer its exit, look around, enter again.
//
// KVM finishes an instruction that exited to us (a port, device memory, an MSR) only when it is entered again. Between
// the two the guest's state is neither before nor behind the instruction. So no run ends there: a last KVM_RUN with
// immediate_exit set finishes the instruction and comes straight back (KVM API 5, "immediate_exit"). What we give up
// instead (an MSR write whose answer is to end the run) is undone by hand, in kvm_exits.cpp.
#include "cpu/kvm/kvm_engine.hpp"

#include <linux/kvm.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "cpu/kvm/kvm_cpuid.hpp"

namespace xenolith::cpu {

namespace {

using Wide = unsigned __int128;

constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;
// However near the deadline is, a run gives the guest this long, so that it always gets on.
constexpr std::chrono::microseconds shortest_run{50};
// Below the highest address of 32 bits, out of the way of firmware and local APICs: three pages that Intel's CPUs need
// for real mode, then one for its page table (KVM API 4.9, 4.37).
constexpr std::uint64_t real_mode_pages = 0xfeffc000, identity_page = 0xfeffb000;

std::uint64_t scale(std::uint64_t value, std::uint64_t by, std::uint64_t per) {
    return static_cast<std::uint64_t>(static_cast<Wide>(value) * by / per);
}

FileDescriptor create_vcpu(const KvmDevice& device, const FileDescriptor& vm, unsigned number) {
    constexpr auto kind = HostLimit::Kind::unavailable;
    // Both only matter to KVM on Intel's CPUs, and must be set before there is a vCPU.
    if (device.capability(KVM_CAP_SET_IDENTITY_MAP_ADDR) != 0) {
        const std::uint64_t address = identity_page;
        vm.require(kind, "KVM_SET_IDENTITY_MAP_ADDR", KVM_SET_IDENTITY_MAP_ADDR, &address);
    }
    if (device.capability(KVM_CAP_SET_TSS_ADDR) != 0)
        vm.require(kind, "KVM_SET_TSS_ADDR", KVM_SET_TSS_ADDR, real_mode_pages);
    return FileDescriptor(vm.require(kind, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, std::uint64_t{number}));
}

// Switches a capability on where the host has it; false where it has not.
bool enable(const KvmDevice& device, const FileDescriptor& vm, std::uint32_t capability, std::uint64_t argument) {
    if (device.capability(static_cast<int>(capability)) == 0) return false;
    kvm_enable_cap request{};
    request.cap = capability;
    request.args[0] = argument;
    return vm.control(KVM_ENABLE_CAP, &request) == 0;
}

}  // namespace

RunArea::RunArea(const KvmDevice& device, const FileDescriptor& vcpu) {
    constexpr auto kind = HostLimit::Kind::unavailable;
    const int size = device.descriptor().require(kind, "KVM_GET_VCPU_MMAP_SIZE", KVM_GET_VCPU_MMAP_SIZE);
    size_ = static_cast<std::size_t>(size);
    void* const area = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.number(), 0);
    if (area == MAP_FAILED || size_ < sizeof(kvm_run)) throw HostLimit(kind, failure_text("mmap of a vCPU", errno));
    area_ = static_cast<kvm_run*>(area);
}

RunArea::~RunArea() { ::munmap(area_, size_); }

std::byte* RunArea::at(std::uint64_t offset, std::uint64_t size) const {
    if (offset > size_ || size > size_ - offset) return nullptr;
    return reinterpret_cast<std::byte*>(area_) + offset;
}

void RunArea::set_immediate_exit(bool on) const {
    std::atomic_ref(area_->immediate_exit).store(on ? 1 : 0);
}

KvmEngine::KvmEngine(mmu::GuestMemory& memory, Environment& environment, const CpuModel& model, const Timing& timing,
                     unsigned vcpu, KvmOptions options)
    : memory_(memory),
      environment_(environment),
      model_(model),
      timing_(timing),
      vcpu_number_(vcpu),
      options_(std::move(options)),
      vm_(device_.create_vm()),
      slots_(vm_, memory, options_.track_dirty_pages),
      vcpu_(create_vcpu(device_, vm_, vcpu)),
      run_area_(device_, vcpu_),
      registers_(device_, vcpu_),
      timer_(vcpu_) {
    // Else KVM turns what it cannot emulate at CPL 3 into #UD, and the guest would see a fault that silicon has not.
    enable(device_, vm_, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
    if (options_.trap) route_ = resolve_route(device_, options_.route);

    const auto wanted_khz = static_cast<std::uint64_t>(timing.frequency / 1000);
    if (device_.capability(KVM_CAP_TSC_CONTROL) != 0) vcpu_.control(KVM_SET_TSC_KHZ, wanted_khz);
    const int khz = vcpu_.control(KVM_GET_TSC_KHZ);
    tsc_frequency_ = khz > 0 ? static_cast<std::uint64_t>(khz) * 1000 : timing.frequency;
    const kvm_device_attr attribute{.flags = 0, .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = 0};
    tsc_offset_settable_ = vcpu_.control(KVM_HAS_DEVICE_ATTR, &attribute) == 0;
}

KvmEngine::~KvmEngine() = default;

// --- Set-up ------------------------------------------------------------------------------------------------------

// What can only be done once the world around the engine is complete: the memory map, and the leaves of CPUID, against
// which KVM checks control registers.
void KvmEngine::prepare() {
    if (region_count_ != memory_.regions().size()) {
        slots_.synchronise();
        region_count_ = memory_.regions().size();
    }
    if (cpuid_done_) return;
    const CpuState reset = reset_state();
    const KvmCpuidTable table = make_cpuid_table(device_, model_, environment_,
                                                 {.cycles = cycles(), .instructions = 0, .vcpu = vcpu_number_,
                                                  .mode = reset.mode(), .cs = 0xf000, .rip = reset.rip, .cpl = 0});
    set_cpuid(vcpu_, table);
    cpuid_done_ = true;
    hidden_features_ = table.hidden;
    registers_.set_has_avx(table.has_avx);
    set_state(unheld_);
}

// The trap may have been configured anew since the last look.
void KvmEngine::follow_trap() {
    if (!options_.trap) return;
    const KvmXenTrap wanted = options_.trap();
    if (wanted == trap_) return;
    if (route_ == KvmRoute::ioctl) {
        tell_kvm_of_trap(wanted);
    } else {
        if (wanted.intercept_hypercalls)
            throw HostLimit(HostLimit::Kind::unavailable,
                            "INTERCEPT_HCALL needs a KVM with KVM_CAP_XEN_HVM: without it VMCALL does not exit");
        filter_msr(wanted.msr);
    }
    trap_ = wanted;
}

void KvmEngine::tell_kvm_of_trap(const KvmXenTrap& trap) {
    kvm_xen_hvm_config config{};
    config.flags = trap.intercept_hypercalls ? KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL : 0;
    config.msr = trap.msr;
    config.blob_addr_32 = trap.blob_address_32;
    config.blob_addr_64 = trap.blob_address_64;
    config.blob_size_32 = trap.blob_pages_32;
    config.blob_size_64 = trap.blob_pages_64;
    vm_.require(HostLimit::Kind::unavailable, "KVM_XEN_HVM_CONFIG", KVM_XEN_HVM_CONFIG, &config);
}

// KVM_X86_SET_MSR_FILTER (KVM API 4.97): a bit of 0 denies, and what is denied exits. Everything else is allowed.
void KvmEngine::filter_msr(std::uint32_t index) {
    if (!enable(device_, vm_, KVM_CAP_X86_USER_SPACE_MSR,
                KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL))
        throw HostLimit(HostLimit::Kind::unavailable, "KVM_CAP_X86_USER_SPACE_MSR: cannot be enabled");
    std::uint64_t denied = 0;
    kvm_msr_filter filter{};
    filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
    if (index != 0) {
        filter.ranges[0].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
        filter.ranges[0].nmsrs = 1;
        filter.ranges[0].base = index;
        filter.ranges[0].bitmap = reinterpret_cast<std::uint8_t*>(&denied);
    }
    vm_.require(HostLimit::Kind::unavailable, "KVM_X86_SET_MSR_FILTER", KVM_X86_SET_MSR_FILTER, &filter);
}

// --- State -------------------------------------------------------------------------------------------------------

CpuState KvmEngine::state() const {
    CpuState state = unheld_;
    registers_.read(state);
    state.activity = activity_;
    if (stepping_ && guest_trap_flag_) state.rflags |= rflags::tf;
    if (asking_rip_) state.rip = *asking_rip_;
    std::uint64_t tsc = tsc_;
    if (clock_running_) registers_.read_msr(msr::tsc, tsc);
    state.msr.tsc_offset = tsc - cycles();
    return state;
}

void KvmEngine::set_state(const CpuState& state) {
    unheld_ = state;
    unheld_.registers[CpuState::rip_slot] = 0;
    prepare();
    registers_.write(state);
    activity_ = state.activity;
    general_valid_ = ready_known_ = false;
    run_area_->cr8 = state.cr8;
    tsc_ = cycles() + state.msr.tsc_offset;
    if (clock_running_) set_guest_tsc(tsc_);
}

const CpuState& KvmEngine::general() const {
    if (!general_valid_) registers_.read_general(general_);
    general_valid_ = true;
    return general_;
}

Moment KvmEngine::moment() const {
    const CpuState& state = general();
    return {.cycles = cycles(),
            .instructions = instructions_,
            .vcpu = vcpu_number_,
            .mode = state.mode(),
            .cs = state.segment(SegmentName::cs).selector,
            .rip = asking_rip_.value_or(state.rip),
            .cpl = state.cpl()};
}

// --- Time --------------------------------------------------------------------------------------------------------

std::uint64_t KvmEngine::cycles() const {
    if (!clock_running_) return clock_base_;
    const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - clock_start_);
    return clock_base_ + scale(static_cast<std::uint64_t>(passed.count()), timing_.frequency, nanoseconds_per_second);
}

KickTimer::Time KvmEngine::time_at(std::uint64_t cycles) const {
    constexpr std::uint64_t a_year = 365ull * 24 * 3600 * nanoseconds_per_second;
    const std::uint64_t ahead = cycles > clock_base_ ? cycles - clock_base_ : 0;
    const Wide nanoseconds = static_cast<Wide>(ahead) * nanoseconds_per_second / timing_.frequency + 1;
    const auto soon = static_cast<std::int64_t>(nanoseconds < a_year ? static_cast<std::uint64_t>(nanoseconds) : a_year);
    return clock_start_ + std::chrono::nanoseconds(soon);
}

void KvmEngine::start_clock() {
    set_guest_tsc(tsc_);
    clock_start_ = Clock::now();
    clock_running_ = true;
}

void KvmEngine::stop_clock() {
    clock_base_ = cycles();
    clock_running_ = false;
    std::uint64_t tsc = 0;
    if (registers_.read_msr(msr::tsc, tsc)) tsc_ = tsc;
}

// By its offset if KVM lets us: a write of the MSR itself is taken for an attempt to synchronise several vCPUs, and
// ignored if it is less than a second off.
void KvmEngine::set_guest_tsc(std::uint64_t value) {
    if (!tsc_offset_settable_) {
        registers_.write_msr(msr::tsc, value);
        return;
    }
    std::uint64_t offset = 0, present = 0;
    kvm_device_attr attribute{.flags = 0, .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
                              .addr = reinterpret_cast<std::uint64_t>(&offset)};
    if (vcpu_.control(KVM_GET_DEVICE_ATTR, &attribute) != 0 || !registers_.read_msr(msr::tsc, present)) return;
    offset += value - present;
    vcpu_.control(KVM_SET_DEVICE_ATTR, &attribute);
}

void KvmEngine::advance_to(std::uint64_t cycles) {
    const std::uint64_t now = this->cycles();
    if (cycles <= now) return;
    clock_base_ += cycles - now;
    tsc_ += scale(cycles - now, tsc_frequency_, timing_.frequency);
}

void KvmEngine::shorten_deadline(std::uint64_t cycles) { deadline_ = std::min(deadline_, cycles); }

// --- The run -----------------------------------------------------------------------------------------------------

Exit KvmEngine::run(const Budget& budget) {
    prepare();
    const KickTimer::Session session(timer_);
    deadline_ = budget.until_cycles;
    stepping_ = budget.instructions != std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t most = std::numeric_limits<std::uint64_t>::max() - instructions_;
    instruction_end_ = instructions_ + std::min(budget.instructions, most);
    start_clock();
    // Whatever ends the run, the clock stops, and no instruction is left half done.
    struct Stopped {
        KvmEngine& engine;
        ~Stopped() {
            engine.asking_rip_.reset();
            engine.stop_clock();
            engine.stepping_ = false;
        }
    } const stopped{*this};
    limit_.reset();
    if (options_.time_limit.count() > 0) limit_ = clock_start_ + options_.time_limit;
    deadline_ = std::max(deadline_, clock_base_ + scale(static_cast<std::uint64_t>(shortest_run.count()),
                                                        timing_.frequency, 1'000'000));
    for (;;) {
        std::optional<Exit> exit;
        if (!completion_pending_) exit = look_around();
        if (!exit && (completion_pending_ || enter())) exit = handle_exit();
        if (exit || completion_pending_) {
            // Stops, deadlines and steps are looked at between instructions: this one is finished first. Only when
            // nothing asks for a look does KVM finish it on its way back into the guest.
            const bool hurry = exit || stepping_ || stop_requested_.load() || interrupt_line_ || cycles() >= deadline_;
            if (hurry) complete();
        }
        if (exit) {
            slots_.collect_dirty_pages();
            return *exit;
        }
    }
}

}  // namespace xenolith::cpu
