// libFuzzer target: any bytes as any format either load sensibly or end in a well-formed LoadError.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/loader/fuzz_input.hpp"
#include "tests/loader/load_checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace xenolith;
    using namespace xenolith::loader::testing;
    if (size < fuzz_option_bytes) return 0;
    const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size)).subspan(fuzz_option_bytes);
    const loader::ImageFile image("fuzzed image", {bytes.begin(), bytes.end()});
    mmu::GuestMemory memory;
    memory.add_ram({0}, 0xa0000, "low");
    memory.add_rom({0xf0000}, std::vector<std::byte>(0x10000), "firmware");
    memory.add_ram({0x100000}, 0xf00000, "high");
    const std::string wrong = load_and_check(image, fuzz_options(data[0], data[1]), memory).wrong;
    if (!wrong.empty()) {
        std::fprintf(stderr, "%s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
