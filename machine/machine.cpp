// How a run goes: the engine runs until the next timer is due or something ends it; the clock then moves to where the
// engine is, and devices do what is due. When the CPU halts, the clock moves straight to the next timer.
//
// A guest's access to a device first brings the clock to the cycle of the access, so that a device always answers as of
// now. Whatever a device arms meanwhile brings the engine's deadline nearer.
#include "machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "cpu/decode/disassembler.hpp"
#include "cpu/host_limit.hpp"
#include "cpu/kvm/kvm_engine.hpp"
#include "cpu/paged_memory.hpp"
#include "machine/acpi_tables.hpp"
#include "machine/board.hpp"
#include "machine/engines.hpp"
#include "machine/firmware.hpp"
#include "machine/machine_state.hpp"
#include "mmu/page_walk.hpp"
#include "xen/blob.hpp"
#include "xen/error_numbers.hpp"
#include "xen/hypercall_exit.hpp"
#include "xen/hypercall_page.hpp"

namespace xenolith::machine {

namespace {

using Wall = std::chrono::steady_clock;

constexpr std::size_t shown_page_bytes = 96;  // three slots

const cpu::CpuModel& model_of(const MachineOptions& options) {
    return options.model != nullptr ? *options.model : *cpu::CpuModel::find("nehalem");
}

const cpu::Timing& timing_of(const MachineOptions& options) {
    return options.timing != nullptr ? *options.timing : *cpu::find_timing("nehalem");
}

const EngineChoice& engine_choice_of(const MachineOptions& options) {
    const EngineChoice* const choice = find_engine(options.engine);
    if (choice == nullptr) throw std::invalid_argument(fmt::format("there is no engine named '{}'", options.engine));
    if (choice->unavailable != nullptr)
        if (const auto why = choice->unavailable())
            throw cpu::HostLimit(cpu::HostLimit::Kind::unavailable,
                                 fmt::format("the engine '{}' cannot run here: {}", choice->name, *why));
    return *choice;
}

bool is_kvm(const EngineChoice& choice) { return choice.name == "kvm"; }

// xen/ knows memory by an interface of its own, because it knows no CPU.
class DomainMemory final : public xen::GuestLinearMemory {
  public:
    explicit DomainMemory(cpu::LinearMemory& memory) : memory_(memory) {}
    bool read(mmu::GuestLinear address, std::span<std::byte> to) override { return memory_.read_linear(address, to); }
    bool write(mmu::GuestLinear address, std::span<const std::byte> from) override {
        return memory_.write_linear(address, from);
    }

  private:
    cpu::LinearMemory& memory_;
};

xen::HypercallRegisters hypercall_registers(const cpu::CpuState& state) {
    xen::HypercallRegisters registers;
    std::copy_n(state.registers.begin(), 16, registers.general.begin());
    registers.long_mode_code = state.in_64bit_code();
    registers.cpl = state.cpl();
    registers.vm86 = state.in_vm86();
    return registers;
}

}  // namespace

Machine::Machine(const MachineOptions& options)
    : options_(options),
      model_(model_of(options)),
      timing_(timing_of(options)),
      bus_(memory_),
      clock_(timing_.frequency),
      domain_({}, {.console_write =
                       [out = options.debug_out](std::string_view text) {
                           if (out)
                               for (const char letter : text) out(static_cast<std::uint8_t>(letter));
                       },
                   .yield = {},
                   .shutdown =
                       [this](unsigned, xen::ShutdownReason reason) {
                           stop(RunEnd::guest_exit, fmt::format("the guest called sched_op(shutdown): {}",
                                                                xen::shutdown_reason_name(reason)));
                       }}),
      engine_choice_(engine_choice_of(options)),
      kvm_route_(is_kvm(engine_choice_) && options.xen ? cpu::resolve_route(cpu::KvmDevice(), options.kvm_route)
                                                       : options.kvm_route) {
    options_.serial_out = options_.debug_out = {};
    add_ram(options.ram);
    if (options.xen) configure_xen(*options.xen);
    engine_ = make_engine(0);
    board_ = std::make_unique<Board>(
        bus_, clock_, model_,
        Board::Configuration{.ram = options.ram, .serial_out = options.serial_out, .debug_out = options.debug_out},
        Board::Outputs{
            .interrupt = [this](bool asserted) { engine_->set_interrupt_line(asserted && !limits_.hold_interrupts); },
            .non_maskable = [this] { engine_->raise_nmi(); },
            .task_priority_changed = [this](std::uint8_t cr8) { engine_->set_task_priority(cr8); },
            .reset = [this](std::string how) { stop(RunEnd::reset, std::move(how)); },
            .power_off = [this] { stop(RunEnd::powered_off, "the guest switched the machine off"); },
            .debug_exit =
                [this](std::uint32_t status) {
                    result_.status = status;
                    stop(RunEnd::guest_exit, fmt::format("the guest wrote the debug-exit port: status {}", status));
                }});
    set_up_as_firmware_does();
}

// A system that is loaded straight into memory finds what firmware would have left: interrupts, ACPI tables, and
// what a BIOS keeps in memory.
void Machine::set_up_as_firmware_does() {
    board_->set_up_as_firmware_does();
    write_firmware(memory_);
    const AcpiImage acpi = build_acpi_tables({});
    memory_.write(acpi.base, acpi.bytes);
    rsdp_ = acpi.rsdp;
}

Machine::~Machine() = default;

MachineState Machine::save() const {
    MachineState state{.cpu = engine_->state(),
                       .engine = engine_->remember(),
                       .clock = clock_.now(),
                       .traps = traps_,
                       .trap = {},
                       .latched_long_mode = {},
                       .page_written = page_written_,
                       .direct_call_remarked = direct_call_remarked_,
                       .board = board_->save(),
                       .firmware_items = board_->fw_cfg.items()};
    if (trap_) {
        state.trap = trap_->config();
        state.latched_long_mode = trap_->latched_long_mode();
    }
    return state;
}

void Machine::restore(const MachineState& state) {
    if (state.trap.has_value() != trap_.has_value()) throw std::invalid_argument("Xen: there, or not there");
    engine_->set_state(state.cpu);
    engine_->recall(state.engine);
    instructions_at_start_ = state.engine.instructions;
    clock_.restore(state.clock);
    board_->restore(state.board);
    for (const auto& [key, bytes] : state.firmware_items) board_->fw_cfg.restore_item(key, bytes);
    traps_ = state.traps;
    page_written_ = state.page_written;
    direct_call_remarked_ = state.direct_call_remarked;
    if (trap_) {
        if (trap_->configure(*state.trap) != 0) throw std::invalid_argument("Xen: the configuration is refused");
        trap_->restore_latch(state.latched_long_mode);
    }
}

cpu::Engine& Machine::add_vcpu() {
    const auto number = static_cast<unsigned>(more_engines_.size() + 1);
    return *more_engines_.emplace_back(make_engine(number));
}

std::unique_ptr<cpu::Engine> Machine::make_engine(unsigned vcpu) {
    EngineParts parts{memory_, *this, model_, timing_, vcpu};
    parts.random_seed = options_.random_seed;
    if (is_kvm(engine_choice_) && trap_) {
        parts.kvm.route = kvm_route_;
        if (kvm_route_ == cpu::KvmRoute::ioctl) {
            if (!kernel_blobs_) kernel_blobs_.emplace();
            parts.kvm.trap = [this] {
                refresh_kernel_blobs();
                return kernel_trap_;
            };
        } else {
            parts.kvm.trap = [this] {
                return cpu::KvmXenTrap{.msr = trap_->config().msr,
                                       .intercept_hypercalls = trap_->intercepts_hypercalls()};
            };
        }
    }
    return engine_choice_.make(parts);
}

// The kernel's copy of the blobs follows the emulated user memory, even in the middle of a run.
void Machine::refresh_kernel_blobs() {
    const std::uint64_t generation = blob_memory_.generation();
    if (trap_->config() == kernel_config_ && generation == kernel_blobs_generation_) return;
    kernel_config_ = trap_->config();
    kernel_blobs_generation_ = generation;
    kernel_trap_ = kernel_blobs_->refresh(kernel_config_, blob_memory_);
}

void Machine::add_ram(std::uint64_t bytes) {
    if (bytes < memory_map::smallest_ram || bytes > mmu::GuestMemory::maximum_ram || bytes % mmu::page_size != 0)
        throw std::invalid_argument(fmt::format("RAM of {} bytes: expected whole pages, from {} MiB to {} GiB", bytes,
                                                memory_map::smallest_ram >> 20, mmu::GuestMemory::maximum_ram >> 30));
    const std::uint64_t below_gap = std::min(bytes, memory_map::device_gap.value);
    memory_.add_ram(memory_map::low_ram, memory_map::low_ram_size, "low RAM");
    memory_.add_ram(memory_map::firmware_area, memory_map::firmware_area_size, "firmware's tables");
    memory_.add_ram(memory_map::extended_ram, below_gap - memory_map::extended_ram.value, "RAM");
    if (bytes > below_gap) memory_.add_ram(memory_map::high_ram, bytes - below_gap, "high RAM");
}

std::vector<loader::MemoryMapEntry> Machine::firmware_memory_map() const {
    using loader::MemoryType;
    const std::uint64_t usable_low = memory_map::low_ram_size - memory_map::ebda_size;
    std::vector<loader::MemoryMapEntry> map = {
        {memory_map::low_ram, usable_low, MemoryType::usable},
        {memory_map::low_ram + usable_low, memory_map::ebda_size, MemoryType::reserved},
        {memory_map::firmware_area, memory_map::firmware_area_size, MemoryType::reserved},
    };
    for (const auto& region : memory_.regions())
        if (region->kind == mmu::RegionKind::ram && region->start >= memory_map::extended_ram)
            map.push_back({region->start, region->size, MemoryType::usable});
    return map;
}

loader::LoadedImage Machine::load(const loader::ImageFile& image, loader::LoadOptions options) {
    if (options.memory_map.empty()) options.memory_map = firmware_memory_map();
    if (options.rsdp.value == 0) options.rsdp = rsdp_;
    describe_to_firmware(image, options);
    loader::LoadedImage loaded = loader::load(image, options, memory_);
    engine_->set_state(loaded.entry_state);
    return loaded;
}

// What is loaded, for a guest that asks the firmware configuration device.
void Machine::describe_to_firmware(const loader::ImageFile& image, const loader::LoadOptions& options) {
    const auto blob_of = [](const loader::ImageFile& file) {
        return devices::FwCfg::Blob{.address = 0, .bytes = {file.bytes().begin(), file.bytes().end()}};
    };
    board_->fw_cfg.set_kernel(blob_of(image), 0);
    if (!options.modules.empty()) board_->fw_cfg.set_initrd(blob_of(options.modules.front().file));
    if (!options.command_line.empty()) board_->fw_cfg.set_command_line(0, options.command_line);
}

void Machine::configure_xen(const XenOptions& options) {
    const xen::StubKind kind = !engine_choice_.shows_hypercalls      ? xen::StubKind::doorbell
                               : model_.vendor() == cpu::Vendor::amd ? xen::StubKind::vmmcall
                                                                     : xen::StubKind::vmcall;
    trap_.emplace(
        *options.profile, memory_, blob_memory_,
        model_.vendor() == cpu::Vendor::amd ? xen::HypercallInstruction::vmmcall : xen::HypercallInstruction::vmcall);
    xen::HvmConfig config;
    config.msr = options.msr;
    if (options.intercept_hypercalls) {
        config.flags = xen::hvm_config_flag::intercept_hcall;
    } else {
        const auto map = [&](const std::vector<std::byte>& given, std::uint64_t address, std::uint64_t& config_address,
                             std::uint8_t& config_pages) {
            const std::vector<std::byte> blob = given.empty() ? xen::make_blob(kind) : given;
            blob_memory_.map(address, blob);
            config_address = address;
            config_pages = xen::blob_pages(blob);
        };
        map(options.blob_32, blob_address_32, config.blob_addr_32, config.blob_size_32);
        map(options.blob_64, blob_address_64, config.blob_addr_64, config.blob_size_64);
    }
    if (const int error = trap_->configure(config); error != 0)
        throw std::invalid_argument(fmt::format("{} refuses the configuration (MSR {:#x}, flags {}) with {}",
                                                options.profile->name, config.msr,
                                                xen::hvm_config_flag_names(config.flags), xen::error_text(error)));
    cpuid_source_.msr = options.msr;
    cpuid_source_.tsc_khz = static_cast<std::uint32_t>(timing_.frequency / 1000);
    cpuid_source_.rdtscp = model_.has(cpu::Feature::rdtscp);
}

bool Machine::serial_in(std::uint8_t byte) {
    const bool taken = board_->serial_feed.send(byte);
    synchronise_deadline();
    return taken;
}

// --- The run -----------------------------------------------------------------------------------------------------

Totals Machine::totals() const {
    Totals totals;
    totals.instructions = engine_->instructions();
    totals.cycles = engine_->cycles();
    totals.traps = traps_;
    totals.seconds = seconds_;
    totals.mips = seconds_ > 0 ? static_cast<double>(totals.instructions - instructions_at_start_) / seconds_ / 1e6 : 0;
    return totals;
}

void Machine::stop(RunEnd end, std::string reason) {
    if (stopped_) return;
    stopped_ = true;
    result_.end = end;
    result_.reason = std::move(reason);
    engine_->request_stop();
}

void Machine::synchronise_deadline() { engine_->shorten_deadline(clock_.next_deadline()); }

RunResult Machine::run(const RunLimits& limits) {
    // The host's clock is looked at between slices of the guest's; where a slice ends changes nothing for the guest.
    constexpr std::uint64_t slice = 5'000'000;
    constexpr std::chrono::milliseconds between_calls{20};
    // In real time an idle guest's clock moves on by no more than this, so that what is typed arrives in time.
    const std::uint64_t idle_step =
        limits.realtime || limits.waits_for_input ? timing_.frequency / 200 : devices::Scheduler::never / 2;
    limits_ = limits;
    result_ = {};
    stopped_ = device_accessed_ = false;
    const Wall::time_point start = Wall::now();
    const double seconds_before = seconds_;
    Wall::time_point last_progress = start;
    const std::uint64_t instructions_before = engine_->instructions(), cycles_before = engine_->cycles();
    remark_what_the_engine_hides();
    while (!stopped_) {
        const std::uint64_t now = engine_->cycles();
        if (now >= limits.max_cycles) {
            stop(RunEnd::max_cycles, fmt::format("{} cycles have passed", limits.max_cycles));
            break;
        }
        const std::uint64_t done = engine_->instructions() - instructions_before;
        if (done >= limits.max_instructions) {
            stop(RunEnd::max_instructions, fmt::format("{} instructions were executed", limits.max_instructions));
            break;
        }
        cpu::Budget budget{.until_cycles =
                               std::min({now + slice, limits.max_cycles, std::max(clock_.next_deadline(), now + 1)})};
        if (limits.max_instructions != ~std::uint64_t{0}) budget.instructions = limits.max_instructions - done;
        cpu::Exit exit;
        try {
            exit = engine_->run(budget);
        } catch (const cpu::HostLimit& limit) {
            stop(RunEnd::host_limit, limit.what());
        }
        clock_.advance_to(engine_->cycles());
        const Wall::time_point wall = Wall::now();
        seconds_ = seconds_before + std::chrono::duration<double>(wall - start).count();
        if (!stopped_ && device_accessed_ && limits.stop_at_device_access)
            stop(RunEnd::device_access, "a device was accessed");
        if (stopped_) break;
        switch (exit.reason) {
            case cpu::ExitReason::deadline:
            case cpu::ExitReason::instructions:
            case cpu::ExitReason::stopped: break;
            case cpu::ExitReason::halted: {
                const std::uint64_t next = clock_.next_deadline();
                const bool takes_interrupts = (engine_->state().rflags & cpu::rflags::if_) != 0;
                const bool timer_runs = next != devices::Scheduler::never;
                if (!takes_interrupts && !(timer_runs && board_->may_interrupt_by_nmi())) {
                    stop(RunEnd::halted, "the CPU halted with interrupts disabled");
                } else if (!timer_runs && !limits.waits_for_input) {
                    stop(RunEnd::halted, "the CPU halted, and no timer is running that could wake it");
                } else {
                    if (!timer_runs) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                    const std::uint64_t wake = std::min({next, limits.max_cycles, now + idle_step});
                    engine_->advance_to(wake);
                    clock_.advance_to(wake);
                }
                break;
            }
            case cpu::ExitReason::shutdown: {
                const cpu::CpuState state = engine_->state();
                const cpu::CpuState reset = cpu::reset_state();
                const std::uint16_t selector = state.segment(cpu::SegmentName::cs).selector;
                if (is_kvm(engine_choice_) && state.in_real_mode() && state.rip == reset.rip &&
                    selector == reset.segment(cpu::SegmentName::cs).selector)
                    stop(RunEnd::shutdown, "triple fault: KVM has reset the CPU since, so where is not known");
                else
                    stop(RunEnd::shutdown, fmt::format("triple fault at {} {:04x}:{:x}", cpu::mode_name(state.mode()),
                                                       selector, state.rip));
                break;
            }
            case cpu::ExitReason::hypercall:
                stop(RunEnd::run_failed, "a hypercall left the run, and nobody is there to answer it");
                break;
            case cpu::ExitReason::debug_point:
                result_.debug_point = exit.point;
                stop(RunEnd::debug_point, fmt::format("a debug point at {:#x} was reached", exit.point.linear));
                break;
            case cpu::ExitReason::failed:
                result_.error_number = exit.error_number;
                stop(RunEnd::run_failed,
                     fmt::format("the run fails with {}, as KVM_RUN would", xen::error_text(exit.error_number)));
                break;
        }
        if (stopped_) break;
        if (limits.realtime) keep_pace(cycles_before, std::chrono::duration<double>(wall - start).count());
        if (limits.max_seconds > 0 && seconds_ - seconds_before >= limits.max_seconds)
            stop(RunEnd::max_seconds, fmt::format("{} seconds of the host's time have passed", limits.max_seconds));
        if (limits.progress && wall - last_progress >= between_calls) {
            last_progress = wall;
            if (!limits.progress(totals())) stop(RunEnd::interrupted, "interrupted");
        }
    }
    seconds_ = seconds_before + std::chrono::duration<double>(Wall::now() - start).count();
    result_.totals = totals();
    return result_;
}

// Waits for the host's clock, if the guest's is ahead by so much that sleeping can be exact enough.
void Machine::keep_pace(std::uint64_t cycles_at_start, double seconds) {
    constexpr double shortest_sleep = 0.0005;
    const double passed =
        static_cast<double>(engine_->cycles() - cycles_at_start) / static_cast<double>(timing_.frequency);
    if (passed - seconds > shortest_sleep) std::this_thread::sleep_for(std::chrono::duration<double>(passed - seconds));
}

// --- What the CPU asks -------------------------------------------------------------------------------------------

void Machine::trapped(const cpu::Moment& moment) {
    ++traps_;
    clock_.advance_to(moment.cycles);
}

void Machine::device_accessed(const cpu::Moment& moment) {
    trapped(moment);
    device_accessed_ = true;
    if (limits_.stop_at_device_access) engine_->request_stop();
}

std::uint32_t Machine::port_read(const cpu::Moment& moment, std::uint16_t port, unsigned width) {
    device_accessed(moment);
    const std::uint32_t value = bus_.read_port(port, width);
    synchronise_deadline();
    return value;
}

void Machine::port_write(const cpu::Moment& moment, std::uint16_t port, unsigned width, std::uint32_t value,
                         cpu::CpuState& state, cpu::LinearMemory& memory) {
    device_accessed(moment);
    if (trap_ && port == xen::doorbell::port && width >= 2) {
        notice_page_laid_by_kernel(moment, state);
        const std::uint64_t answer = answer_hypercall(moment, "doorbell", value, state, memory);
        state.registers[cpu::rax] = state.in_64bit_code() ? answer : answer & 0xffffffff;
        return;
    }
    bus_.write_port(port, width, value);
    synchronise_deadline();
}

std::uint64_t Machine::mmio_read(const cpu::Moment& moment, mmu::GuestPhysical address, unsigned width) {
    device_accessed(moment);
    const std::uint64_t value = bus_.read_memory(address, width);
    synchronise_deadline();
    return value;
}

void Machine::mmio_write(const cpu::Moment& moment, mmu::GuestPhysical address, unsigned width, std::uint64_t value) {
    device_accessed(moment);
    bus_.write_memory(address, width, value);
    synchronise_deadline();
}

std::uint8_t Machine::acknowledge_interrupt(const cpu::Moment& moment) {
    clock_.advance_to(moment.cycles);
    const std::uint8_t vector = board_->local_apic.acknowledge();
    synchronise_deadline();
    return vector;
}

void Machine::task_priority_written(const cpu::Moment& moment, std::uint8_t cr8) {
    clock_.advance_to(moment.cycles);
    board_->local_apic.set_cr8(cr8);
}

namespace {

bool is_local_apic_msr(std::uint32_t index) {
    return (index >= devices::LocalApic::first_msr && index <= devices::LocalApic::last_msr) ||
           index == cpu::msr::tsc_deadline;
}

}  // namespace

// The registers of x2APIC mode and the deadline of its timer; and what it must know of the CPU's own registers.
cpu::MsrOutcome Machine::apic_msr_read(const cpu::Moment& moment, std::uint32_t index) {
    using Kind = cpu::MsrOutcome::Kind;
    if (!is_local_apic_msr(index)) return {};
    clock_.advance_to(moment.cycles);
    const std::uint64_t cycles = timing_.cost_of(cpu::CostClass::serialize);
    std::optional<std::uint64_t> value;
    if (index != cpu::msr::tsc_deadline)
        value = board_->local_apic.read_msr(index);
    else if (model_.has(cpu::Feature::tsc_deadline))
        value = board_->local_apic.tsc_deadline();
    if (!value) return {.kind = Kind::general_protection, .cycles = cycles};
    return {.kind = Kind::done, .value = *value, .cycles = cycles};
}

cpu::MsrOutcome Machine::apic_msr_write(const cpu::Moment& moment, std::uint32_t index, std::uint64_t value,
                                        const cpu::CpuState& state) {
    using Kind = cpu::MsrOutcome::Kind;
    devices::LocalApic& apic = board_->local_apic;
    const bool is_its_own = is_local_apic_msr(index);
    if (!is_its_own && index != cpu::msr::apic_base && index != cpu::msr::tsc && index != cpu::msr::tsc_adjust)
        return {};
    clock_.advance_to(moment.cycles);
    bool accepted = true;
    switch (index) {
        case cpu::msr::apic_base:
            accepted = apic.set_base(value);
            board_->place_local_apic();
            break;
        case cpu::msr::tsc: apic.set_tsc_offset(value - moment.cycles); break;
        case cpu::msr::tsc_adjust: apic.set_tsc_offset(state.msr.tsc_offset + value - state.msr.tsc_adjust); break;
        case cpu::msr::tsc_deadline:
            accepted = model_.has(cpu::Feature::tsc_deadline);
            if (!accepted) break;
            apic.set_tsc_offset(state.msr.tsc_offset);
            apic.set_tsc_deadline(value);
            break;
        default: accepted = apic.write_msr(index, value);
    }
    synchronise_deadline();
    // The CPU keeps base and time stamp too: what it is not refused here it looks at itself.
    if (accepted && !is_its_own) return {};
    return {.kind = accepted ? Kind::done : Kind::general_protection,
            .cycles = timing_.cost_of(cpu::CostClass::serialize)};
}

cpu::MsrOutcome Machine::msr_read(const cpu::Moment& moment, std::uint32_t index, bool) {
    if (trap_ && index == trap_->config().msr && index != 0) {
        timeline_.add(
            {moment, disassemble_at(moment),
             Remark{fmt::format("RDMSR {:#x}: KVM gives the hypercall MSR no value, the guest gets #GP(0)", index)}});
    }
    return apic_msr_read(moment, index);
}

cpu::MsrOutcome Machine::msr_write(const cpu::Moment& moment, std::uint32_t index, std::uint64_t value,
                                   bool implemented, const cpu::CpuState& state) {
    if (!trap_) return apic_msr_write(moment, index, value, state);
    const xen::WriteOutcome outcome = trap_->write_msr({.vcpu = moment.vcpu,
                                                        .index = index,
                                                        .value = value,
                                                        .long_mode_active = state.in_long_mode(),
                                                        .cpu_implements = implemented});
    if (!outcome.ours()) return apic_msr_write(moment, index, value, state);
    trapped(moment);
    const bool copied = outcome.result == xen::WriteResult::copied;
    const cpu::TrapCost cost = copied ? timing_.trap : timing_.plain_trap();
    HypercallPageWrite event{.msr = index,
                             .value = value,
                             .address = outcome.address.value,
                             .index = outcome.index,
                             .blob = outcome.blob_width(),
                             .generated = outcome.source == xen::PageSource::generated,
                             .result = std::string(outcome.result_name()),
                             .reason = outcome.reason,
                             .cost = cost,
                             .page_start = {}};
    if (copied) {
        event.page_start.resize(shown_page_bytes);
        memory_.read(outcome.address, event.page_start);
    }
    timeline_.add({moment, disassemble_at(moment), std::move(event)});
    page_written_ = page_written_ || copied;
    if (copied && limits_.stop_at == StopAt::hypercall_page) stop(RunEnd::reached, "the hypercall page was copied");
    using Kind = cpu::MsrOutcome::Kind;
    switch (outcome.result) {
        case xen::WriteResult::copied: return {.kind = Kind::done, .cycles = cost.total()};
        case xen::WriteResult::run_failed: return {.kind = Kind::stop, .error_number = outcome.error};
        default: return {.kind = Kind::general_protection, .cycles = cost.total()};
    }
}

cpu::CpuidLeaf Machine::cpuid(const cpu::Moment& moment, std::uint32_t leaf, std::uint32_t subleaf,
                              cpu::CpuidLeaf model) {
    if (engine_choice_.shows_cpuid) trapped(moment);  // else the engine fills its table, and no guest has asked
    if (!trap_) return model;
    if (leaf == 1) model.ecx |= xen::hypervisor_present_bit;
    if (leaf < xen::first_hypervisor_leaf || leaf >= xen::hypervisor_scan_end) return model;
    cpuid_source_.vcpu_id = moment.vcpu;
    // A hypervisor answers for the whole range, with zeros where it has no leaf.
    model = {};
    if (const auto found = xen::xen_leaf(cpuid_source_, leaf, subleaf))
        model = {found->eax, found->ebx, found->ecx, found->edx};
    if (engine_choice_.shows_cpuid)
        timeline_.add({moment, disassemble_at(moment), CpuidLeafRead{leaf, subleaf, model}});
    return model;
}

cpu::HypercallOutcome Machine::hypercall(const cpu::Moment& moment, cpu::HypercallInstruction instruction,
                                         const cpu::CpuState& state, cpu::LinearMemory& memory) {
    if (!trap_) return {};
    trapped(moment);
    const bool is_vmcall = instruction == cpu::HypercallInstruction::vmcall;
    const std::uint64_t number = state.registers[cpu::rax];
    notice_page_laid_by_kernel(moment, state);
    if (!page_written_ && !direct_call_remarked_) {
        direct_call_remarked_ = true;
        timeline_.add({moment, disassemble_at(moment),
                       Remark{fmt::format("the guest has not written the hypercall MSR: it executes {} itself, "
                                          "without a hypercall page",
                                          is_vmcall ? "VMCALL" : "VMMCALL")}});
    }
    const std::uint64_t result = answer_hypercall(moment, is_vmcall ? "vmcall" : "vmmcall", number, state, memory);
    return {.kind = cpu::HypercallOutcome::Kind::done, .result = result, .cycles = timing_.plain_trap().total()};
}

std::uint64_t Machine::answer_hypercall(const cpu::Moment& moment, std::string_view through, std::uint64_t number,
                                        const cpu::CpuState& state, cpu::LinearMemory& memory) {
    const xen::Hypercall call = xen::decode_hypercall(moment.vcpu, hypercall_registers(state), number);
    DomainMemory domain_memory(memory);
    const xen::HypercallAnswer answer = domain_.answer(call, domain_memory);
    const xen::HypercallRow* const row = xen::find_hypercall(call.number);
    const std::size_t argument_count = row == nullptr        ? call.arguments.size()
                                       : call.long_mode_code ? row->arguments_64
                                                             : row->arguments_32;
    timeline_.add({moment, disassemble_at(moment),
                   HypercallMade{.number = call.number,
                                 .name = std::string(xen::hypercall_name(call.number)),
                                 .arguments = {call.arguments.begin(),
                                               call.arguments.begin() + static_cast<std::ptrdiff_t>(argument_count)},
                                 .argument_texts = xen::format_arguments(call),
                                 .result = answer.result,
                                 .result_text = xen::format_result(answer.result),
                                 .answered = answer.handled,
                                 .through = std::string(through),
                                 .refusal = answer.refusal,
                                 .cost = timing_.plain_trap()}});
    if (limits_.stop_at == StopAt::first_hypercall) stop(RunEnd::reached, "the first hypercall was made");
    return answer.rax;
}

// What an engine keeps to itself belongs at the start of the story, or its reader misses it there.
void Machine::remark_what_the_engine_hides() {
    if (std::exchange(engine_remarked_, true) || engine_choice_.shows_cpuid) return;
    const cpu::Moment start{.cycles = engine_->cycles(), .mode = engine_->state().mode(), .rip = engine_->state().rip};
    std::string text =
        fmt::format("{} answers CPUID itself: which leaves the guest reads is not seen", engine_choice_.name);
    const bool hypercalls_exit = kernel_blobs_ && trap_->intercepts_hypercalls();
    if (trap_ && !hypercalls_exit) text += "; nor are VMCALL and VMMCALL";
    if (const auto* const kvm = dynamic_cast<const cpu::KvmEngine*>(engine_.get())) {
        for (const std::string& feature : kvm->hidden_features()) text += "; " + feature;
        if (kernel_blobs_)
            text += "; it also lays the hypercall page itself, which shows when the guest calls through it";
    }
    timeline_.add({start, disassemble_at(start), Remark{text}});
}

// Where KVM lays the page nobody is told. The first call tells: the code that makes it lies in a page that is one of
// the blob's, byte for byte.
void Machine::notice_page_laid_by_kernel(const cpu::Moment& moment, const cpu::CpuState& state) {
    if (!kernel_blobs_ || page_written_) return;
    mmu::GuestPhysical page;
    const mmu::GuestLinear linear{state.code_linear(moment.rip)};
    if (!mmu::translate_quietly(memory_, cpu::paging_context(state, model_), linear, page)) return;
    page = page.page();
    std::vector<std::byte> laid(mmu::page_size), expected(mmu::page_size);
    if (!memory_.read(page, laid)) return;
    const xen::HvmConfig& config = trap_->config();
    const bool wide = state.in_long_mode(), generated = trap_->intercepts_hypercalls();
    const unsigned pages = generated ? 1 : wide ? config.blob_size_64 : config.blob_size_32;
    const std::uint64_t address = wide ? config.blob_addr_64 : config.blob_addr_32;
    // KVM generates its pages for the host's vendor, whatever the model's.
    const auto is_generated = [&](xen::HypercallInstruction instruction) {
        return std::ranges::equal(laid, xen::generated_page(instruction));
    };
    for (unsigned index = 0; index < pages; ++index) {
        const bool matches =
            generated
                ? is_generated(xen::HypercallInstruction::vmcall) || is_generated(xen::HypercallInstruction::vmmcall)
                : blob_memory_.read(address + index * mmu::page_size, expected) && laid == expected;
        if (!matches) continue;
        page_written_ = true;
        timeline_.add({moment, disassemble_at(moment),
                       HypercallPageWrite{.msr = config.msr,
                                          .value = page.value | index,
                                          .address = page.value,
                                          .index = index,
                                          .blob = wide ? 64u : 32u,
                                          .generated = generated,
                                          .result = "copied",
                                          .reason = "by the host's KVM itself, unseen: the guest now calls through it",
                                          .cost = timing_.trap,
                                          .page_start = {laid.begin(), laid.begin() + shown_page_bytes}}});
        if (limits_.stop_at == StopAt::hypercall_page) stop(RunEnd::reached, "the hypercall page was copied");
        return;
    }
}

const cpu::Engine& Machine::engine_of(const cpu::Moment& moment) const {
    return moment.vcpu == 0 ? *engine_ : *more_engines_[moment.vcpu - 1];
}

std::string Machine::disassemble_at(const cpu::Moment& moment) {
    const cpu::CpuState state = engine_of(moment).state();
    std::array<std::byte, 15> space{};
    cpu::PagedMemory memory(memory_, cpu::paging_context(state, model_));
    const std::span<const std::byte> bytes = memory.read_code({state.code_linear(moment.rip)}, space);
    return cpu::disassemble(bytes, state.code_width(), moment.rip).text;
}

}  // namespace xenolith::machine
