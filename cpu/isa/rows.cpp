// The index over all families: an instruction's row by its mnemonic.
#include <array>

#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

const Row* find_row(ZydisMnemonic mnemonic, bool has_mmx_operand) {
    using Index = std::array<const Row*, ZYDIS_MNEMONIC_MAX_VALUE + 1>;
    static const auto indices = [] {
        std::array<Index, 2> both{};
        for (const auto family :
             {data_rows, arithmetic_rows, multiply_rows, shift_rows, bit_rows, string_rows, stack_rows,
              branch_rows, segment_rows, system_rows, state_rows, x87_arithmetic_rows, x87_compare_rows, x87_transfer_rows, mmx_rows, vector_move_rows}) {
            for (const Row& row : family()) {
                Index& rows = both[(row.flags & row_flag::mmx_operand) != 0 ? 1 : 0];
                if (rows[row.mnemonic] == nullptr) rows[row.mnemonic] = &row;
            }
        }
        return both;
    }();
    if (static_cast<unsigned>(mnemonic) > ZYDIS_MNEMONIC_MAX_VALUE) return nullptr;
    const Row* const with_mmx = indices[1][mnemonic];
    return has_mmx_operand && with_mmx != nullptr ? with_mmx : indices[0][mnemonic];
}

}  // namespace xenolith::cpu
