// All the devices on one little board, and bytes that become port accesses, wire changes and passing time.
//
// The random test and the fuzzer share it: whatever the bytes, nothing may crash, hang or fail to be
// repeatable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "devices/acpi_pm.hpp"
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
#include "machine/clock.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {

class Board final {
  public:
    static constexpr std::uint64_t hertz = 100'000'007;
    static constexpr std::size_t bytes_per_operation = 8;

    struct State {
        std::uint64_t now = 0;
        Pic8259::State pic;
        Pit8254::State pit;
        CmosRtc::State rtc;
        Uart16550::State fast_uart;
        Uart16550::State timed_uart;
        SystemControlPortA::State port_a;
        SystemControlPortB::State port_b;
        PostCodePort::State post_code;
        KeyboardController::State keyboard;
        IoApic::State io_apic;
        LocalApic::State first_apic;
        LocalApic::State second_apic;
        Hpet::State hpet;
        AcpiPm::State acpi_pm;
        FwCfg::State fw_cfg;
        PciPorts::State pci_ports;
        PciFunction::State isa_bridge;
        PciFunction::State card;
    };

    Board() {
        interrupt_.changed = [this](bool level) { first_apic_.lint(0).set(level); };
        pci_bus_.attach(0, 0, host_bridge_);
        pci_bus_.attach(1, 0, isa_bridge_);
        pci_bus_.attach(2, 0, card_);
        pci_ports_.attach(0, pci_bus_);
        fw_cfg_.add_file("opt/file", std::vector<std::byte>(3, std::byte{0x5a}));
    }

    // Everything that a guest or a person outside could notice, in order.
    std::vector<std::uint64_t> seen;

    State save() {
        return {clock_.now(),       pic_.save(),        pit_.save(),         rtc_.save(),       fast_uart_.save(),
                timed_uart_.save(), port_a_.save(),     port_b_.save(),      post_code_.save(), keyboard_.save(),
                io_apic_.save(),    first_apic_.save(), second_apic_.save(), hpet_.save(),      acpi_pm_.save(),
                fw_cfg_.save(),     pci_ports_.save(),  isa_bridge_.save(),  card_.save()};
    }
    void restore(const State& state) {
        clock_.restore(state.now);
        pit_.restore(state.pit);
        rtc_.restore(state.rtc);
        fast_uart_.restore(state.fast_uart);
        timed_uart_.restore(state.timed_uart);
        port_a_.restore(state.port_a);
        port_b_.restore(state.port_b);
        post_code_.restore(state.post_code);
        keyboard_.restore(state.keyboard);
        hpet_.restore(state.hpet);
        acpi_pm_.restore(state.acpi_pm);
        fw_cfg_.restore(state.fw_cfg);
        pci_ports_.restore(state.pci_ports);
        isa_bridge_.restore(state.isa_bridge);
        card_.restore(state.card);
        pic_.restore(state.pic);
        io_apic_.restore(state.io_apic);
        first_apic_.restore(state.first_apic);
        second_apic_.restore(state.second_apic);
    }

    // Each operation takes bytes_per_operation bytes; a rest is ignored.
    void run(std::span<const std::uint8_t> bytes) {
        for (; bytes.size() >= bytes_per_operation; bytes = bytes.subspan(bytes_per_operation)) {
            operate(bytes.first<bytes_per_operation>());
        }
    }

  private:
    void operate(std::span<const std::uint8_t, bytes_per_operation> bytes) {
        static constexpr std::array<unsigned, 4> widths{1, 1, 2, 4};
        static constexpr std::array<unsigned, 6> free_irqs{6, 7, 12, 13, 14, 15};
        PortDevice& device = *ports_[bytes[1] % ports_.size()];
        const unsigned width = widths[bytes[2] & 3];
        // Mostly a register that exists, sometimes anything.
        const auto offset = static_cast<std::uint16_t>(
            (bytes[2] & 0xe0) == 0xe0 ? bytes[3] << 8 | bytes[4] : bytes[3] & ((bytes[2] & 4) != 0 ? 0x1f : 7));
        std::uint32_t value = 0;
        for (const std::uint8_t byte : bytes.last<4>()) value = value << 8 | byte;
        switch (bytes[0] % 27) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4: seen.push_back(device.read(offset, width)); break;
            case 5:
            case 6:
            case 7:
            case 8:
            case 9: device.write(offset, width, value); break;
            case 10: seen.push_back(pic_.acknowledge()); break;
            case 11:
                // Only wires that no device here drives: a wire has one driver.
                pic_.line(free_irqs[bytes[1] % free_irqs.size()]).set((value & 1) != 0);
                break;
            case 12: outside(bytes[1], static_cast<std::uint8_t>(value)); break;
            case 13:
                // A long wait, up to 0.16 seconds; with it the calendar moves too.
                clock_.advance_to(clock_.now() + (value & 0xffffff));
                break;
            case 14:
            case 15: clock_.advance_to(clock_.now() + (value & 0xfff)); break;
            case 16:
            case 17: access_memory(bytes, value); break;
            case 18: choose(bytes[1], value); break;
            case 19: operate_io_apic(bytes[1], bytes[2], value); break;
            default: operate_local_apic((bytes[1] & 1) != 0 ? second_apic_ : first_apic_, bytes, value); break;
        }
        seen.push_back(clock_.next_deadline());
        seen.push_back((interrupt_.level ? 1u : 0u) | (first_interrupt_.level ? 2u : 0u) |
                       (second_interrupt_.level ? 4u : 0u));
    }

    void operate_local_apic(LocalApic& apic, std::span<const std::uint8_t, bytes_per_operation> bytes,
                            std::uint32_t value) {
        static constexpr std::array<unsigned, 4> widths{1, 2, 4, 8};
        const bool anything = (bytes[2] & 0xf0) == 0xf0;
        const unsigned offset = anything ? unsigned{bytes[2]} << 8 | bytes[3] : (bytes[3] & 0x3fu) * 16;
        const unsigned width = anything ? widths[bytes[3] & 3] : 4;
        const std::uint32_t msr = 0x800 + (anything ? value & 0x1ff : offset / 16);
        // Values with few bits are more often legal, and more often vectors of the same few.
        if ((bytes[2] & 1) != 0) value &= 0x000684ff;
        if ((bytes[2] & 2) != 0) value = (value & 0xffffff0f) | 0x40;
        switch (bytes[1] >> 1 & 31) {
            case 0: seen.push_back(apic.set_base(0xfee00000 | (value & 3) << 10)); break;
            case 1: seen.push_back(apic.set_base(0xfee00000 | std::uint64_t{value})); break;
            case 2: seen.push_back(apic.set_base(0xfee00800)); break;
            case 3: apic.enter_virtual_wire_mode(); break;
            case 4: apic.set_tsc_offset(std::uint64_t{value} << (bytes[2] >> 2)); break;
            case 5: apic.set_tsc_deadline(std::uint64_t{value} << (bytes[2] >> 2)); break;
            case 6: apic.set_tsc_deadline(clock_.now() + (value & 0xfff)); break;
            case 7: seen.push_back(apic.tsc_deadline()); break;
            case 8: apic.set_cr8(value & 15); break;
            // The first one's LINT0 is the 8259A's.
            case 9: apic.lint(&apic == &first_apic_ ? 1 : bytes[2] >> 2 & 1).set((value & 1) != 0); break;
            case 10:
                if ((value & 0xf) == 0) apic.reset();
                if ((value & 0xf) == 1) apic.init_reset();
                break;
            case 11:
            case 12:
            case 13:
            case 14: seen.push_back(apic.acknowledge()); break;
            case 15:
            case 16: apic.registers().write(apic_end_of_interrupt, 4, 0); break;
            case 17:
            case 18:
            case 19:
            case 20: seen.push_back(apic.registers().read(offset, width)); break;
            case 21:
            case 22: seen.push_back(apic.read_msr(msr).value_or(~std::uint64_t{0})); break;
            case 23:
            case 24:
            case 25: seen.push_back(apic.write_msr(msr, value)); break;
            default: apic.registers().write(offset, width, value); break;
        }
        seen.push_back(apic.processor_priority());
    }

    void operate_io_apic(std::uint8_t choice, std::uint8_t detail, std::uint32_t value) {
        static constexpr std::array<unsigned, 4> offsets{0, 0x10, 0x40, 4};
        switch (choice & 7) {
            case 0: io_apic_.line(detail % IoApic::pin_count).set((value & 1) != 0); break;
            case 1: io_apic_.write(offsets[detail & 3], 1u << (detail >> 2 & 3), value); break;
            case 2: seen.push_back(io_apic_.read(offsets[detail & 3], 1u << (detail >> 2 & 3))); break;
            case 3: io_apic_.end_of_interrupt(detail); break;
            case 4:
                if ((value & 0xff) == 0) io_apic_.reset();
                break;
            default:
                // An entry that is likely to reach somebody.
                io_apic_.write(0, 4, 0x10 + detail % (2 * IoApic::pin_count));
                io_apic_.write(0x10, 4, detail % 2 != 0 ? value & 0x03000000 : value & 0x0001efff);
                break;
        }
    }

    LocalApic::Outputs outputs(RecordingLine& interrupt, std::uint64_t number) {
        return {.interrupt = interrupt,
                .non_maskable = [this, number] { note(8, number); },
                .system_management = [this, number] { note(9, number); },
                .initialize =
                    [this, number] {
                        note(10, number);
                        (number == 0 ? first_apic_ : second_apic_).init_reset();
                    },
                .startup = [this, number](std::uint8_t vector) { note(11, number << 8 | vector); },
                .task_priority_changed = [this, number](std::uint8_t cr8) { note(12, number << 8 | cr8); },
                .acknowledge_external = [this] { return pic_.acknowledge(); }};
    }

    void access_memory(std::span<const std::uint8_t, bytes_per_operation> bytes, std::uint64_t value) {
        static constexpr std::array<unsigned, 4> widths{4, 8, 4, 1};
        MemoryDevice& device = *memory_[bytes[1] % memory_.size()];
        const unsigned width = widths[bytes[2] & 3];
        std::uint64_t offset = std::uint64_t{bytes[3]} << 2;
        if ((bytes[2] & 0xe0) == 0xe0) offset = offset << 32 | bytes[4];
        // Small values make things happen soon.
        if ((bytes[2] & 0x08) != 0) value &= 0xffff;
        if ((bytes[2] & 0x10) != 0) value |= value << 32;
        if ((bytes[1] & 0x80) != 0) {
            seen.push_back(device.read(offset, width));
        } else {
            device.write(offset, width, value);
        }
    }

    // Registers behind an index, of which random ones would hardly ever be there.
    void choose(std::uint8_t choice, std::uint32_t value) {
        if ((choice & 1) != 0) {
            fw_cfg_.write(0, 2, value & 0x3f);
        } else {
            pci_ports_.write(0, 4, 0x8000'0000 | (value & 0x18fc));
        }
    }

    void outside(std::uint8_t choice, std::uint8_t value) {
        Uart16550& uart = (choice & 1) != 0 ? timed_uart_ : fast_uart_;
        switch (choice >> 1 & 7) {
            case 0: uart.receive_break(); break;
            case 1: uart.set_modem_inputs(value); break;
            case 2: uart.reset(); break;
            case 3:
                if (uart.can_receive()) uart.receive(value);
                break;
            case 4: acpi_pm_.press_power_button(); break;
            case 5: acpi_pm_.raise_event(value); break;
            case 6: card_.set_interrupt((value & 1) != 0); break;
            default: uart.receive(value); break;
        }
    }

    Hpet::Wiring hpet_wiring() {
        Hpet::Wiring wiring{pic_.line(0), pic_.line(8), {}};
        wiring.pins[20] = &pic_.line(5);
        return wiring;
    }
    PciIsaBridge::Wiring isa_wiring() {
        PciIsaBridge::Wiring wiring;
        wiring.irqs[10] = &pic_.line(10);
        wiring.irqs[11] = &pic_.line(11);
        return wiring;
    }
    void note(std::uint64_t kind, std::uint64_t value) { seen.push_back(kind << 56 | value); }

    static constexpr std::uint64_t apic_end_of_interrupt = 0xb0;

    machine::Clock clock_{hertz};
    RecordingLine interrupt_;
    Pic8259 pic_{interrupt_};
    Hpet hpet_{clock_, hpet_wiring()};
    Pit8254 pit_{clock_, hpet_.interval_timer_input()};
    CmosRtc rtc_{clock_, hpet_.real_time_clock_input(), {.memory_below_4g = std::uint64_t{64} << 20}};
    Uart16550 fast_uart_{clock_, pic_.line(4), [this](std::uint8_t value) { note(1, value); }};
    Uart16550 timed_uart_{clock_, pic_.line(3), [this](std::uint8_t value) { note(2, value); },
                          Uart16550::Transmission::at_line_rate};
    A20Gate a20_{[this](bool open) { note(3, open ? 1 : 0); }};
    SystemControlPortA port_a_{a20_, [this] { note(4, 0); }};
    SystemControlPortB port_b_{pit_};
    PostCodePort post_code_;
    KeyboardController keyboard_{pic_.line(1), a20_, [this] { note(5, 0); }};
    DebugConsole console_{[this](std::uint8_t value) { note(6, value); }};
    DebugExit exit_{[this](std::uint32_t status) { note(7, status); }};
    ApicBus apic_bus_;
    IoApic io_apic_{apic_bus_};
    RecordingLine first_interrupt_;
    RecordingLine second_interrupt_;
    LocalApic first_apic_{clock_, apic_bus_, {.id = 0, .bus_frequency = hertz}, outputs(first_interrupt_, 0)};
    LocalApic second_apic_{
        clock_, apic_bus_, {.id = 1, .bootstrap = false, .bus_frequency = 33'333'333}, outputs(second_interrupt_, 1)};
    AcpiPm acpi_pm_{clock_, pic_.line(9), [this] { note(13, 0); }};
    FwCfg fw_cfg_{std::uint64_t{64} << 20, 1};
    PciHostBridge host_bridge_;
    PciIsaBridge isa_bridge_{isa_wiring()};
    PciFunction card_{{.vendor = 1, .device = 2, .interrupt_pin = 1, .master = true},
                      {{{PciBaseAddress::Kind::io, false, 16},
                        {PciBaseAddress::Kind::memory_32, false, 4096},
                        {PciBaseAddress::Kind::memory_64, true, 1u << 20}}},
                      [this](unsigned index, std::optional<std::uint64_t> start) {
                          note(14, index);
                          seen.push_back(start.value_or(~std::uint64_t{0}));
                      }};
    PciBus pci_bus_{isa_bridge_.pirq_lines()};
    PciPorts pci_ports_{[this](bool hard) { note(15, hard ? 1 : 0); }};
    std::array<MemoryDevice*, 1> memory_{&hpet_};
    std::array<PortDevice*, 18> ports_{&pic_.master_ports(),
                                       &pic_.slave_ports(),
                                       &pic_.edge_level_ports(),
                                       &pit_,
                                       &rtc_,
                                       &fast_uart_,
                                       &timed_uart_,
                                       &port_a_,
                                       &port_b_,
                                       &post_code_,
                                       &keyboard_.data_port(),
                                       &keyboard_.command_port(),
                                       &console_,
                                       &exit_,
                                       &acpi_pm_,
                                       &acpi_pm_.smi_command_port(),
                                       &fw_cfg_,
                                       &pci_ports_};
};

}  // namespace xenolith::devices
