// A processor's local APIC on a bus, with ears on every wire that leaves it; and the registers by name.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/local_apic.hpp"
#include "machine/clock.hpp"
#include "tests/devices/recording_line.hpp"

namespace xenolith::devices {

// Offsets in the register page.
namespace apic_register {
constexpr unsigned id = 0x20, version = 0x30, task_priority = 0x80, arbitration_priority = 0x90,
                   processor_priority = 0xa0, end_of_interrupt = 0xb0, remote_read = 0xc0, logical_destination = 0xd0,
                   destination_format = 0xe0, spurious = 0xf0, in_service = 0x100, trigger_mode = 0x180,
                   requests = 0x200, error_status = 0x280, command_low = 0x300, command_high = 0x310, timer = 0x320,
                   thermal = 0x330, performance = 0x340, lint0 = 0x350, lint1 = 0x360, error = 0x370,
                   initial_count = 0x380, current_count = 0x390, divide_configuration = 0x3e0, self_interrupt = 0x3f0;
}  // namespace apic_register

namespace apic_bit {
constexpr std::uint32_t level = 1u << 15, masked = 1u << 16, periodic = 1u << 17, deadline = 2u << 17,
                        software_enable = 1u << 8, suppress_broadcast = 1u << 12, remote_request = 1u << 14,
                        non_maskable = 4u << 8, external = 7u << 8, initialize = 5u << 8, startup = 6u << 8,
                        lowest_priority = 1u << 8, system_management = 2u << 8, logical = 1u << 11, asserted = 1u << 14,
                        to_self = 1u << 18, to_everybody = 2u << 18, to_everybody_else = 3u << 18;
constexpr std::uint64_t base_enable = 1u << 11, base_x2apic = 1u << 10, base_bootstrap = 1u << 8;
}  // namespace apic_bit

// Processor with an APIC that software has enabled.
class ApicProcessor final {
  public:
    ApicProcessor(machine::Clock& clock, ApicBus& bus, const LocalApic::Configuration& configuration)
        : apic(clock, bus, configuration,
               {.interrupt = interrupt,
                .non_maskable = [this] { ++non_maskable; },
                .system_management = [this] { ++system_management; },
                .initialize = [this] { ++initialize; },
                .startup = [this](std::uint8_t vector) { startups.push_back(vector); },
                .task_priority_changed = [this](std::uint8_t cr8) { priorities.push_back(cr8); },
                .acknowledge_external =
                    [this] {
                        ++acknowledges;
                        return external_vector;
                    }}) {
        write(apic_register::spurious, apic_bit::software_enable | 0xff);
    }

    std::uint32_t read(unsigned offset) { return static_cast<std::uint32_t>(apic.registers().read(offset, 4)); }
    void write(unsigned offset, std::uint32_t value) { apic.registers().write(offset, 4, value); }
    // The register of this offset by its MSR.
    std::optional<std::uint64_t> read_msr(unsigned offset) { return apic.read_msr(0x800 + offset / 16); }
    bool write_msr(unsigned offset, std::uint64_t value) { return apic.write_msr(0x800 + offset / 16, value); }
    bool enter_x2apic() { return apic.set_base(apic.base() | apic_bit::base_x2apic); }

    // Bit of a vector in one of the 256-bit registers.
    bool bit(unsigned offset, unsigned vector) { return (read(offset + vector / 32 * 16) >> vector % 32 & 1) != 0; }
    bool requested(unsigned vector) { return bit(apic_register::requests, vector); }
    bool in_service(unsigned vector) { return bit(apic_register::in_service, vector); }
    bool level(unsigned vector) { return bit(apic_register::trigger_mode, vector); }
    void interrupt_self(unsigned vector) { write(apic_register::command_low, vector | apic_bit::to_self); }
    void end_of_interrupt() { write(apic_register::end_of_interrupt, 0); }
    // Errors since the last call.
    std::uint32_t errors() {
        write(apic_register::error_status, 0);
        return read(apic_register::error_status);
    }

    RecordingLine interrupt;
    unsigned non_maskable = 0;
    unsigned system_management = 0;
    unsigned initialize = 0;
    std::vector<unsigned> startups;
    std::vector<unsigned> priorities;  // as CR8 was told
    unsigned acknowledges = 0;
    std::uint8_t external_vector = 0x08;
    LocalApic apic;
};

}  // namespace xenolith::devices
