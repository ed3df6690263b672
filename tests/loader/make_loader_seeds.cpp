// Writes the fuzzer's first corpus: each small image as its own format, automatically, and with every option.
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/loader/image_builders.hpp"

int main(int count, char** arguments) {
    using namespace xenolith::loader::testing;
    if (count != 2) {
        std::fprintf(stderr, "usage: fuzz_loader_seeds FOLDER\n");
        return 2;
    }
    const std::filesystem::path folder = arguments[1];
    std::filesystem::create_directories(folder);
    // Option bytes as fuzz_input.hpp reads them: automatic and plain; automatic with everything; the flat
    // formats; an explicit ELF; the 32-bit Linux entry.
    constexpr std::array<std::array<unsigned char, 2>, 8> options{
        {{0, 0}, {0, 0x0f}, {1, 0}, {2, 0x10}, {3, 0x50}, {4, 0}, {8, 0x03}, {1, 0x40}}};
    for (const NamedImage& image : small_images()) {
        for (std::size_t i = 0; i < options.size(); ++i) {
            Bytes bytes{std::byte{options[i][0]}, std::byte{options[i][1]}};
            append(bytes, image.bytes);
            std::ofstream seed(folder / (image.name + "-" + std::to_string(i)), std::ios::binary);
            seed.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
            if (!seed) {
                std::fprintf(stderr, "%s: cannot be written\n", (folder / image.name).c_str());
                return 1;
            }
        }
    }
    return 0;
}
