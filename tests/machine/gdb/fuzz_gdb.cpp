// libFuzzer: any bytes as what a debugger sends, to a session with a small machine.
#include "tests/machine/gdb/random_packets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    xenolith::machine::gdb::test::sent_for({data, std::min<std::size_t>(size, 4096)});
    return 0;
}
