// The PC's pair of 8259A interrupt controllers: fifteen interrupt lines in, one request line to the CPU out.
#pragma once

#include <array>
#include <cstdint>

#include "devices/device.hpp"

namespace xenolith::devices {

// One 8259A's registers (Intel 8259A data sheet, order number 231468).
struct Pic8259ChipState {
    std::uint8_t lines = 0;                // level of the eight IR inputs
    std::uint8_t interrupt_request = 0;    // IRR
    std::uint8_t in_service = 0;           // ISR
    std::uint8_t interrupt_mask = 0;       // IMR
    std::uint8_t level_triggered = 0;      // ELCR: bit n set makes IRn level-triggered
    std::uint8_t vector_base = 0;          // ICW2, bits 7-3
    std::uint8_t cascade = 0;              // ICW3
    std::uint8_t lowest_priority = 7;      // IR that has the lowest priority, 0-7
    std::uint8_t expected_word = 0;        // the initialization word that comes next, 2-4; 0 when there is none
    bool initialized = false;              // an initialization sequence has ended
    bool all_level_triggered = false;      // ICW1 LTIM
    bool single = false;                   // ICW1 SNGL
    bool needs_word4 = false;              // ICW1 IC4
    bool automatic_end = false;            // ICW4 AEOI
    bool special_fully_nested = false;     // ICW4 SFNM
    bool rotate_on_automatic_end = false;  // OCW2
    bool special_mask = false;             // OCW3
    bool read_in_service = false;          // OCW3: a read of port 0 gives ISR rather than IRR
    bool poll = false;                     // OCW3: the next read is a poll
};

class Pic8259 final {
  public:
    struct State {
        Pic8259ChipState master;
        Pic8259ChipState slave;
    };

    // `cpu` is the INT output of the master. It follows every change at once.
    explicit Pic8259(InterruptLine& cpu);
    ~Pic8259();
    Pic8259(const Pic8259&) = delete;
    Pic8259& operator=(const Pic8259&) = delete;

    // The input for an IRQ, 0-15 except 2, which carries the slave; else std::invalid_argument.
    InterruptLine& line(unsigned irq);

    PortDevice& master_ports();      // 0x20-0x21
    PortDevice& slave_ports();       // 0xa0-0xa1
    PortDevice& edge_level_ports();  // 0x4d0-0x4d1

    bool interrupt_requested() const;
    // The CPU's interrupt-acknowledge cycle: the vector, 0-255. With nothing requested any more it is the
    // spurious IRQ 7 (or IRQ 15, when the request that went away was the slave's).
    std::uint8_t acknowledge();

    void reset();
    State save() const;
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    class CommandPorts final : public BytePortDevice {
      public:
        CommandPorts(Pic8259& owner, Pic8259ChipState& chip) : owner_(owner), chip_(chip) {}
        std::uint8_t read_byte(std::uint16_t offset) override;
        void write_byte(std::uint16_t offset, std::uint8_t value) override;

      private:
        Pic8259& owner_;
        Pic8259ChipState& chip_;
    };
    class EdgeLevelPorts final : public BytePortDevice {
      public:
        explicit EdgeLevelPorts(Pic8259& owner) : owner_(owner) {}
        std::uint8_t read_byte(std::uint16_t offset) override;
        void write_byte(std::uint16_t offset, std::uint8_t value) override;

      private:
        Pic8259& owner_;
    };
    class Input final : public InterruptLine {
      public:
        void set(bool asserted) override;
        Pic8259* owner = nullptr;
        std::uint8_t irq = 0;
    };

    void set_input(unsigned irq, bool asserted);
    // Carries the slave's output to the master and the master's to the CPU.
    void propagate();
    std::uint8_t acknowledge_slave();

    State state_;
    InterruptLine& cpu_;
    CommandPorts master_ports_;
    CommandPorts slave_ports_;
    EdgeLevelPorts edge_level_ports_;
    std::array<Input, 16> inputs_;
};

}  // namespace xenolith::devices
