// 64-bit multiplication, division, rotation and carries.
#include "arithmetic.h"

#include "guest.h"

static uint64_t multiply_modulo(uint64_t left, uint64_t right, uint64_t modulus) {
    uint64_t high, low, remainder;
    __asm__("mulq %3" : "=d"(high), "=a"(low) : "a"(left), "r"(right) : "cc");
    __asm__("divq %4" : "=d"(remainder), "=a"(low) : "0"(high), "1"(low), "r"(modulus) : "cc");
    return remainder;
}

static uint64_t power_modulo(uint64_t base, uint64_t exponent, uint64_t modulus) {
    uint64_t result = 1;
    for (; exponent != 0; exponent >>= 1) {
        if (exponent & 1) result = multiply_modulo(result, base, modulus);
        base = multiply_modulo(base, base, modulus);
    }
    return result;
}

static uint64_t greatest_common_divisor(uint64_t left, uint64_t right) {
    while (right != 0) {
        const uint64_t remainder = left % right;
        left = right;
        right = remainder;
    }
    return left;
}

// Numbers of 512 bits, added with carries and multiplied into 1024.
enum { limbs = 8 };

static void add_long(uint64_t* to, const uint64_t* from) {
    uint8_t carry = 0;
    for (unsigned i = 0; i < limbs; ++i)
        __asm__("addb $0xff, %0; adcq %2, %1; setc %0" : "+q"(carry), "+r"(to[i]) : "r"(from[i]) : "cc");
}

static void multiply_long(uint64_t* product, const uint64_t* left, const uint64_t* right) {
    for (unsigned i = 0; i < 2 * limbs; ++i) product[i] = 0;
    for (unsigned i = 0; i < limbs; ++i) {
        uint64_t carry = 0;
        for (unsigned j = 0; j < limbs; ++j) {
            const unsigned __int128 sum = (unsigned __int128)left[i] * right[j] + product[i + j] + carry;
            product[i + j] = (uint64_t)sum;
            carry = (uint64_t)(sum >> 64);
        }
        product[i + limbs] = carry;
    }
}

uint64_t arithmetic_round(void) {
    enum { powers = 120, divisors = 1500, products = 1500, rotations = 60000 };
    const uint64_t modulus = 0xffffffffffffffc5;  // the largest prime below 2^64
    uint64_t sum = 0;
    for (uint64_t i = 0; i < powers; ++i)
        sum = mix(sum, power_modulo(i + 3, modulus - 2 - i * 0x123456789, modulus));
    for (uint64_t i = 0; i < divisors; ++i)
        sum = mix(sum, greatest_common_divisor(0x9e3779b97f4a7c15 * (i + 1), 0xc2b2ae3d27d4eb4f * (i + 7)));
    uint64_t number[limbs], factor[limbs], product[2 * limbs];
    for (unsigned i = 0; i < limbs; ++i) {
        number[i] = sum + i;
        factor[i] = 0x9e3779b97f4a7c15 * (i + 1);
    }
    for (unsigned i = 0; i < products; ++i) {
        multiply_long(product, number, factor);
        for (unsigned limb = 0; limb < limbs; ++limb) number[limb] = product[limb] ^ product[limb + limbs];
        add_long(number, factor);
    }
    for (unsigned i = 0; i < limbs; ++i) sum = mix(sum, number[i]);
    for (unsigned i = 0; i < rotations; ++i) {
        sum = (sum << (i & 63) | sum >> (-i & 63)) + 0x9e3779b97f4a7c15;
        sum ^= sum >> 29;
        sum += sum << 3 | sum >> 61;
    }
    return sum;
}
