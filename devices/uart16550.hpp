// A PC16550D serial port: registers, FIFOs, interrupts, loopback and modem lines.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "devices/device.hpp"
#include "devices/scheduler.hpp"

namespace xenolith::devices {

class Uart16550 final : public BytePortDevice, private Timer {
  public:
    static constexpr unsigned fifo_size = 16;
    static constexpr std::uint64_t crystal = 1'843'200;  // Hz; 16 * divisor of it make one bit time

    // How long a character takes to leave. `immediate` hands it to the sink at once and the transmitter is
    // always empty: a guest that polls LSR spends no time waiting. `at_line_rate` takes the time that the
    // divisor and the frame format ask for.
    enum class Transmission : std::uint8_t { immediate, at_line_rate };

    // Modem status inputs, as MSR shows them.
    static constexpr std::uint8_t clear_to_send = 0x10;
    static constexpr std::uint8_t data_set_ready = 0x20;
    static constexpr std::uint8_t ring_indicator = 0x40;
    static constexpr std::uint8_t data_carrier_detect = 0x80;

    // Receives each character sent, masked to the word length. It may not call back into the device.
    using Sink = std::function<void(std::uint8_t)>;

    struct Received {
        std::uint8_t data = 0;
        std::uint8_t errors = 0;  // LSR bits 2-4: parity, framing, break
    };
    struct State {
        std::uint8_t interrupt_enable = 0;  // IER
        std::uint8_t fifo_control = 0;      // FCR bits that stay: 0, 3, 6, 7
        std::uint8_t line_control = 0;      // LCR
        std::uint8_t modem_control = 0;     // MCR
        std::uint8_t line_errors = 0;       // LSR bits 1-4: overrun, and the errors of the character on top
        std::uint8_t modem_deltas = 0;      // MSR bits 0-3
        std::uint8_t modem_inputs = 0;      // the wires, as MSR bits 4-7
        std::uint8_t scratch = 0;           // SCR
        std::uint16_t divisor = 0;          // DLM:DLL
        std::array<Received, fifo_size> receive_fifo{};  // a ring
        std::uint8_t receive_first = 0;
        std::uint8_t receive_count = 0;
        std::uint8_t last_received = 0;  // what RBR gives when there is nothing in it
        std::array<std::uint8_t, fifo_size> transmit_fifo{};
        std::uint8_t transmit_first = 0;
        std::uint8_t transmit_count = 0;
        bool shifting = false;  // a character is in the transmit shift register
        std::uint8_t shift_register = 0;
        std::uint64_t shift_done = Scheduler::never;  // cycles
        bool transmit_interrupt = false;              // THRE interrupt pending
        bool character_timeout = false;
        std::uint64_t timeout_deadline = Scheduler::never;  // cycles
    };

    Uart16550(Scheduler& scheduler, InterruptLine& interrupt, Sink sink,
              Transmission transmission = Transmission::immediate);
    ~Uart16550() override;
    Uart16550(const Uart16550&) = delete;
    Uart16550& operator=(const Uart16550&) = delete;

    // Whether a character can be taken without losing one: there is room, and the wire is not looped back.
    bool can_receive() const;
    // A character arrives on the wire. Without room it is an overrun, as on the chip. In loopback it is
    // dropped.
    void receive(std::uint8_t data);
    // The line was held low for longer than a character.
    void receive_break();
    // Modem status inputs, a set of the bits above. After power-on: clear to send, data set ready, carrier
    // detect.
    void set_modem_inputs(std::uint8_t inputs);

    void reset();
    State save() const { return state_; }
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;
    void expired() override;

    bool fifo_enabled() const;
    bool loopback() const;
    std::uint8_t read_receive_buffer();
    std::uint8_t read_interrupt_identification();
    std::uint8_t read_line_status();
    std::uint8_t read_modem_status();
    std::uint8_t line_status() const;
    std::uint8_t modem_inputs() const;
    std::uint8_t interrupt_identification() const;
    unsigned trigger_level() const;
    // `start`, in cycles, plus the time that characters take on the wire.
    std::uint64_t after_characters(std::uint64_t start, unsigned characters) const;

    void write_transmit(std::uint8_t value);
    void write_fifo_control(std::uint8_t value);
    void write_line_control(std::uint8_t value);
    void write_modem_control(std::uint8_t value);
    void note_modem_change(std::uint8_t before);
    void push_received(Received received);
    void top_errors();
    void clear_receive_fifo();
    void clear_transmit_fifo();
    void start_shifting();
    void finish_shifting();
    void transmitted(std::uint8_t data);
    // Runs what is due by now.
    void run_due();
    // Arms the timer and drives the interrupt line from the state.
    void settle();
    void drive_interrupt();

    Scheduler& scheduler_;
    InterruptLine& interrupt_;
    Sink sink_;
    Transmission transmission_;
    State state_;
};

}  // namespace xenolith::devices
