// Any bytes as a guest's code, in the mode the first of them says, on a whole machine with all its devices: whatever
// they do, nothing may crash, hang or leak.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "loader/loader.hpp"
#include "machine/machine.hpp"

namespace xenolith::machine::test {

inline RunResult run_random_code(std::span<const std::uint8_t> input, std::uint64_t most_cycles) {
    using loader::Format;
    if (input.size() < 2) return {};
    const std::uint8_t choice = input[0];
    MachineOptions options;
    options.ram = std::uint64_t{4} << 20;
    options.model = cpu::CpuModel::find((choice & 0x10) != 0 ? "modern" : "nehalem",
                                        (choice & 0x20) != 0 ? cpu::Vendor::amd : cpu::Vendor::intel);
    if ((choice & 0x40) != 0) options.xen.reset();
    constexpr Format formats[] = {Format::flat16, Format::flat32, Format::flat64, Format::flat64};
    std::vector<std::byte> code;
    for (const std::uint8_t byte : input.subspan(1)) code.push_back(static_cast<std::byte>(byte));
    Machine machine(options);
    machine.load(loader::ImageFile("code", code), {.format = formats[choice & 3]});
    cpu::CpuState state = machine.engine().state();
    for (unsigned n = 0; n < 16; ++n)
        if (n != cpu::rsp) state.registers[n] = 0x100000 + n * 0x1110 + choice;
    // Interrupts on, so that armed timers are heard of.
    if ((choice & 0x80) != 0) state.rflags |= cpu::rflags::if_;
    machine.engine().set_state(state);
    RunLimits limits;
    limits.max_cycles = most_cycles;
    return machine.run(limits);
}

}  // namespace xenolith::machine::test
