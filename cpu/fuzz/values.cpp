// Formats: SDM vol. 1, 4.2, 8.1 and 10.2.3.
#include "cpu/fuzz/values.hpp"

namespace xenolith::cpu::fuzz {

namespace {

// Sign, exponent and fraction, each often an edge of its own.
std::uint64_t edge_real(Random& random, unsigned width, unsigned fraction_bits) {
    const unsigned exponent_bits = width - 1 - fraction_bits;
    const std::uint64_t all = (std::uint64_t{1} << exponent_bits) - 1;
    const std::uint64_t fraction_mask = (std::uint64_t{1} << fraction_bits) - 1;
    std::uint64_t exponent = 0, fraction = 0;
    switch (random.pick(10)) {
        case 0: exponent = 0; break;
        case 1: exponent = 1 + random.pick(2); break;
        case 2: exponent = all; break;
        case 3: exponent = all - 1; break;
        case 4: exponent = all >> 1; break;
        // Around the limits of the integers.
        case 5: exponent = ((all >> 1) + 28 + random.pick(6)) & all; break;
        case 6: exponent = ((all >> 1) + 60 + random.pick(6)) & all; break;
        case 7: exponent = (all >> 1) - 4 + random.pick(9); break;
        default: exponent = random() & all; break;
    }
    switch (random.pick(6)) {
        case 0: break;
        case 1: fraction = 1; break;
        case 2: fraction = fraction_mask; break;
        case 3: fraction = std::uint64_t{1} << random.pick(fraction_bits); break;
        case 4: fraction = fraction_mask << random.pick(fraction_bits) & fraction_mask; break;
        default: fraction = random() & fraction_mask; break;
    }
    return (random() & 1) << (width - 1) | exponent << fraction_bits | fraction;
}

std::uint64_t edge_bytes(Random& random) {
    constexpr std::uint64_t elements[] = {0, 0x7f, 0x80, 0xff, 1, 0x7fff, 0x8000, 0xffff};
    std::uint64_t value = 0;
    for (unsigned n = 0; n < 4; ++n) value = value << 16 | elements[random.pick(8)];
    return value;
}

// Few bits set, or many, or at the places where the shorter formats round.
std::uint64_t edge_significand(Random& random) {
    constexpr std::uint64_t top = std::uint64_t{1} << 63;
    switch (random.pick(7)) {
        case 0: return top;
        case 1: return ~std::uint64_t{0};
        case 2: return top | std::uint64_t{1} << random.pick(63);
        case 3: return ~std::uint64_t{0} << random.pick(63);
        case 4: return top | random() << 40 | random.pick(3) << 39;
        case 5: return top | random() << 11 | random.pick(3) << 10;
        default: return top | random();
    }
}

}  // namespace

std::uint64_t edge_integer(Random& random) {
    const std::uint64_t shape = random();
    const std::uint64_t sign = std::uint64_t{1} << ((8u << (shape & 3)) - 1);
    const std::uint64_t small = shape >> 8 & 15;
    switch (shape >> 2 & 7) {
        case 0: return (shape >> 16 & 1) != 0 ? 0 : ~std::uint64_t{0};
        case 1: return sign - (small & 1);
        case 2: return sign + (small & 1);
        case 3: return std::uint64_t{1} << (shape >> 16 & 63);
        case 4: return shape >> 16 & 127;
        case 5: return 0 - small;
        default: return random();
    }
}

X87Register edge_real80(Random& random) {
    constexpr std::uint64_t top = std::uint64_t{1} << 63;
    constexpr unsigned bias = 16383;
    const auto with = [&](std::uint64_t exponent, std::uint64_t significand) {
        return X87Register{significand, static_cast<std::uint16_t>((random() & 0x8000) | (exponent & 0x7fff))};
    };
    switch (random.pick(18)) {
        case 0: return with(0, 0);
        case 1: return with(0x7fff, top);                                           // infinity
        case 2: return with(0x7fff, top | 1u << 30 | random() >> 2);                // signalling NaN
        case 3: return with(0x7fff, top | top >> 1 | random() >> random.pick(64));  // quiet NaN
        case 4: return with(0, random() >> (1 + random.pick(63)));                  // denormal
        case 5: return with(0, top | random() >> random.pick(64));                  // pseudo-denormal
        case 6: return with(1 + random.pick(0x7fff), random() >> 1);                // unnormal, pseudo-NaN
        case 7: return with(1 + random.pick(70), edge_significand(random));
        case 8: return with(0x7ffe - random.pick(70), edge_significand(random));
        case 9: return with(bias, top);
        case 10: return with(bias + random.pick(140) - 70, edge_significand(random));
        case 11: return with(bias + random.pick(7) - 3, edge_significand(random));
        case 12: return with(bias + 13 + random.pick(5), edge_significand(random));  // limits of the integers
        case 13: return with(bias + 28 + random.pick(6), edge_significand(random));
        case 14: return with(bias + 58 + random.pick(8), edge_significand(random));
        case 15: return with(bias + 113 + random.pick(28), edge_significand(random));  // of the shorter formats
        case 16: return with(bias - 1063 + random.pick(56), edge_significand(random));
        default: return with(random(), edge_significand(random));
    }
}

std::array<std::uint64_t, 2> edge_decimal(Random& random) {
    std::uint64_t digits = 0;
    for (unsigned n = 0; n < 16; ++n) digits = digits << 4 | random.pick(10);
    if (random.chance(3)) digits = 0;
    return {digits, random.pick(10) | random.pick(10) << 4 | (random() & 1) << 15};
}

std::uint64_t edge_word(Random& random, ValueKind kind) {
    switch (kind) {
        case ValueKind::integer: return random.chance(3) ? edge_bytes(random) : edge_integer(random);
        case ValueKind::real16: {
            std::uint64_t value = 0;
            for (unsigned n = 0; n < 4; ++n) value = value << 16 | edge_real(random, 16, 10);
            return value;
        }
        case ValueKind::real32: return edge_real(random, 32, 23) << 32 | edge_real(random, 32, 23);
        case ValueKind::real64: return edge_real(random, 64, 52);
        case ValueKind::real80: return edge_real80(random).significand;
        case ValueKind::decimal: return edge_decimal(random)[0];
        case ValueKind::any: break;
    }
    constexpr ValueKind kinds[] = {ValueKind::integer, ValueKind::real32, ValueKind::real64, ValueKind::integer};
    return edge_word(random, kinds[random.pick(4)]);
}

void edge_x87(Random& random, FloatingPointState& state) {
    constexpr unsigned exceptions = 0x3f, summary_and_busy = 0x8080;
    const unsigned masks = random.chance(2) ? exceptions : static_cast<unsigned>(random() & exceptions);
    const unsigned precision = random.chance(2) ? 3 : static_cast<unsigned>(random.pick(4));
    state.control = static_cast<std::uint16_t>(masks | 0x40 | precision << 8 | random.pick(4) << 10);
    auto status = static_cast<unsigned>(random() & 0x7f7f);
    // A pending exception stops most instructions before they do anything.
    if (!random.chance(16)) status &= ~exceptions | masks;
    if ((status & ~masks & exceptions) != 0) status |= summary_and_busy;
    state.status = static_cast<std::uint16_t>(status);
    const std::uint64_t emptiness = random.pick(8);
    state.tag = 0;
    for (unsigned n = 0; n < 8; ++n)
        if (emptiness == 7 || (emptiness >= 4 && random.chance(2))) state.tag |= static_cast<std::uint16_t>(3 << n * 2);
    // Room to push is what most programs have.
    if (random.chance(2)) state.tag |= static_cast<std::uint16_t>(3 << ((status >> 11) + 7) % 8 * 2);
    for (X87Register& value : state.registers) value = edge_real80(random);
    state.opcode = static_cast<std::uint16_t>(random() & 0x7ff);
    state.instruction_pointer = random() & 0x7fffffff;
    state.data_pointer = random() & 0x7fffffff;
}

std::uint32_t edge_mxcsr(Random& random) {
    constexpr std::uint64_t exceptions = 0x3f, denormals_are_zero = 0x40;
    const std::uint64_t masks = random.chance(2) ? exceptions : random() & exceptions;
    std::uint64_t value = masks << 7 | random.pick(4) << 13 | (random() & exceptions);
    if (random.chance(4)) value |= denormals_are_zero;
    if (random.chance(4)) value |= 0x8000;  // flush to zero
    if (!random.chance(16)) value &= ~exceptions | masks;
    return static_cast<std::uint32_t>(value);
}

}  // namespace xenolith::cpu::fuzz
