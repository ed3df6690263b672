// Makes encodings complete (immediates, displacements) and draws states that put operands where the memory
// is.
#pragma once

#include <vector>

#include "cpu/fuzz/random.hpp"
#include "cpu/fuzz/trial.hpp"
#include "cpu/fuzz/values.hpp"

namespace xenolith::cpu::fuzz {

// The general register that says which bit of a string in memory is meant; -1 if there is none.
int bit_offset_register(const Encoding& encoding);

class StateMaker {
  public:
    StateMaker(const EncodingReader& reader, const Layout& layout);

    // Fills in what the bytes leave free, for one series of tests. False if that is no instruction any more.
    bool complete(std::span<const std::uint8_t> bytes, Random& random, Encoding& encoding) const;
    // Starts a series: what the encoding needs, and values for all that it does not touch.
    void begin(const Encoding& encoding, Random& random);
    // The next state of the series, and the bytes to lay into both memories.
    const State& next(Random& random);
    std::span<const Patch> patches() const { return patches_; }

  private:
    static constexpr int none = -1;
    struct MemoryOperand {
        int base = none, index = none;
        bool is_vector_index = false;  // `index` is the number of a vector register
        bool is_fixed = false;         // RIP-relative or absolute: the encoding's own address
        bool is_hidden = false;
        bool is_stack = false;
        std::uint64_t scale = 0, displacement = 0;
        unsigned size = 0;  // bytes
        unsigned index_size = 0, index_count = 0;
        std::int64_t place = 0;  // with is_fixed
        ValueKind kind = ValueKind::integer;
    };
    struct VectorOperand {
        unsigned number = 0;
        ValueKind kind = ValueKind::integer;
    };

    std::uint64_t& general(int number) { return state_.registers.general[static_cast<unsigned>(number)]; }
    void draw(Random& random);
    bool splits_lock() const;
    void add_operand(const ZydisDecodedOperand& operand, bool is_hidden);
    std::int64_t pick_place(Random& random, unsigned size) const;
    void put(Random& random, std::int64_t offset, unsigned size, ValueKind kind);
    void put_word(std::int64_t offset, std::uint64_t value);
    void place(Random& random, const MemoryOperand& operand);
    void place_bit_offset(Random& random);
    void place_vector_index(Random& random, const MemoryOperand& operand);
    void point(Random& random, int number, std::uint64_t address, unsigned address_width);
    void bias(Random& random);
    void bias_after_placing(Random& random);
    void aim_branch(Random& random);

    const EncodingReader& reader_;
    Layout layout_;
    const Encoding* encoding_ = nullptr;
    State state_;
    std::vector<Patch> patches_;
    std::vector<int> touched_;  // general registers
    std::vector<VectorOperand> vectors_;
    std::vector<MemoryOperand> operands_;
    bool uses_floating_point_ = false, uses_x87_ = false, repeats_ = false, pops_flags_ = false;
    std::uint32_t address_width_ = 64;
};

}  // namespace xenolith::cpu::fuzz
