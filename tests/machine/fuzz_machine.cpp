// libFuzzer's way in: see random_code.hpp.
#include "tests/machine/random_code.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t longest = 0x8000;  // bytes of code that fit above 0:7c00
    // Short: code that writes itself costs a hundred times an instruction here.
    constexpr std::uint64_t most_cycles = 20'000;
    xenolith::machine::test::run_random_code({data, size < longest ? size : longest}, most_cycles);
    return 0;
}
