// A session with a small machine whose debugger sends any bytes at all: for the fuzzer, and for a test with chance.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "machine/guests/guests.hpp"
#include "tests/machine/gdb/scripted_channel.hpp"
#include "xen/blob.hpp"

namespace xenolith::machine::gdb::test {

// The first byte chooses the guest and what gdb is told of it. Then records of a length and as many bytes: a packet's
// content, or with the length's highest bit bytes as they are, some of which come while the guest runs.
inline std::string sent_for(std::span<const std::uint8_t> input) {
    if (input.empty()) return {};
    const std::span<const BuiltInGuest> guests = built_in_guests();
    const BuiltInGuest& guest = guests[input[0] % guests.size()];
    MachineOptions options;
    options.ram = memory_map::smallest_ram << 2;
    options.model = cpu::CpuModel::find("modern");
    if (guest.needs_doorbell) options.xen->blob_32 = xen::make_blob(xen::StubKind::doorbell);
    Machine machine(options);
    if ((input[0] & 0x80) != 0) machine.add_vcpu();
    SessionOptions session_options;
    session_options.limits.max_cycles = 300'000;
    if ((input[0] & 0x40) != 0) session_options.architecture = static_cast<Architecture>((input[0] >> 4) % 3);
    machine.load(guest.image(), {.format = guest.format});
    ScriptedChannel channel;
    channel.add(frame("QStartNoAckMode"));
    std::size_t records = 0;
    for (input = input.subspan(1); !input.empty() && records < 256; ++records) {
        const std::size_t length = std::min<std::size_t>(input[0] & 0x7f, input.size() - 1);
        const std::string bytes(input.begin() + 1, input.begin() + 1 + static_cast<std::ptrdiff_t>(length));
        if ((input[0] & 0x80) == 0)
            channel.add(frame(bytes));
        else if (length % 2 == 0)
            channel.add(bytes);
        else
            channel.add_while_running(bytes);
        input = input.subspan(1 + length);
    }
    Session(machine, channel, session_options).serve();
    // Whatever became of it can still be looked at, and run.
    machine.engine().state();
    RunLimits limits;
    limits.max_cycles = machine.engine().cycles() + 10'000;
    machine.run(limits);
    return channel.sent();
}

}  // namespace xenolith::machine::gdb::test
