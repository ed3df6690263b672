// The 8042 keyboard controller with a keyboard that answers but is never typed on, and no mouse.
#pragma once

#include <array>
#include <cstdint>

#include "devices/device.hpp"
#include "devices/system_control.hpp"

namespace xenolith::devices {

// Registers and commands follow the IBM PC AT technical reference (keyboard controller) and, for the
// auxiliary port, the PS/2 Model 80 technical reference. Commands take effect at once: the input buffer is
// never full.
class KeyboardController final {
  public:
    static constexpr unsigned queue_size = 16;

    struct State {
        std::uint8_t command_byte = 0;       // internal RAM address 0
        std::array<std::uint8_t, 32> ram{};  // addresses 1-31; 0 is unused
        std::uint8_t status = 0;             // SYS, A2 and AUX bits; the others are computed
        std::uint8_t output_port = 0;
        std::uint8_t output_buffer = 0;
        bool output_full = false;
        bool output_from_auxiliary = false;
        std::uint8_t pending_command = 0;              // controller command that waits for its data byte; 0 for none
        std::uint8_t pending_keyboard_command = 0;     // keyboard command that waits for its argument; 0 for none
        std::uint8_t last_answer = 0;                  // for the keyboard's resend command
        std::array<std::uint8_t, queue_size> queue{};  // what the keyboard wants to say, a ring
        std::uint8_t queue_first = 0;
        std::uint8_t queue_count = 0;
        std::uint8_t scan_code_set = 2;  // 1-3
    };

    // Drives IRQ 1: asserted while the output buffer holds a byte and the command byte allows it.
    KeyboardController(InterruptLine& irq1, A20Gate& a20, ResetSink reset_sink);
    KeyboardController(const KeyboardController&) = delete;
    KeyboardController& operator=(const KeyboardController&) = delete;

    PortDevice& data_port();     // 0x60
    PortDevice& command_port();  // 0x64: status when read

    void reset();
    State save() const { return state_; }
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    class DataPort final : public BytePortDevice {
      public:
        explicit DataPort(KeyboardController& owner) : owner_(owner) {}
        std::uint8_t read_byte(std::uint16_t offset) override;
        void write_byte(std::uint16_t offset, std::uint8_t value) override;

      private:
        KeyboardController& owner_;
    };
    class CommandPort final : public BytePortDevice {
      public:
        explicit CommandPort(KeyboardController& owner) : owner_(owner) {}
        std::uint8_t read_byte(std::uint16_t offset) override;
        void write_byte(std::uint16_t offset, std::uint8_t value) override;

      private:
        KeyboardController& owner_;
    };

    std::uint8_t read_data();
    std::uint8_t read_status() const;
    void write_data(std::uint8_t value);
    void command(std::uint8_t value);
    void command_data(std::uint8_t command, std::uint8_t value);
    void keyboard_command(std::uint8_t value);
    void keyboard_argument(std::uint8_t command, std::uint8_t value);
    void set_output_port(std::uint8_t value);
    // The controller's own answer: it goes before whatever the keyboard has to say.
    void answer(std::uint8_t value, bool from_auxiliary = false);
    void keyboard_says(std::uint8_t value);
    // Moves the keyboard's next byte to the output buffer if there is room and the keyboard is enabled.
    void deliver();
    void settle();

    InterruptLine& irq1_;
    A20Gate& a20_;
    ResetSink reset_sink_;
    DataPort data_port_;
    CommandPort command_port_;
    State state_;
};

}  // namespace xenolith::devices
