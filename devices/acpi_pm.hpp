// ACPI's fixed hardware: power management events, the power button, soft-off and the power management timer.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/device.hpp"
#include "devices/scheduler.hpp"

namespace xenolith::devices {

class AcpiPm final : public BytePortDevice, private Timer {
  public:
    static constexpr std::uint64_t timer_frequency = 3'579'545;  // Hz
    static constexpr unsigned event_count = 16;                  // general-purpose events

    // Ports, as offsets from the block's first, and their number: what firmware tables tell.
    static constexpr std::uint16_t port_count = 0x20;
    static constexpr std::uint16_t pm1_event_offset = 0x00, pm1_event_length = 4;
    static constexpr std::uint16_t pm1_control_offset = 0x04, pm1_control_length = 2;
    static constexpr std::uint16_t timer_offset = 0x08, timer_length = 4;
    static constexpr std::uint16_t gpe0_offset = 0x10, gpe0_length = 2 * event_count / 8;
    // The SMI command port: what hands the events over to the operating system, and back.
    static constexpr std::uint16_t smi_port_count = 2;
    static constexpr std::uint8_t acpi_enable = 0xa1, acpi_disable = 0xa0;
    // SLP_TYP of S5. It is the only sleeping state.
    static constexpr std::uint8_t soft_off_type = 5;

    enum class TimerWidth : std::uint8_t { bits_24 = 24, bits_32 = 32 };
    // Told that the guest has switched the machine off. The write's instruction still completes.
    using PowerOffSink = std::function<void()>;

    struct State {
        std::uint16_t pm1_status = 0, pm1_enable = 0, pm1_control = 0;
        std::uint16_t event_status = 0, event_enable = 0;
        std::uint8_t smi_command = 0, smi_data = 0;
        std::uint64_t timer_seen = 0;  // ticks since power-on that pm1_status knows of
    };

    // `sci` is level-triggered: asserted while an enabled event is pending and the operating system has taken over.
    AcpiPm(Scheduler& scheduler, InterruptLine& sci, PowerOffSink power_off, TimerWidth width = TimerWidth::bits_32);
    ~AcpiPm() override;
    AcpiPm(const AcpiPm&) = delete;
    AcpiPm& operator=(const AcpiPm&) = delete;

    // Two ports: the command, and a byte that goes with it.
    PortDevice& smi_command_port() { return smi_port_; }
    void press_power_button();
    // A general-purpose event, 0-15, happens; others are none.
    void raise_event(unsigned number);

    void reset();
    State save();
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    class SmiPort final : public BytePortDevice {
      public:
        explicit SmiPort(AcpiPm& owner) : owner_(owner) {}
        std::uint8_t read_byte(std::uint16_t offset) override;
        void write_byte(std::uint16_t offset, std::uint8_t value) override;

      private:
        AcpiPm& owner_;
    };

    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;
    void expired() override;

    void write_control(unsigned byte, std::uint8_t value);
    std::uint64_t ticks() const { return scheduler_.ticks(timer_frequency); }
    // Notices whether the timer's highest bit has changed.
    void advance();
    // Drives the line and arms the timer for that bit's next change, if it would interrupt.
    void settle();

    Scheduler& scheduler_;
    InterruptLine& sci_;
    PowerOffSink power_off_;
    unsigned timer_bits_;
    State state_;
    SmiPort smi_port_{*this};
};

}  // namespace xenolith::devices
