// Intel 440FX data sheet (order number 290549), 3.2 "PCI configuration registers"; Intel 82371SB (PIIX3) data sheet
// (order number 290550), 2.2 "PCI configuration registers, function 0".
#include "devices/pci_bridges.hpp"

namespace xenolith::devices {

namespace {

constexpr unsigned command_register = 0x04;
constexpr unsigned status_register = 0x06;
constexpr std::uint16_t medium_decode = 0x0200;  // status: DEVSEL timing

constexpr std::uint8_t not_routed = 0x80;
constexpr std::uint8_t irq_mask = 0x0f;
constexpr unsigned routable_irqs = 0xdef8;  // 3-7, 9-12, 14, 15

}  // namespace

PciHostBridge::PciHostBridge()
    : PciFunction({.vendor = 0x8086, .device = 0x1237, .class_code = 0x06'00'00, .revision = 2}) {
    define(command_register, 2, 0x0006);  // memory and bus master, always
    define(status_register, 2, medium_decode | 0x0080);
}

PciIsaBridge::PciIsaBridge(const Wiring& wiring)
    : PciFunction({.vendor = 0x8086, .device = 0x7000, .class_code = 0x06'01'00, .multifunction = true}),
      wiring_(wiring) {
    define(command_register, 2, 0x0007);  // ports too
    define(status_register, 2, medium_decode);
    for (unsigned number = 0; number < PciBus::line_count; ++number) {
        define(route_offset + number, 1, not_routed, not_routed | irq_mask);
        inputs_[number].owner = this;
        inputs_[number].number = number;
    }
}

std::array<InterruptLine*, PciBus::line_count> PciIsaBridge::pirq_lines() {
    return {&inputs_[0], &inputs_[1], &inputs_[2], &inputs_[3]};
}

void PciIsaBridge::Input::set(bool asserted) {
    if (asserted == level) return;
    level = asserted;
    if (owner->wiring_.direct[number] != nullptr) owner->wiring_.direct[number]->set(asserted);
    owner->drive();
}

void PciIsaBridge::drive() {
    unsigned asserted = 0;
    for (const Input& input : inputs_) {
        const std::uint8_t route = byte(route_offset + input.number);
        if (input.level && (route & not_routed) == 0) asserted |= 1u << (route & irq_mask);
    }
    asserted &= routable_irqs;
    for (unsigned irq = 0; irq < irq_count; ++irq) {
        if (wiring_.irqs[irq] != nullptr) wiring_.irqs[irq]->set((asserted >> irq & 1) != 0);
    }
}

}  // namespace xenolith::devices
