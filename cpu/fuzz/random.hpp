// A small fast source of random numbers, equal on every host for the same seed.
#pragma once

#include <cstdint>

namespace xenolith::cpu::fuzz {

// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t operator()() {
        state_ += 0x9e3779b97f4a7c15;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
        mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
        return mixed ^ mixed >> 31;
    }
    // Below `bound`, which is 1 to 2^32.
    std::uint64_t pick(std::uint64_t bound) { return ((*this)() >> 32) * bound >> 32; }
    bool chance(unsigned one_in) { return pick(one_in) == 0; }

  private:
    std::uint64_t state_;
};

// A seed of its own for each pair.
inline std::uint64_t derive_seed(std::uint64_t seed, std::uint64_t number) {
    return Random(Random(seed)() ^ (number + 1) * 0xd1342543de82ef95)();
}

}  // namespace xenolith::cpu::fuzz
