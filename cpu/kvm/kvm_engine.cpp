// The run: enter the guest, answer its exit, look around, enter again.
//
// KVM finishes an instruction that exited to us (a port, device memory, an MSR) only when it is entered
// again. Between the two the guest's state is neither before nor behind the instruction. So no run ends
// there: a last KVM_RUN with immediate_exit set finishes the instruction and comes straight back (KVM API 5,
// "immediate_exit"). What we give up instead (an MSR write whose answer is to end the run) is undone by hand,
// in kvm_exits.cpp.
#include "cpu/kvm/kvm_engine.hpp"

#include <linux/kvm.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <utility>

#include "cpu/exceptions/fault.hpp"
#include "cpu/kvm/breakpoint_probe.hpp"
#include "cpu/kvm/instruction_bytes.hpp"
#include "cpu/kvm/kvm_cpuid.hpp"
#include "cpu/kvm/paging_probe.hpp"

namespace xenolith::cpu {

namespace {

using Wide = unsigned __int128;

constexpr std::uint64_t nanoseconds_per_second = 1'000'000'000;
// However near the deadline is, a run gives the guest this long, so that it always gets on.
constexpr std::chrono::duration<std::uint64_t, std::micro> shortest_run{50};
// Below the highest address of 32 bits, out of the way of firmware and local APICs: three pages that Intel's
// CPUs need for real mode, then one for its page table (KVM API 4.9, 4.37).
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
    // Else KVM turns what it cannot emulate at CPL 3 into #UD, and the guest would see a fault that silicon
    // has not.
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

// --- Set-up -----------------------------------------------------------------------------------------------

// What can only be done once the world around the engine is complete: the memory map, and the leaves of
// CPUID, against which KVM checks control registers.
void KvmEngine::prepare() {
    if (region_count_ != memory_.regions().size()) {
        slots_.synchronise();
        region_count_ = memory_.regions().size();
    }
    if (prepared_) return;
    const CpuState reset = reset_state();
    const KvmCpuidTable table = make_cpuid_table(device_, model_, environment_,
                                                 {.cycles = cycles(),
                                                  .instructions = 0,
                                                  .vcpu = vcpu_number_,
                                                  .mode = reset.mode(),
                                                  .cs = 0xf000,
                                                  .rip = reset.rip,
                                                  .cpl = 0});
    set_cpuid(vcpu_, table);
    prepared_ = true;
    hidden_features_ = table.hidden;
    registers_.set_has_avx(table.has_avx);
    set_state(unheld_);
}

bool KvmEngine::can_page_outside_long_mode() {
    static const bool can = pages_outside_long_mode(device_);  // it is the host that can: one try per process
    return can;
}

// The trap may have been configured anew since the last look.
void KvmEngine::follow_trap() {
    const KvmXenTrap wanted = options_.trap ? options_.trap() : KvmXenTrap{};
    const bool changed = wanted != trap_, by_ioctl = route_ == KvmRoute::ioctl;
    if (!filter_set_ || (changed && !by_ioctl)) filter_msrs(by_ioctl ? 0 : wanted.msr);
    if (changed && by_ioctl) tell_kvm_of_trap(wanted);
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

// KVM_X86_SET_MSR_FILTER (KVM API 4.97): a bit of 0 denies, and what is denied exits, as do registers that KVM does
// not know. Everything else is allowed. The local APIC is the Environment's.
void KvmEngine::filter_msrs(std::uint32_t trapped) {
    ask_for_msr_exits(true);
    std::uint64_t denied = 0;
    kvm_msr_filter filter{};
    filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
    std::size_t count = 0;
    for (const std::uint32_t index : {msr::apic_base, msr::tsc_deadline, trapped}) {
        if (index == 0) continue;
        filter.ranges[count++] = {.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                                  .nmsrs = 1,
                                  .base = index,
                                  .bitmap = reinterpret_cast<std::uint8_t*>(&denied)};
    }
    vm_.require(HostLimit::Kind::unavailable, "KVM_X86_SET_MSR_FILTER", KVM_X86_SET_MSR_FILTER, &filter);
    filter_set_ = true;
}

// KVM_CAP_X86_USER_SPACE_MSR (KVM API 7.25): exits for MSRs that the filter denies, and, if wanted, also for what KVM
// itself does not know or refuses.
void KvmEngine::ask_for_msr_exits(bool also_refused) {
    constexpr std::uint64_t refused = KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL;
    if (!enable(device_, vm_, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER | (also_refused ? refused : 0)))
        throw HostLimit(HostLimit::Kind::unavailable, "KVM_CAP_X86_USER_SPACE_MSR: cannot be enabled");
}

// --- State ------------------------------------------------------------------------------------------------

CpuState KvmEngine::state() const {
    CpuState state = unheld_;
    if (!prepared_) return state;  // the reset state, which KVM has yet to be given
    registers_.read(state);
    state.cr8 = run_area_->cr8;
    state.activity = activity_;
    if (debug_on_ && guest_trap_flag_) state.rflags |= rflags::tf;
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
    // A KVM without hardware virtualization takes both and gets them wrong: VM86 code leaves no trace of the
    // mode in the flags that its faults push.
    const bool pages = state.paging() && !state.in_long_mode();
    if ((pages || state.in_vm86()) && !can_page_outside_long_mode())
        throw HostLimit(HostLimit::Kind::state, pages
                                                    ? "the host's KVM cannot run a guest with paging outside long mode"
                                                    : "the host's KVM cannot run virtual-8086 code as a CPU does");
    registers_.write(state);
    activity_ = state.activity;
    general_valid_ = ready_known_ = false;
    run_area_->cr8 = state.cr8;
    task_priority_ = static_cast<std::uint8_t>(state.cr8);
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

// --- Time -------------------------------------------------------------------------------------------------

std::uint64_t KvmEngine::cycles() const {
    if (!clock_running_) return clock_base_;
    const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - clock_start_);
    return clock_base_ + scale(static_cast<std::uint64_t>(passed.count()), timing_.frequency, nanoseconds_per_second);
}

KickTimer::Time KvmEngine::time_at(std::uint64_t cycles) const {
    constexpr std::uint64_t a_year = 365ull * 24 * 3600 * nanoseconds_per_second;
    const std::uint64_t ahead = cycles > clock_base_ ? cycles - clock_base_ : 0;
    const Wide nanoseconds = static_cast<Wide>(ahead) * nanoseconds_per_second / timing_.frequency + 1;
    const auto soon =
        static_cast<std::int64_t>(nanoseconds < a_year ? static_cast<std::uint64_t>(nanoseconds) : a_year);
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

// By its offset if KVM lets us: a write of the MSR itself is taken for an attempt to synchronise several
// vCPUs, and ignored if it is less than a second off.
void KvmEngine::set_guest_tsc(std::uint64_t value) {
    if (!tsc_offset_settable_) {
        registers_.write_msr(msr::tsc, value);
        return;
    }
    std::uint64_t offset = 0, present = 0;
    kvm_device_attr attribute{.flags = 0,
                              .group = KVM_VCPU_TSC_CTRL,
                              .attr = KVM_VCPU_TSC_OFFSET,
                              .addr = reinterpret_cast<std::uint64_t>(&offset)};
    if (vcpu_.control(KVM_GET_DEVICE_ATTR, &attribute) != 0 || !registers_.read_msr(msr::tsc, present)) return;
    offset += value - present;
    vcpu_.control(KVM_SET_DEVICE_ATTR, &attribute);
}

void KvmEngine::recall(const EngineMemory& memory) {
    clock_base_ = 0;
    advance_to(memory.cycles);
    instructions_ = memory.instructions;
    tsc_ = memory.cycles + unheld_.msr.tsc_offset;
}

void KvmEngine::advance_to(std::uint64_t cycles) {
    const std::uint64_t now = this->cycles();
    if (cycles <= now) return;
    clock_base_ += cycles - now;
    tsc_ += scale(cycles - now, tsc_frequency_, timing_.frequency);
}

void KvmEngine::shorten_deadline(std::uint64_t cycles) { deadline_ = std::min(deadline_, cycles); }

// --- The run ----------------------------------------------------------------------------------------------

Exit KvmEngine::run(const Budget& budget) {
    prepare();
    const KickTimer::Session session(timer_);
    stepping_ = budget.instructions != std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t most = std::numeric_limits<std::uint64_t>::max() - instructions_;
    instruction_end_ = instructions_ + std::min(budget.instructions, most);
    start_clock();
    struct ClockStop {
        KvmEngine& engine;
        ~ClockStop() {
            engine.asking_rip_.reset();
            engine.stop_clock();
        }
    } const clock_stop{*this};
    const std::uint64_t shortest = scale(shortest_run.count(), timing_.frequency, 1'000'000);
    deadline_ = std::max(budget.until_cycles, clock_base_ + shortest);
    limit_.reset();
    if (options_.time_limit.count() > 0) limit_ = clock_start_ + options_.time_limit;
    deliver_pending_debug();
    run_start_ = points_.any() ? general().rip : 0;
    leaving_point_ = points_.use_registers() && points_.at(linear_rip());
    for (;;) {
        std::optional<Exit> exit = look_around();
        if (!exit) {
            prepare_debugging();
            if (const int error = enter(); error == 0) {
                exit = handle_exit();
                const bool stepped = debug_on_;
                if (!exit && stepped) exit = finish_step();
                if (!exit && points_.any()) exit = meet_points(stepped);
            } else if (error != EINTR && error != EAGAIN) {
                exit = fail_run(error);
            }
        }
        if (!exit) continue;
        if (points_.any()) exit = end_at_point(*exit);
        slots_.collect_dirty_pages();
        return *exit;
    }
}

// Everything that may come between two instructions. An instruction that is still half done is finished first
// if there is anything to do; else KVM finishes it on its way into the guest.
std::optional<Exit> KvmEngine::look_around() {
    follow_trap();
    const bool late = cycles() >= deadline_, over_limit = limit_ && Clock::now() >= *limit_;
    if (completion_pending_ && (late || over_limit || stop_requested_.load() || interrupt_line_))
        if (const auto exit = complete()) return exit;
    if (activity_ == Activity::shutdown) return Exit{ExitReason::shutdown};
    if (!completion_pending_ && stop_requested_.exchange(false)) return Exit{ExitReason::stopped};
    if (late) return Exit{ExitReason::deadline};
    if (instructions_ >= instruction_end_) return Exit{ExitReason::instructions};
    if (over_limit)
        throw HostLimit(HostLimit::Kind::time, "the guest ran for " + std::to_string(options_.time_limit.count()) +
                                                   " ms without an end, the limit of one run on KVM");
    if (activity_ != Activity::running && !wake_up()) return Exit{ExitReason::halted};
    if (!completion_pending_) offer_interrupt();
    return std::nullopt;
}

// Without an in-kernel interrupt controller a halted vCPU is ours to wake: KVM knows no such state.
bool KvmEngine::wake_up() {
    if (activity_ != Activity::halted) return false;
    if (!registers_.nmi_waits() && !(interrupt_line_ && ready_for_interrupt())) return false;
    activity_ = Activity::running;
    return true;
}

bool KvmEngine::ready_for_interrupt() {
    if (!ready_known_) ready_ = registers_.takes_interrupt();
    ready_known_ = true;
    return ready_;
}

// KVM_INTERRUPT (KVM API 4.16) at once if the guest takes it, else an exit as soon as it does.
void KvmEngine::offer_interrupt() {
    if (interrupt_line_ && ready_for_interrupt()) {
        const kvm_interrupt interrupt{.irq = environment_.acknowledge_interrupt(moment())};
        vcpu_.require(HostLimit::Kind::entry, "KVM_INTERRUPT", KVM_INTERRUPT, &interrupt);
        ready_ = false;
    }
    run_area_->request_interrupt_window = interrupt_line_ ? 1 : 0;
}

// 0, or the errno of KVM_RUN.
int KvmEngine::enter() {
    run_area_.set_immediate_exit(false);
    // A request from here on finds the flag cleared, and sets it again.
    if (stop_requested_.load()) return EINTR;
    const KickTimer::Time end = time_at(deadline_);
    timer_.arm(limit_ ? std::min(end, *limit_) : end);
    return run_vcpu();
}

int KvmEngine::run_vcpu() {
    completion_pending_ = false;
    general_valid_ = false;
    const int error = vcpu_.control(KVM_RUN) == 0 ? 0 : errno;
    if (std::exchange(kvm_answers_trap_, false)) ask_for_msr_exits(true);
    ready_ = run_area_->ready_for_interrupt_injection != 0;
    ready_known_ = true;
    if (error == EINTR) timer_.drain();
    notice_task_priority();
    return error;
}

// CR8 is the one register of the local APIC that KVM holds, though it may not tell of each write (KVM API 5,
// KVM_EXIT_SET_TPR).
void KvmEngine::notice_task_priority() {
    const auto now = static_cast<std::uint8_t>(run_area_->cr8);
    if (now == task_priority_) return;
    task_priority_ = now;
    environment_.task_priority_written(moment(), now);
}

void KvmEngine::set_task_priority(std::uint8_t cr8) {
    task_priority_ = cr8;
    run_area_->cr8 = cr8;
}

// Has KVM finish the instruction that exited to us, and no other.
std::optional<Exit> KvmEngine::complete() {
    while (completion_pending_) {
        run_area_.set_immediate_exit(true);
        const int error = run_vcpu();
        if (error == EINTR) return std::nullopt;
        // An access of several pieces exits once for each.
        if (const auto exit = error == 0 ? handle_exit() : fail_run(error)) return exit;
    }
    return std::nullopt;
}

void KvmEngine::raise_nmi() {
    vcpu_.require(HostLimit::Kind::entry, "KVM_NMI", KVM_NMI);
    ready_known_ = false;
}

void KvmEngine::request_stop() {
    stop_requested_.store(true);
    run_area_.set_immediate_exit(true);
    timer_.kick();
}

// --- Steps ------------------------------------------------------------------------------------------------

// KVM_SET_GUEST_DEBUG (KVM API 4.87). While it single-steps, KVM shows RFLAGS without TF, so the guest's own
// is noted.
void KvmEngine::prepare_debugging() {
    step_done_ = step_faulted_ = debug_exit_ = false;
    accessed_.reset();
    met_.reset();
    const bool step = stepping_ || leaving_point_ || kvm_answers_trap_ || points_.need_steps();
    const bool watch = points_.use_registers() && !leaving_point_;
    if (!step && !debug_on_ && !watch && !watching_) return;
    if (!debug_on_) guest_trap_flag_ = (general().rflags & rflags::tf) != 0 && !trap_queued_;
    step_rip_ = general().rip;
    if (points_.need_steps()) accessed_ = points_.accessed_by(code_at(step_rip_, longest_instruction), general());
    kvm_guest_debug debug{};
    if (step) debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    if (watch) {
        debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        points_.arm(debug);
    }
    vcpu_.require(HostLimit::Kind::entry, "KVM_SET_GUEST_DEBUG", KVM_SET_GUEST_DEBUG, &debug);
    general_valid_ = false;
    if (debug_on_ && !step && guest_trap_flag_) restore_trap_flag();
    debug_on_ = step;
    watching_ = watch;
    trap_queued_ = false;
}

void KvmEngine::restore_trap_flag() {
    const CpuState before = general();
    CpuState after = before;
    after.rflags |= rflags::tf;
    registers_.write_changes(before, after);
    general_valid_ = false;
    guest_trap_flag_ = false;
}

// Counts the instruction, if one was completed, and gives the guest the trap it asked for itself.
std::optional<Exit> KvmEngine::finish_step() {
    if (completion_pending_) {
        step_done_ = !step_faulted_;
        if (const auto exit = complete()) return exit;
    }
    if (!step_done_) return std::nullopt;
    const std::vector<std::byte> code = code_at(step_rip_, longest_instruction);
    // Some KVMs report the step and forget the halt.
    if (const std::size_t length = length_of_halt(code); length != 0 && general().rip == step_rip_ + length)
        activity_ = Activity::halted;
    // A repeated string instruction stops behind each iteration, and has not completed while it stands where
    // it stood.
    if (general().rip == step_rip_ && is_repeated_string_instruction(code)) return std::nullopt;
    ++instructions_;
    if (!guest_trap_flag_) return std::nullopt;
    const kvm_guest_debug off{};
    vcpu_.require(HostLimit::Kind::entry, "KVM_SET_GUEST_DEBUG", KVM_SET_GUEST_DEBUG, &off);
    debug_on_ = watching_ = false;
    restore_trap_flag();
    give_guest_its_trap(dr6::bs);
    trap_queued_ = true;
    return std::nullopt;
}

// --- A debugger's points ------------------------------------------------------------------------------------------

void KvmEngine::set_debug_points(std::vector<DebugPoint> points) {
    points_.set(points, [this](DebugPoint::Kind kind) {
        std::optional<bool>& known = watches_[static_cast<std::size_t>(kind)];
        if (!known) known = watches(device_, kind);
        return *known;
    });
}

std::uint64_t KvmEngine::linear_rip() const {
    const CpuState& state = general();
    return state.code_linear(state.rip);
}

void KvmEngine::give_guest_its_trap(std::uint64_t dr6_bits) {
    registers_.note_debug_status(dr6_bits);
    registers_.queue_exception(static_cast<std::uint8_t>(Vector::debug));
    ready_known_ = false;
}

// KVM has no place for a trap that is due: it is given when the guest goes on.
void KvmEngine::deliver_pending_debug() {
    if (unheld_.pending_debug == 0 || unheld_.debug_shadow) return;
    give_guest_its_trap(std::exchange(unheld_.pending_debug, 0));
}

// What the last exit has met.
std::optional<Exit> KvmEngine::meet_points(bool stepped) {
    if (leaving_point_ && (step_done_ || general().rip != run_start_)) leaving_point_ = false;
    if (met_) return Exit{.reason = ExitReason::debug_point, .point = *met_};
    // While the CPU's debug registers are ours, KVM leaves the guest's own steps to us.
    constexpr std::uint64_t guests = dr6::bs | dr6::bd | dr6::bt;
    if (debug_exit_ && !stepped) give_guest_its_trap(run_area_->debug.arch.dr6 & guests);
    if (!stepped || !step_done_) return std::nullopt;
    if (accessed_) return Exit{.reason = ExitReason::debug_point, .point = *accessed_};
    if (const auto point = points_.stepped_to(linear_rip()))
        return Exit{.reason = ExitReason::debug_point, .point = *point};
    return std::nullopt;
}

// A run that would end by itself where a debugger waits says so: the next one starts there, and would not.
std::optional<Exit> KvmEngine::end_at_point(const Exit& exit) {
    const bool goes_on = exit.reason == ExitReason::deadline || exit.reason == ExitReason::instructions ||
                         exit.reason == ExitReason::stopped;
    if (!goes_on || general().rip == run_start_) return exit;
    const auto point = points_.at(linear_rip());
    if (!point) return exit;
    if (exit.reason == ExitReason::stopped) stop_requested_.store(true);
    return Exit{.reason = ExitReason::debug_point, .point = *point};
}

}  // namespace xenolith::cpu
