// The index over all families: an instruction's row by its mnemonic.
#include <array>

#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

namespace {

unsigned index_of(std::uint16_t flags) {
    if ((flags & row_flag::mmx_operand) != 0) return 1;
    return (flags & row_flag::vector_operand) != 0 ? 2 : 0;
}

}  // namespace

const Row* find_row(ZydisMnemonic mnemonic, std::uint16_t operand_flag) {
    using Index = std::array<const Row*, ZYDIS_MNEMONIC_MAX_VALUE + 1>;
    static const auto indices = [] {
        std::array<Index, 3> all{};
        for (const auto family :
             {data_rows,         arithmetic_rows,     multiply_rows,       shift_rows,          bit_rows,
              string_rows,       stack_rows,          branch_rows,         segment_rows,        system_rows,
              state_rows,        x87_arithmetic_rows, x87_compare_rows,    x87_transfer_rows,   mmx_rows,
              random_rows,       vector_move_rows,    vector_integer_rows, vector_shuffle_rows, vector_float_rows,
              vector_fused_rows, vector_compare_rows, vector_convert_rows, vector_crypto_rows,  vector_string_rows,
              vector_masked_rows}) {
            for (const Row& row : family()) {
                Index& rows = all[index_of(row.flags)];
                if (rows[row.mnemonic] == nullptr) rows[row.mnemonic] = &row;
            }
        }
        // Where a mnemonic has but one row, it serves every encoding.
        for (std::size_t n = 0; n < all[0].size(); ++n)
            for (const Index& special : {all[1], all[2]})
                if (all[0][n] == nullptr) all[0][n] = special[n];
        return all;
    }();
    if (static_cast<unsigned>(mnemonic) > ZYDIS_MNEMONIC_MAX_VALUE) return nullptr;
    const Row* const special = indices[index_of(operand_flag)][mnemonic];
    return special != nullptr ? special : indices[0][mnemonic];
}

}  // namespace xenolith::cpu
