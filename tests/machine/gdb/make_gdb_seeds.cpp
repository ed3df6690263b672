// Writes the fuzzer's first corpus: for each built-in guest, what gdb sends as it attaches, steps, breaks and looks.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "machine/gdb/packet.hpp"

namespace {

// A record as random_packets.hpp reads it.
std::string record(std::string_view content) { return static_cast<char>(content.size() & 0x7f) + std::string(content); }

std::string monitor(std::string_view command) { return record("qRcmd," + xenolith::machine::gdb::to_hex(command)); }

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: fuzz_gdb_seeds FOLDER\n");
        return 2;
    }
    const std::filesystem::path folder = arguments[1];
    std::filesystem::create_directories(folder);
    const std::string attach = record("qSupported:swbreak+;hwbreak+") + record("vCont?") + record("Hg0") +
                               record("qXfer:features:read:target.xml:0,ffb") + record("qAttached") + record("?") +
                               record("qfThreadInfo") + record("qsThreadInfo") + record("g");
    const std::string tails[] = {
        record("s") + record("vCont;s:1;c") + record("g") + record("p8") + record("P0=44332211") + record("c"),
        record("Z0,100045,1") + record("Z0,7c3d,1") + record("vCont;c") + record("z0,100045,1") + record("C05"),
        record("Z2,22000,8") + record("Z3,100000,4") + record("Z4,7bfe,2") + record("c") + record("c"),
        record("m100000,40") + record("M100000,2:ebfe") + record("X100000,1:}") + std::string("\x81\x03") + record("c"),
        monitor("xen") + monitor("walk $pc") + monitor("state") + monitor("timeline 3") + monitor("phys 0x1000 16"),
        monitor("set-phys 0x100000 f4") + monitor("until hypercall-page") + record("c") + monitor("end stop"),
        record("P1a=11000080") + record("P1b=0000000000000000") + record("D"),
        record("Hg2") + record("g") + record("vCont;s:2") + record("k"),
    };
    unsigned number = 0;
    for (const unsigned first : {0u, 1u, 2u, 3u, 4u, 0x83u, 0x41u}) {
        for (const std::string& tail : tails) {
            const std::filesystem::path file = folder / ("session-" + std::to_string(number++));
            std::ofstream seed(file, std::ios::binary);
            seed << static_cast<char>(first) << attach << tail;
            if (!seed) {
                std::fprintf(stderr, "%s: cannot be written\n", file.c_str());
                return 1;
            }
        }
    }
    return 0;
}
