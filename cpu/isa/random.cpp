// RDRAND and RDSEED (SDM vol. 1, 7.3.17). A run can be repeated to the byte, so the numbers are a function of
// the machine's seed, the virtual CPU and the count of instructions before: nothing to keep, nothing to save,
// and the same on every engine. They are never short of entropy, so CF is always 1.
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): the finalizer of
// SplitMix64.
std::uint64_t mix(std::uint64_t value) {
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
}

// Stream tells the two instructions apart.
template <unsigned Stream, std::unsigned_integral T>
void read_random(Processor& p, const Instruction& i) {
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;
    const std::uint64_t stream = mix(p.random_seed + (std::uint64_t{p.vcpu} * 2 + Stream) * odd);
    p.set(i.registers[0], static_cast<T>(mix(stream + p.instruction_count() * odd)));
    p.flags.set_bits(rflags::cf);
}

template <unsigned Stream>
Execute select_random(const Shape& shape) {
    if (shape.form != form("r")) return nullptr;
    return with_wide_width(shape.width, []<class T>() -> Execute { return read_random<Stream, T>; });
}

}  // namespace

std::span<const Row> random_rows() {
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_RDRAND, select_random<0>, CostClass::time_stamp, 0, Feature::rdrand},
        Row{ZYDIS_MNEMONIC_RDSEED, select_random<1>, CostClass::time_stamp, 0, Feature::rdseed},
    };
    return rows;
}

}  // namespace xenolith::cpu
