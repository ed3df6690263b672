// The 82093AA I/O APIC: 24 interrupt inputs, each redirected to processors by a message on the APIC bus.
#pragma once

#include <array>
#include <cstdint>

#include "devices/apic_bus.hpp"
#include "devices/device.hpp"

namespace xenolith::devices {

class IoApic final : public MemoryDevice {
  public:
    static constexpr unsigned pin_count = 24;
    static constexpr std::uint64_t page_size = 4096;
    // 0x20: one with an end-of-interrupt register.
    static constexpr std::uint32_t version = 0x20;

    struct State {
        std::uint8_t index = 0;        // IOREGSEL
        std::uint8_t id = 0;           // 0-15
        std::uint8_t arbitration = 0;  // 0-15
        std::uint32_t lines = 0;       // level of the inputs, a bit each
        std::array<std::uint64_t, pin_count> entries{};
    };

    // Attaches itself to the bus.
    explicit IoApic(ApicBus& bus);
    ~IoApic() override;
    IoApic(const IoApic&) = delete;
    IoApic& operator=(const IoApic&) = delete;

    // The input of a pin, 0-23; else std::invalid_argument. A wire says whether it is asserted, whatever its voltage:
    // the polarity bit of an entry is kept and means nothing here. An edge on a masked pin is lost, as the data sheet
    // has it; a level is looked at again when the pin is unmasked.
    InterruptLine& line(unsigned pin);

    // IOREGSEL at 0, IOWIN at 0x10 (four bytes at once), EOI at 0x40.
    std::uint64_t read(std::uint64_t offset, unsigned width) override;
    void write(std::uint64_t offset, unsigned width, std::uint64_t value) override;

    // A local APIC is done with this vector: a level that is still asserted interrupts again.
    void end_of_interrupt(std::uint8_t vector);

    // Whether a change of some pin would be an NMI.
    bool may_send_nmi() const;

    void reset();  // the wires keep their levels
    State save() const { return state_; }
    // After what drives the lines, before local APICs. std::invalid_argument if a field is out of its range.
    void restore(const State& state);

  private:
    class Input final : public InterruptLine {
      public:
        void set(bool asserted) override { owner->set_line(pin, asserted); }
        IoApic* owner = nullptr;
        unsigned pin = 0;
    };

    std::uint32_t read_register(std::uint8_t index) const;
    void write_register(std::uint8_t index, std::uint32_t value);
    void set_line(unsigned pin, bool asserted);
    // Sends a level-triggered pin's message if it is asserted and nobody is busy with the one before.
    void serve_level(unsigned pin);
    bool send(std::uint64_t entry);

    ApicBus& bus_;
    State state_;
    std::array<Input, pin_count> inputs_;
};

}  // namespace xenolith::devices
