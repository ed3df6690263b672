// The machine: the one place where memory, engine, devices and the Xen trap are wired together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/engine.hpp"
#include "cpu/environment.hpp"
#include "cpu/kvm/kvm_options.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"
#include "loader/loader.hpp"
#include "machine/bus.hpp"
#include "machine/clock.hpp"
#include "machine/kernel_blobs.hpp"
#include "machine/memory_map.hpp"
#include "machine/timeline.hpp"
#include "mmu/guest_memory.hpp"
#include "xen/blob_memory.hpp"
#include "xen/cpuid_leaves.hpp"
#include "xen/domain.hpp"
#include "xen/trap_core.hpp"

namespace xenolith::machine {

struct EngineChoice;

struct XenOptions {
    const xen::Profile* profile = &xen::default_profile();
    std::uint32_t msr = xen::default_xen_msr;  // 0: the trap is off
    bool intercept_hypercalls = false;         // INTERCEPT_HCALL: pages are generated, blobs are not used
    // Whole pages. Empty: the built-in blob of the CPU model's vendor, or doorbells if the engine needs them.
    std::vector<std::byte> blob_32, blob_64;
};

struct MachineOptions {
    std::uint64_t ram = memory_map::default_ram;  // bytes, a multiple of the page size
    std::string_view engine = "interpreter";
    const cpu::CpuModel* model = nullptr;          // null: `nehalem`
    const cpu::Timing* timing = nullptr;           // null: `nehalem`
    std::optional<XenOptions> xen = XenOptions{};  // empty: no hypervisor to be seen
    // Who lays the hypercall page on the engine `kvm`. Where KVM does, its own behaviour counts and not the profile's.
    cpu::KvmRoute kvm_route = cpu::KvmRoute::automatic;
    // Where bytes from the serial port, the debug console and console_io go. Empty: nowhere.
    std::function<void(std::uint8_t)> serial_out, debug_out;
};

enum class StopAt : std::uint8_t { nothing, hypercall_page, first_hypercall };

struct RunLimits {
    StopAt stop_at = StopAt::nothing;
    std::uint64_t max_cycles = ~std::uint64_t{0};
    std::uint64_t max_instructions = ~std::uint64_t{0};  // of this call; needs an engine that can count them
    double max_seconds = 0;                              // of the host's time; 0: no limit
    // Devices' interrupts stay where they are: for runs in lockstep, whose clocks need not be the same.
    bool hold_interrupts = false;
    bool stop_at_device_access = false;  // behind the instruction that reads or writes a port or a device's memory
    // Called about ten times a second of the host's time. Returning false ends the run.
    std::function<bool(const Totals&)> progress;
};

enum class RunEnd : std::uint8_t {
    reached,  // what stop_at asked for has happened
    max_cycles,
    max_instructions,
    device_access,
    max_seconds,
    interrupted,  // progress said so
    halted,       // HLT, and nothing is left that could wake the CPU
    shutdown,     // a triple fault
    guest_exit,   // the debug-exit port, or sched_op(shutdown); `status` holds what the guest said
    reset,        // the guest asked for a reset, which this machine does not do
    run_failed,   // as KVM_RUN would: `error_number`
    host_limit,   // the host cannot go on, for instance because its KVM lacks an instruction
};

struct RunResult {
    RunEnd end = RunEnd::halted;
    std::uint32_t status = 0;
    int error_number = 0;
    std::string reason;  // one line, in words
    Totals totals;
};

class Machine final : private cpu::Environment {
  public:
    // std::invalid_argument says what cannot be built: RAM size, engine name, configuration (with the errno's name).
    // cpu::HostLimit if the host cannot run the engine.
    explicit Machine(const MachineOptions& options);
    ~Machine() override;
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // What the guest is told of memory.
    std::vector<loader::MemoryMapEntry> firmware_memory_map() const;
    // Loads an image with that map and sets the CPU to its entry. loader::LoadError as it says.
    loader::LoadedImage load(const loader::ImageFile& image, loader::LoadOptions options);

    RunResult run(const RunLimits& limits);

    mmu::GuestMemory& memory() { return memory_; }
    cpu::Engine& engine() { return *engine_; }
    // Another logical processor, on the same memory and in the same world, numbered 1 and up. run() drives the first
    // one alone: the caller runs the others itself, each in its turn and never two at a time.
    cpu::Engine& add_vcpu();
    const cpu::CpuModel& model() const { return model_; }
    const cpu::Timing& timing() const { return timing_; }
    Timeline& timeline() { return timeline_; }
    Totals totals() const;
    // Null with no Xen.
    xen::TrapCore* trap() { return trap_ ? &*trap_ : nullptr; }
    xen::HostBlobMemory& blob_memory() { return blob_memory_; }
    // A byte arrives at the serial port; false while it has no room.
    bool serial_in(std::uint8_t byte);

    // Where the blobs lie in the emulated user memory.
    static constexpr std::uint64_t blob_address_32 = 0x7f00'0000'0000, blob_address_64 = 0x7f00'0100'0000;

  private:
    struct Board;  // the devices

    // cpu::Environment
    std::uint32_t port_read(const cpu::Moment& moment, std::uint16_t port, unsigned width) override;
    void port_write(const cpu::Moment& moment, std::uint16_t port, unsigned width, std::uint32_t value,
                    cpu::CpuState& state, cpu::LinearMemory& memory) override;
    std::uint64_t mmio_read(const cpu::Moment& moment, mmu::GuestPhysical address, unsigned width) override;
    void mmio_write(const cpu::Moment& moment, mmu::GuestPhysical address, unsigned width,
                    std::uint64_t value) override;
    cpu::MsrOutcome msr_read(const cpu::Moment& moment, std::uint32_t index, bool implemented) override;
    cpu::MsrOutcome msr_write(const cpu::Moment& moment, std::uint32_t index, std::uint64_t value, bool implemented,
                              const cpu::CpuState& state) override;
    cpu::CpuidLeaf cpuid(const cpu::Moment& moment, std::uint32_t leaf, std::uint32_t subleaf,
                         cpu::CpuidLeaf model) override;
    cpu::HypercallOutcome hypercall(const cpu::Moment& moment, cpu::HypercallInstruction instruction,
                                    const cpu::CpuState& state, cpu::LinearMemory& memory) override;
    std::uint8_t acknowledge_interrupt(const cpu::Moment& moment) override;

    void add_ram(std::uint64_t bytes);
    void configure_xen(const XenOptions& options);
    std::unique_ptr<cpu::Engine> make_engine(unsigned vcpu);
    void refresh_kernel_blobs();
    void remark_what_the_engine_hides();
    void notice_page_laid_by_kernel(const cpu::Moment& moment, const cpu::CpuState& state);
    void trapped(const cpu::Moment& moment);
    void device_accessed(const cpu::Moment& moment);
    void synchronise_deadline();
    std::uint64_t answer_hypercall(const cpu::Moment& moment, std::string_view through, std::uint64_t number,
                                   const cpu::CpuState& state, cpu::LinearMemory& memory);
    const cpu::Engine& engine_of(const cpu::Moment& moment) const;
    std::string disassemble_at(const cpu::Moment& moment);
    void stop(RunEnd end, std::string reason);

    const cpu::CpuModel& model_;
    const cpu::Timing& timing_;
    mmu::GuestMemory memory_;
    Bus bus_;
    Clock clock_;
    Timeline timeline_;
    xen::HostBlobMemory blob_memory_;
    std::optional<xen::TrapCore> trap_;
    xen::CpuidSource cpuid_source_;
    xen::Domain domain_;
    std::unique_ptr<Board> board_;
    const EngineChoice& engine_choice_;
    const cpu::KvmRoute kvm_route_;
    std::optional<KernelBlobs> kernel_blobs_;  // with the ioctl route
    cpu::KvmXenTrap kernel_trap_;
    xen::HvmConfig kernel_config_;  // of which kernel_trap_ was made, with blob_memory_ at that generation
    std::uint64_t kernel_blobs_generation_ = ~std::uint64_t{0};
    bool engine_remarked_ = false;
    std::unique_ptr<cpu::Engine> engine_;
    std::vector<std::unique_ptr<cpu::Engine>> more_engines_;  // vCPU 1 and up
    RunLimits limits_;
    RunResult result_;
    bool stopped_ = false;
    bool device_accessed_ = false;  // since the run began
    bool page_written_ = false;
    bool direct_call_remarked_ = false;
    std::uint64_t traps_ = 0;
    double seconds_ = 0;
};

}  // namespace xenolith::machine
