// The engine that lets the host's KVM run the guest: one virtual machine with one vCPU, devices in this
// process.
//
// What is different from the other engines, because KVM keeps it to itself:
// - Time is the host's. cycles() counts nanoseconds spent in run(), times Timing::frequency; what Timing says
// of
//   instructions and traps is not charged. Runs are therefore not equal to the cycle. The guest's TSC runs at
//   that rate where the host can scale it (KVM_CAP_TSC_CONTROL), else at the host's; it stands still outside
//   run(), and moves with advance_to.
// - instructions() counts those that run() stepped one by one, which it does if Budget::instructions is
// finite. Without
//   a budget they are not counted.
// - CPUID never reaches the Environment during a run. It is asked for every leaf once, before the guest first
// runs, and
//   KVM answers from that table.
// - VMCALL and VMMCALL reach the Environment only with the ioctl route and intercept_hypercalls. Else KVM's
// own
//   hypercalls answer them (-1000 in RAX, mostly), and the guest needs stubs that leave by a port.
// - RDMSR and WRMSR reach the Environment for the trap's index (msr_exit route) and for those that KVM does
// not know or
//   refuses. With the ioctl route KVM lays the page itself, unseen.
// - On AMD's CPUs a triple fault destroys the state, and KVM puts the reset state in its place.
// - Moment::rip of a memory-mapped write is behind the instruction.
// - Up to four debug points that DR7 can say are watched by the host's CPU; the guest's own breakpoints then rest.
// Where
//   there are others every instruction is a step (kvm_debug_points.hpp), and a handler that the guest enters by a fault
//   may run on unwatched, up to the next exit.
// - While an instruction budget steps the guest: if it sets RFLAGS.TF by POPF or IRET its trap is lost, and a
// handler that
//   begins with HLT may run on behind it (some KVMs report the step and not the halt).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cpu/engine.hpp"
#include "cpu/environment.hpp"
#include "cpu/kvm/kick_timer.hpp"
#include "cpu/kvm/kvm_debug_points.hpp"
#include "cpu/kvm/kvm_device.hpp"
#include "cpu/kvm/kvm_options.hpp"
#include "cpu/kvm/kvm_registers.hpp"
#include "cpu/kvm/memory_slots.hpp"
#include "cpu/kvm/run_area.hpp"
#include "cpu/model/cpu_model.hpp"
#include "cpu/timing/timing.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::cpu {

class KvmEngine final : public Engine {
  public:
    // All but `options` outlive the engine. HostLimit says what the host lacks.
    KvmEngine(mmu::GuestMemory& memory, Environment& environment, const CpuModel& model, const Timing& timing,
              unsigned vcpu, KvmOptions options = {});
    ~KvmEngine() override;

    std::string_view name() const override { return "kvm"; }
    // Beside what Engine says: throws HostLimit where the host cannot go on. The guest then stands at the
    // instruction that could not be executed.
    Exit run(const Budget& budget) override;
    CpuState state() const override;
    // HostLimit::Kind::state if KVM does not take it.
    void set_state(const CpuState& state) override;
    std::uint64_t cycles() const override;
    std::uint64_t instructions() const override { return instructions_; }
    EngineMemory remember() const override {
        return {.cycles = cycles(), .instructions = instructions_, .translations = {}, .fetch_page = 1};
    }
    void recall(const EngineMemory& memory) override;
    void advance_to(std::uint64_t cycles) override;
    void shorten_deadline(std::uint64_t cycles) override;
    // KVM uses the same bytes: nothing to do. (A KVM with shadow page tables sees changed page tables when
    // the guest flushes its TLB, as silicon does.)
    void memory_changed(mmu::GuestPhysical, std::uint64_t) override {}
    void memory_map_changed() override { slots_.synchronise(); }
    void set_interrupt_line(bool asserted) override { interrupt_line_ = asserted; }
    void raise_nmi() override;
    void set_task_priority(std::uint8_t cr8) override;
    void set_debug_points(std::vector<DebugPoint> points) override;
    void request_stop() override;

    // How the trap is laid: ioctl or msr_exit; automatic while there is none.
    KvmRoute route() const { return route_; }
    // What the CPU model has and this host's KVM cannot give; complete after the first set_state or run.
    const std::vector<std::string>& hidden_features() const { return hidden_features_; }

  private:
    using Clock = std::chrono::steady_clock;

    // --- Set-up
    void prepare();
    bool can_page_outside_long_mode();
    void follow_trap();
    void tell_kvm_of_trap(const KvmXenTrap& trap);
    void filter_msrs(std::uint32_t trapped);
    void ask_for_msr_exits(bool also_refused);

    // --- The run
    std::optional<Exit> look_around();
    bool wake_up();
    bool ready_for_interrupt();
    void offer_interrupt();
    int enter();
    int run_vcpu();
    void notice_task_priority();
    std::optional<Exit> complete();
    void prepare_debugging();
    void restore_trap_flag();
    std::optional<Exit> finish_step();
    std::optional<Exit> meet_points(bool stepped);
    std::optional<Exit> end_at_point(const Exit& exit);
    void deliver_pending_debug();
    void give_guest_its_trap(std::uint64_t dr6_bits);
    std::uint64_t linear_rip() const;

    // --- Exits (kvm_exits.cpp). A value ends the run.
    std::optional<Exit> handle_exit();
    void on_port();
    void on_memory();
    std::optional<Exit> on_msr_read();
    std::optional<Exit> on_msr_write();
    std::optional<Exit> on_xen_hypercall();
    void on_shutdown();
    [[noreturn]] void on_internal_error();
    Exit fail_run(int error);
    std::optional<Exit> step_over_msr(std::uint64_t next_rip);
    std::optional<Exit> give_up_msr();
    std::optional<Exit> let_kvm_answer_trap();
    Exit leave_msr(int error_number);
    Exit leave_hypercall();
    void change_state(const CpuState& before, CpuState after);
    bool kvm_has_msr(std::uint32_t index, bool for_write) const;
    std::uint64_t read_memory(mmu::GuestPhysical address, unsigned width);
    void write_memory(mmu::GuestPhysical address, unsigned width, std::uint64_t value);
    std::uint64_t rip_of_port_write(std::uint16_t port, unsigned width);

    // --- Where the guest is
    const CpuState& general() const;  // registers, segments and control registers, as of the last exit
    Moment moment() const;
    std::vector<std::byte> code_at(std::uint64_t rip, std::size_t size) const;

    // --- Time
    void start_clock();
    void stop_clock();
    KickTimer::Time time_at(std::uint64_t cycles) const;
    void set_guest_tsc(std::uint64_t value);

    mmu::GuestMemory& memory_;
    Environment& environment_;
    const CpuModel& model_;
    const Timing& timing_;
    const unsigned vcpu_number_;
    const KvmOptions options_;

    KvmDevice device_;
    FileDescriptor vm_;
    MemorySlots slots_;
    FileDescriptor vcpu_;
    RunArea run_area_;
    KvmRegisters registers_;
    KickTimer timer_;
    std::size_t region_count_ = 0;  // when the slots were last made
    bool prepared_ = false;         // CPUID is set, and KVM has the state
    std::vector<std::string> hidden_features_;
    KvmRoute route_ = KvmRoute::automatic;
    KvmXenTrap trap_;
    bool filter_set_ = false;
    bool kvm_answers_trap_ = false;  // the next entry is one step, in which KVM refuses by itself

    // What KVM does not hold (kvm_registers.hpp).
    CpuState unheld_ = reset_state();
    Activity activity_ = Activity::running;
    // KVM's own, read once per exit.
    mutable CpuState general_ = reset_state();
    mutable bool general_valid_ = false;
    // During a port write: the instruction, which KVM may already have stepped over.
    std::optional<std::uint64_t> asking_rip_;

    // The exit was for us to answer; KVM finishes the instruction on the next entry.
    bool completion_pending_ = false;
    bool ready_ = false;        // KVM would take an interrupt now
    bool ready_known_ = false;  // false after a change of state from outside
    bool interrupt_line_ = false;
    std::uint8_t task_priority_ = 0;  // CR8, as the Environment knows it
    std::atomic<bool> stop_requested_ = false;

    // --- Steps
    bool stepping_ = false;
    bool debug_on_ = false;         // KVM single-steps
    bool step_done_ = false;        // an instruction was completed since the last entry
    bool step_faulted_ = false;     // it was answered with a fault instead
    bool guest_trap_flag_ = false;  // while KVM single-steps: RFLAGS.TF is the guest's own
    bool trap_queued_ = false;      // its single-step trap is on the way
    std::uint64_t step_rip_ = 0;
    std::uint64_t instructions_ = 0;
    std::uint64_t instruction_end_ = 0;

    // --- A debugger's points
    KvmDebugPoints points_;
    std::array<std::optional<bool>, 4> watches_;  // by DebugPoint::Kind, once it has been tried
    bool watching_ = false;                       // KVM has them in the CPU's debug registers
    bool leaving_point_ = false;          // the run began at an execute point: its instruction is stepped, unwatched
    std::uint64_t run_start_ = 0;         // RIP
    std::optional<DebugPoint> accessed_;  // by the instruction that is stepped
    std::optional<DebugPoint> met_;       // that the last exit is about
    bool debug_exit_ = false;             // the last exit was KVM_EXIT_DEBUG

    // --- Time
    bool clock_running_ = false;
    Clock::time_point clock_start_;
    std::uint64_t clock_base_ = 0;  // cycles when the clock was started, or stopped
    std::uint64_t deadline_ = 0;
    std::optional<KickTimer::Time> limit_;
    std::uint64_t tsc_ = 0;            // the guest's, while the clock stands
    std::uint64_t tsc_frequency_ = 0;  // Hz
    bool tsc_offset_settable_ = false;
};

}  // namespace xenolith::cpu
