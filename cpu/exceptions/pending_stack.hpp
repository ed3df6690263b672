// The stack a control transfer is about to use: it is checked and written while SS, RSP and CPL are still the
// old ones.
#pragma once

#include <cstdint>

#include "cpu/processor.hpp"

namespace xenolith::cpu {

class PendingStack {
  public:
    // Pushes go below `pointer` of `segment`, with the rights of `cpl`. `flat` is for 64-bit code: no
    // segment, all of RSP. A push beyond the segment, or to an address that is not canonical, raises
    // #SS(error_code).
    PendingStack(Processor& processor, const SegmentRegister& segment, std::uint64_t pointer, unsigned cpl, bool flat,
                 std::uint32_t error_code)
        : processor_(processor),
          segment_(segment),
          mask_(flat                               ? ~std::uint64_t{0}
                : segment.attributes.default_big() ? 0xffffffff
                                                   : 0xffff),
          pointer_(pointer & mask_),
          error_code_(error_code),
          flat_(flat),
          as_current_(cpl == 3 || processor.cpl() != 3) {}

    // The stack in use, for a transfer that stays at its privilege level.
    static PendingStack current(Processor& processor, std::uint32_t error_code) {
        return {processor,
                processor.state.segment(SegmentName::ss),
                processor.state.registers[rsp],
                processor.cpl(),
                processor.code64(),
                error_code};
    }

    // Raises #SS unless `bytes` below the pointer are inside the segment, before anything is written.
    void reserve(unsigned bytes) const {
        for (unsigned below = bytes; below >= 2; below -= 2) check((pointer_ - below) & mask_, 2);
    }

    template <class T>
    void push(T value) {
        const std::uint64_t top = (pointer_ - sizeof(T)) & mask_;
        check(top, sizeof(T));
        const std::uint64_t linear = flat_ ? top : (segment_.base + top) & 0xffffffff;
        // Of two supervisor levels the rights are equal; user code that enters the supervisor's stack has the
        // others.
        if (as_current_) {
            processor_.store_linear<T>(linear, value, SegmentName::ss);
        } else {
            processor_.store_system<T>(linear, value);
        }
        pointer_ = top;
    }
    // Of 2, 4 or 8 bytes.
    void push(std::uint64_t value, unsigned width) {
        if (width == 2)
            push(static_cast<std::uint16_t>(value));
        else if (width == 4)
            push(static_cast<std::uint32_t>(value));
        else
            push(value);
    }

    std::uint64_t pointer() const { return pointer_; }

  private:
    // SDM vol. 3A, 5.3 and vol. 1, 6.2.3.
    void check(std::uint64_t offset, unsigned size) const {
        const std::uint64_t last = offset + size - 1;
        bool valid = false;
        if (flat_) {
            valid = mmu::GuestLinear{offset}.is_canonical() && mmu::GuestLinear{last}.is_canonical();
        } else if (segment_.attributes.is_data() && segment_.attributes.expand_down()) {
            valid = offset > segment_.limit && last <= (segment_.attributes.default_big() ? 0xffffffff : 0xffff);
        } else {
            valid = !segment_.attributes.unusable() && last <= segment_.limit;
        }
        if (!valid) processor_.raise(Vector::stack_fault, error_code_);
    }

    Processor& processor_;
    SegmentRegister segment_;
    std::uint64_t mask_;
    std::uint64_t pointer_;
    std::uint32_t error_code_;
    bool flat_;
    bool as_current_;
};

}  // namespace xenolith::cpu
