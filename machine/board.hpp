// The PC's board: its devices, the wires between them, and where each answers.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "cpu/model/cpu_model.hpp"
#include "devices/acpi_pm.hpp"
#include "devices/apic_bus.hpp"
#include "devices/cmos_rtc.hpp"
#include "devices/debug_console.hpp"
#include "devices/debug_exit.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/hpet.hpp"
#include "devices/io_apic.hpp"
#include "devices/keyboard_controller.hpp"
#include "devices/local_apic.hpp"
#include "devices/pci.hpp"
#include "devices/pci_bridges.hpp"
#include "devices/pic8259.hpp"
#include "devices/pit8254.hpp"
#include "devices/system_control.hpp"
#include "devices/uart16550.hpp"
#include "machine/bus.hpp"
#include "machine/clock.hpp"
#include "machine/serial_feed.hpp"

namespace xenolith::machine {

// A wire to somewhere a function says.
class FunctionLine final : public devices::InterruptLine {
  public:
    explicit FunctionLine(std::function<void(bool)> sink) : sink_(std::move(sink)) {}
    void set(bool asserted) override { sink_(asserted); }

  private:
    std::function<void(bool)> sink_;
};

// A wire that ends in two places: every ISA interrupt reaches the 8259 and the I/O APIC alike.
class ForkedLine final : public devices::InterruptLine {
  public:
    ForkedLine(devices::InterruptLine& first, devices::InterruptLine& second) : first_(first), second_(second) {}
    void set(bool asserted) override {
        first_.set(asserted);
        second_.set(asserted);
    }

  private:
    devices::InterruptLine &first_, &second_;
};

// Members are declared from the interrupt controllers outwards: each is wired to what stands before it.
class Board {
  public:
    struct Configuration {
        std::uint64_t ram = 0;  // bytes
        std::function<void(std::uint8_t)> serial_out, debug_out;
    };
    // What the board tells the rest of the machine. All of them are called in the middle of an instruction, which still
    // completes.
    struct Outputs {
        std::function<void(bool asserted)> interrupt;  // the CPU's INTR
        std::function<void()> non_maskable;
        std::function<void(std::uint8_t cr8)> task_priority_changed;
        std::function<void(std::string how)> reset;  // the guest asked for one
        std::function<void()> power_off;
        std::function<void(std::uint32_t status)> debug_exit;
    };

    struct State {
        devices::Pic8259::State pic;
        devices::LocalApic::State local_apic;
        devices::IoApic::State io_apic;
        devices::Hpet::State hpet;
        devices::Pit8254::State pit;
        devices::SystemControlPortA::State system_control_a;
        devices::SystemControlPortB::State system_control_b;
        devices::KeyboardController::State keyboard;
        devices::PostCodePort::State post_code;
        devices::CmosRtc::State cmos;
        devices::Uart16550::State serial;
        SerialFeed::State serial_feed;
        devices::AcpiPm::State acpi_pm;
        devices::PciFunction::State host_bridge, isa_bridge;
        devices::PciPorts::State pci_ports;
        devices::FwCfg::State fw_cfg;
    };

    Board(Bus& its_bus, Clock& clock, const cpu::CpuModel& model, const Configuration& configuration, Outputs outputs);
    Board(const Board&) = delete;
    Board& operator=(const Board&) = delete;

    // What firmware leaves to a system it starts: interrupts of the 8259 reach the CPU through the local APIC.
    void set_up_as_firmware_does();

    // Whether a device's interrupt may reach the CPU as an NMI, as a guest can have it: through LINT0, where the 8259
    // is, or the I/O APIC. Nothing is wired to LINT1.
    bool may_interrupt_by_nmi() const { return local_apic.is_nmi_input(0) || io_apic.may_send_nmi(); }

    // The local APIC's registers answer where IA32_APIC_BASE says, or, if memory or another device is there, where they
    // are at reset. After every change of that MSR.
    void place_local_apic();

    State save();
    // After the clock. std::invalid_argument if a device's state is out of its range.
    void restore(const State& state);

    Bus& bus;
    devices::ApicBus apic_bus;
    FunctionLine interrupt;
    devices::LocalApic local_apic;
    devices::Pic8259 pic;
    devices::IoApic io_apic;
    std::array<std::unique_ptr<ForkedLine>, 16> irqs;  // ISA interrupts; 2 is the cascade, and null
    devices::Hpet hpet;
    devices::Pit8254 pit;
    devices::A20Gate a20;
    devices::SystemControlPortA system_control_a;
    devices::SystemControlPortB system_control_b;
    devices::KeyboardController keyboard;
    devices::PostCodePort post_code;
    devices::CmosRtc cmos;
    devices::Uart16550 serial;
    SerialFeed serial_feed;
    devices::DebugConsole debug_console;
    devices::DebugExit debug_exit;
    devices::AcpiPm acpi_pm;
    devices::PciHostBridge host_bridge;
    devices::PciIsaBridge isa_bridge;
    devices::PciBus pci_bus;
    devices::PciPorts pci_ports;
    devices::FwCfg fw_cfg;
};

}  // namespace xenolith::machine
