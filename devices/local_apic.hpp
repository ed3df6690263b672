// A processor's local APIC: xAPIC page and x2APIC MSRs, priorities, local vectors, timer and inter-processor
// interrupts.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "devices/apic_bus.hpp"
#include "devices/apic_timer.hpp"
#include "devices/device.hpp"
#include "devices/scheduler.hpp"

namespace xenolith::devices {

class LocalApic final : private Timer {
  public:
    static constexpr std::uint64_t page_size = 4096;                     // of registers()
    static constexpr std::uint64_t base_at_reset = 0xfee00000;           // of the page
    static constexpr std::uint32_t first_msr = 0x800, last_msr = 0x8ff;  // of x2APIC mode
    // 0x14: an integrated APIC; six local vectors; end-of-interrupt broadcasts can be suppressed.
    static constexpr std::uint32_t version = 0x01050014;

    struct Configuration {
        std::uint32_t id = 0;                         // the initial APIC ID, as CPUID shows it
        bool bootstrap = true;                        // IA32_APIC_BASE bit 8
        bool x2apic = true;                           // CPUID.1:ECX[21]
        bool tsc_deadline = true;                     // CPUID.1:ECX[24]
        unsigned physical_address_bits = 46;          // 36-52
        std::uint64_t bus_frequency = 1'000'000'000;  // Hz: what the timer's divider divides
    };

    // What leaves the APIC. An empty function is a wire that ends nowhere. None may destroy or restore the APIC.
    struct Outputs {
        InterruptLine& interrupt;  // INTR: acknowledge() has something to give
        std::function<void()> non_maskable;
        std::function<void()> system_management;
        // The processor is to take an INIT. Whoever takes it also calls init_reset(), there and then or later.
        std::function<void()> initialize;
        std::function<void(std::uint8_t vector)> startup;  // code begins at page `vector`
        // The task priority's upper half has changed by other ways than set_cr8().
        std::function<void(std::uint8_t cr8)> task_priority_changed;
        // The 8259A's interrupt acknowledge, for requests that are external.
        std::function<std::uint8_t()> acknowledge_external;
    };

    static constexpr unsigned timer_vector = 0, thermal_vector = 1, performance_vector = 2, lint0_vector = 3,
                              lint1_vector = 4, error_vector = 5;
    using Bits256 = std::array<std::uint32_t, 8>;  // one for each vector

    struct State {
        std::uint64_t base = 0;  // IA32_APIC_BASE
        std::uint8_t id = 0;     // xAPIC mode's
        std::uint8_t task_priority = 0;
        std::uint32_t logical_destination = 0;  // xAPIC mode's
        std::uint32_t destination_format = 0xffffffff;
        std::uint32_t spurious = 0xff;         // SVR
        std::uint32_t errors = 0;              // ESR, as the guest reads it
        std::uint32_t errors_since_write = 0;  // what the next write of ESR will show
        std::uint64_t command = 0;             // ICR
        std::array<std::uint32_t, 6> local_vectors{};
        Bits256 in_service{};
        Bits256 trigger_mode{};
        Bits256 requests{};
        bool external_request = false;  // an ExtINT message waits for its acknowledge
        std::array<bool, 2> pins{};     // LINT0 and LINT1
        ApicTimer::State timer;
    };

    // Attaches itself to the bus. std::invalid_argument if the bus frequency is zero.
    LocalApic(Scheduler& scheduler, ApicBus& bus, const Configuration& configuration, Outputs outputs);
    ~LocalApic();
    LocalApic(const LocalApic&) = delete;
    LocalApic& operator=(const LocalApic&) = delete;

    // The register page. Only aligned accesses of four bytes to the first four of sixteen reach a register; others,
    // and all of them outside xAPIC mode, read as ones and write nothing. Where the page lies is base()'s to say.
    MemoryDevice& registers() { return registers_; }
    // x2APIC mode's registers. Without a value, or false: #GP(0).
    std::optional<std::uint64_t> read_msr(std::uint32_t index);
    bool write_msr(std::uint32_t index, std::uint64_t value);

    // IA32_APIC_BASE. Setting gives false for #GP(0): reserved bits, or a transition that is not allowed. The
    // bootstrap bit stays as it is. Disabling loses all that was programmed.
    std::uint64_t base() const { return state_.base; }
    bool set_base(std::uint64_t value);
    bool is_enabled() const;  // xAPIC or x2APIC mode
    bool is_x2apic() const;

    // IA32_TSC_DEADLINE; 0, and writes are ignored, outside TSC-deadline mode.
    std::uint64_t tsc_deadline();
    void set_tsc_deadline(std::uint64_t value);
    // TSC = cycles + offset, modulo 2^64.
    void set_tsc_offset(std::uint64_t offset);

    std::uint8_t cr8() const { return state_.task_priority >> 4; }
    void set_cr8(std::uint8_t value);  // 0-15

    // LINT0, which takes the 8259A's INT, and LINT1, which takes NMI; else std::invalid_argument. A wire says whether
    // it is asserted, whatever its voltage: the polarity bits of local vectors are kept and mean nothing here.
    InterruptLine& lint(unsigned number);
    bool is_nmi_input(unsigned number) const;  // an edge on LINT0 (0) or LINT1 (1) is an NMI

    bool interrupt_requested() const;
    // The processor's interrupt acknowledge: the vector, now in service; or the 8259A's; or, if the request has gone
    // in the meantime, the spurious vector, which needs no end of interrupt.
    std::uint8_t acknowledge();

    // For the bus.
    bool is_addressed_by(const InterruptMessage& message) const;
    bool is_software_enabled() const;  // SVR bit 8, and enabled at all
    std::uint8_t processor_priority() const;
    bool deliver(const InterruptMessage& message);  // true if it was taken

    // What firmware leaves for a system that knows no APICs: enabled, LINT0 passes the 8259A's interrupts on, LINT1
    // is NMI.
    void enter_virtual_wire_mode();
    void reset();       // power-on; the wires keep their levels and the TSC its offset
    void init_reset();  // the processor has taken an INIT: mode, base and APIC ID stay (10.4.7.3)
    State save();
    // After time, and after what drives the pins. std::invalid_argument if a field is out of its range.
    void restore(const State& state);

  private:
    class RegisterPage final : public MemoryDevice {
      public:
        explicit RegisterPage(LocalApic& owner) : owner_(owner) {}
        std::uint64_t read(std::uint64_t offset, unsigned width) override;
        void write(std::uint64_t offset, unsigned width, std::uint64_t value) override;

      private:
        LocalApic& owner_;
    };
    class Pin final : public InterruptLine {
      public:
        Pin(LocalApic& owner, unsigned number) : owner_(owner), number_(number) {}
        void set(bool asserted) override { owner_.set_pin(number_, asserted); }

      private:
        LocalApic& owner_;
        unsigned number_;
    };

    void expired() override;
    std::uint32_t id() const;
    std::uint32_t logical_id() const;
    std::optional<std::uint32_t> writable_bits(unsigned index) const;
    std::optional<std::uint32_t> read_register(unsigned index) const;
    void write_register(unsigned index, std::uint32_t value);
    void write_xapic_register(unsigned index, std::uint32_t value);
    void write_spurious(std::uint32_t value);
    void write_local_vector(unsigned which, std::uint32_t value);
    void set_task_priority(std::uint8_t value);

    void set_pin(unsigned number, bool asserted);
    // Something happened that local vector `which` is for.
    void trigger(unsigned which);
    // LINT0 as a level-triggered input asks again as long as it is asserted and not being served.
    void serve_level_pin();
    bool is_external_requested() const;
    bool accept(std::uint8_t vector, bool level_triggered);
    int highest_deliverable() const;
    void finish_service();
    void send_command();
    void log_error(std::uint32_t error);

    // Whether an expiry of the timer could change anything that anybody may notice.
    bool timer_matters() const;
    // Lets what the timer did until now happen.
    void advance();
    // Drives INTR and arms the timer.
    void settle();
    void load_power_on_values();

    Scheduler& scheduler_;
    ApicBus& bus_;
    Configuration configuration_;
    Outputs outputs_;
    ApicTimer timer_;
    State state_;
    std::uint64_t armed_ = Scheduler::never;
    bool interrupt_shown_ = false;
    RegisterPage registers_{*this};
    Pin lint0_{*this, 0};
    Pin lint1_{*this, 1};
};

}  // namespace xenolith::devices
