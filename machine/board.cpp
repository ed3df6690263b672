// The wiring is that of a PC with an I/O APIC: ISA interrupt n reaches the 8259 and the I/O APIC's pin n, but for the
// timer, which is on pin 2; PCI interrupts go by way of the ISA bridge to pins 16 to 19 and to ISA interrupts, and the
// HPET has pins of its own (memory_map.hpp). The 8259 itself asks through the local APIC's LINT0.
#include "machine/board.hpp"

#include <algorithm>

#include "machine/memory_map.hpp"

namespace xenolith::machine {

namespace {

namespace input = memory_map::io_apic_input;

constexpr unsigned cascade = 2;
constexpr std::uint16_t serial_line_control = 3;

unsigned pin_of(unsigned irq) { return irq == memory_map::irq::timer ? input::timer : irq; }

std::array<std::unique_ptr<ForkedLine>, 16> make_irqs(devices::Pic8259& pic, devices::IoApic& io_apic) {
    std::array<std::unique_ptr<ForkedLine>, 16> irqs;
    for (unsigned irq = 0; irq < irqs.size(); ++irq)
        if (irq != cascade) irqs[irq] = std::make_unique<ForkedLine>(pic.line(irq), io_apic.line(pin_of(irq)));
    return irqs;
}

devices::Hpet::Wiring hpet_wiring(Board& board) {
    devices::Hpet::Wiring wiring{.irq0 = *board.irqs[memory_map::irq::timer],
                                 .irq8 = *board.irqs[memory_map::irq::cmos]};
    for (const unsigned pin : input::hpet) wiring.pins[pin] = &board.io_apic.line(pin);
    return wiring;
}

devices::PciIsaBridge::Wiring bridge_wiring(Board& board) {
    devices::PciIsaBridge::Wiring wiring;
    for (const unsigned irq : memory_map::irq::pirq) wiring.irqs[irq] = board.irqs[irq].get();
    for (unsigned line = 0; line < devices::PciBus::line_count; ++line)
        wiring.direct[line] = &board.io_apic.line(input::pirq[line]);
    return wiring;
}

devices::LocalApic::Configuration apic_configuration(const cpu::CpuModel& model) {
    return {.x2apic = model.has(cpu::Feature::x2apic),
            .tsc_deadline = model.has(cpu::Feature::tsc_deadline),
            .physical_address_bits = model.physical_address_bits()};
}

devices::CmosRtc::Configuration cmos_configuration(std::uint64_t ram) {
    const std::uint64_t below = std::min(ram, memory_map::device_gap.value);
    return {.memory_below_4g = below, .memory_above_4g = ram - below};
}

}  // namespace

Board::Board(Bus& its_bus, Clock& clock, const cpu::CpuModel& model, const Configuration& configuration,
             Outputs outputs)
    : bus(its_bus),
      interrupt(std::move(outputs.interrupt)),
      local_apic(clock, apic_bus, apic_configuration(model),
                 {.interrupt = interrupt,
                  .non_maskable = std::move(outputs.non_maskable),
                  .system_management = {},
                  .initialize = [reset = outputs.reset] { reset("the guest sent its only CPU an INIT"); },
                  .startup = {},
                  .task_priority_changed = std::move(outputs.task_priority_changed),
                  .acknowledge_external = [this] { return pic.acknowledge(); }}),
      pic(local_apic.lint(0)),
      io_apic(apic_bus),
      irqs(make_irqs(pic, io_apic)),
      hpet(clock, hpet_wiring(*this)),
      pit(clock, hpet.interval_timer_input()),
      a20([](bool) {}),
      system_control_a(a20, [reset = outputs.reset] { reset("the guest asked for a reset by port 0x92"); }),
      system_control_b(pit),
      keyboard(*irqs[memory_map::irq::keyboard], a20,
               [reset = outputs.reset] { reset("the guest asked for a reset by the keyboard controller"); }),
      cmos(clock, hpet.real_time_clock_input(), cmos_configuration(configuration.ram)),
      serial(
          clock, *irqs[memory_map::irq::serial1], configuration.serial_out ? configuration.serial_out : [](auto) {}),
      serial_feed(clock, serial),
      debug_console(configuration.debug_out),
      debug_exit(std::move(outputs.debug_exit)),
      acpi_pm(clock, *irqs[memory_map::irq::acpi], std::move(outputs.power_off)),
      isa_bridge(bridge_wiring(*this)),
      pci_bus(isa_bridge.pirq_lines()),
      pci_ports([reset = outputs.reset](bool) { reset("the guest asked for a reset by port 0xcf9"); }),
      fw_cfg(configuration.ram, 1) {
    pci_bus.attach(0, 0, host_bridge);
    pci_bus.attach(1, 0, isa_bridge);
    pci_ports.attach(0, pci_bus);

    namespace port = memory_map::port;
    bus.attach("8259 master", port::pic_master, 2, pic.master_ports());
    bus.attach("8259 slave", port::pic_slave, 2, pic.slave_ports());
    bus.attach("8259 edge/level control", port::pic_edge_level, 2, pic.edge_level_ports());
    bus.attach("8254 timer", port::pit, 4, pit);
    bus.attach("8042 data", port::keyboard_data, 1, keyboard.data_port());
    bus.attach("8042 command", port::keyboard_command, 1, keyboard.command_port());
    bus.attach("system control port B", port::system_control_b, 1, system_control_b);
    bus.attach("system control port A", port::system_control_a, 1, system_control_a);
    bus.attach("POST code", port::post_code, 1, post_code);
    bus.attach("CMOS", port::cmos, 2, cmos);
    bus.attach("SMI command", port::smi_command, devices::AcpiPm::smi_port_count, acpi_pm.smi_command_port());
    bus.attach("16550 serial port", port::serial1, 8, serial);
    bus.attach("firmware configuration", port::fw_cfg, devices::FwCfg::port_count, fw_cfg);
    bus.attach("ACPI power management", port::power_management, devices::AcpiPm::port_count, acpi_pm);
    bus.attach("PCI configuration", port::pci, devices::PciPorts::port_count, pci_ports);
    bus.attach("debug console", port::debug_console, 1, debug_console);
    bus.attach("debug exit", port::debug_exit, 4, debug_exit);
    bus.attach("I/O APIC", memory_map::io_apic, devices::IoApic::page_size, io_apic);
    bus.attach("HPET", memory_map::hpet, mmu::page_size, hpet);
    bus.attach("local APIC", memory_map::local_apic, devices::LocalApic::page_size, local_apic.registers());
}

void Board::set_up_as_firmware_does() {
    local_apic.enter_virtual_wire_mode();
    // Interrupts of PCI and ACPI are level-triggered.
    unsigned level = 1u << memory_map::irq::acpi;
    for (const unsigned irq : memory_map::irq::pirq) level |= 1u << irq;
    pic.edge_level_ports().write(0, 2, level);
    for (unsigned line = 0; line < devices::PciBus::line_count; ++line)
        isa_bridge.write(devices::PciIsaBridge::route_offset + line, 1, memory_map::irq::pirq[line]);
    // Eight bits, no parity, one stop bit: a guest may print before it programs the port.
    serial.write(serial_line_control, 1, 0x03);
}

// SDM vol. 3A, 10.4.5.
void Board::place_local_apic() {
    const mmu::GuestPhysical page = mmu::GuestPhysical{local_apic.base()}.page();
    if (!bus.move(local_apic.registers(), page)) bus.move(local_apic.registers(), memory_map::local_apic);
}

Board::State Board::save() {
    return {.pic = pic.save(),
            .local_apic = local_apic.save(),
            .io_apic = io_apic.save(),
            .hpet = hpet.save(),
            .pit = pit.save(),
            .system_control_a = system_control_a.save(),
            .system_control_b = system_control_b.save(),
            .keyboard = keyboard.save(),
            .post_code = post_code.save(),
            .cmos = cmos.save(),
            .serial = serial.save(),
            .serial_feed = serial_feed.save(),
            .acpi_pm = acpi_pm.save(),
            .host_bridge = host_bridge.save(),
            .isa_bridge = isa_bridge.save(),
            .pci_ports = pci_ports.save(),
            .fw_cfg = fw_cfg.save()};
}

// What drives a wire comes before what the wire ends in, so that the receiver's own state has the last word.
void Board::restore(const State& state) {
    pit.restore(state.pit);
    cmos.restore(state.cmos);
    hpet.restore(state.hpet);
    system_control_a.restore(state.system_control_a);
    system_control_b.restore(state.system_control_b);
    keyboard.restore(state.keyboard);
    post_code.restore(state.post_code);
    serial.restore(state.serial);
    serial_feed.restore(state.serial_feed);
    acpi_pm.restore(state.acpi_pm);
    host_bridge.restore(state.host_bridge);
    isa_bridge.restore(state.isa_bridge);
    pci_ports.restore(state.pci_ports);
    fw_cfg.restore(state.fw_cfg);
    pic.restore(state.pic);
    io_apic.restore(state.io_apic);
    local_apic.restore(state.local_apic);
    place_local_apic();
}

}  // namespace xenolith::machine
