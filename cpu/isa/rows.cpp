// The index over all families: an instruction's row by its mnemonic.
#include <array>

#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

const Row* find_row(ZydisMnemonic mnemonic) {
    static const auto index = [] {
        std::array<const Row*, ZYDIS_MNEMONIC_MAX_VALUE + 1> rows{};
        for (const auto family :
             {data_rows, arithmetic_rows, multiply_rows, shift_rows, bit_rows, string_rows, stack_rows,
              branch_rows, segment_rows, system_rows, state_rows, vector_move_rows}) {
            for (const Row& row : family()) {
                if (rows[row.mnemonic] == nullptr) rows[row.mnemonic] = &row;
            }
        }
        return rows;
    }();
    return static_cast<unsigned>(mnemonic) < index.size() ? index[mnemonic] : nullptr;
}

}  // namespace xenolith::cpu
