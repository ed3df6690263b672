// The two bridges of the board: from the CPU to PCI, and from PCI to the ISA devices, with its interrupt router.
#pragma once

#include <array>
#include <cstdint>

#include "devices/pci.hpp"

namespace xenolith::devices {

// Intel 440FX, 8086:1237: where the first bus begins. It has nothing that a guest could set.
class PciHostBridge final : public PciFunction {
  public:
    PciHostBridge();
};

// Intel 82371SB (PIIX3), 8086:7000, function 0 of a device that may have others. Of its registers it has the four that
// route PCI interrupts to ISA ones.
class PciIsaBridge final : public PciFunction {
  public:
    static constexpr unsigned irq_count = 16;
    // PIRQRC[A]: configuration offset of the first of the four, a byte each. Bit 7 set: not routed; else an IRQ of 3-7,
    // 9-12, 14 or 15 in bits 3-0.
    static constexpr unsigned route_offset = 0x60;

    struct Wiring {
        // ISA interrupts that a guest may route to, level-triggered; null where none goes. No other device drives them.
        std::array<InterruptLine*, irq_count> irqs{};
        // Where each PIRQ goes besides, whatever its route: to an I/O APIC, for instance. May be null.
        std::array<InterruptLine*, PciBus::line_count> direct{};
    };

    explicit PciIsaBridge(const Wiring& wiring);

    // PIRQA# to PIRQD#, 0-3: for the bus to drive.
    std::array<InterruptLine*, PciBus::line_count> pirq_lines();

  private:
    class Input final : public InterruptLine {
      public:
        void set(bool asserted) override;
        PciIsaBridge* owner = nullptr;
        unsigned number = 0;
        bool level = false;
    };

    void registers_changed() override { drive(); }
    void drive();

    Wiring wiring_;
    std::array<Input, PciBus::line_count> inputs_;
};

}  // namespace xenolith::devices
