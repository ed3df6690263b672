// libFuzzer: any bytes as traffic over all devices. The second half runs twice, once from a snapshot.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "tests/devices/traffic.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using xenolith::devices::Board;
    // Inputs longer than this only take longer.
    constexpr std::size_t longest = 4096 * Board::bytes_per_operation;
    const std::span<const std::uint8_t> bytes(data, size < longest ? size : longest);
    const std::size_t half = bytes.size() / Board::bytes_per_operation / 2 * Board::bytes_per_operation;

    Board board;
    board.run(bytes.first(half));
    const Board::State middle = board.save();
    board.seen.clear();
    board.run(bytes.subspan(half));

    Board restored;
    restored.restore(middle);
    restored.seen.clear();
    restored.run(bytes.subspan(half));
    if (restored.seen != board.seen) std::abort();
    return 0;
}
