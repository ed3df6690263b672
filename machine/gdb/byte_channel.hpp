// What a debugging session talks through: bytes in order, from whatever carries them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace xenolith::machine::gdb {

class ByteChannel {
  public:
    enum class Wait : std::uint8_t { no, yes };

    virtual ~ByteChannel() = default;

    // How many bytes have arrived and were put at the front of `to`, which is not empty. 0 says that there are none
    // now; having waited, that there will be none: the other side has gone, or somebody wants the wait to end.
    virtual std::size_t read(std::span<char> to, Wait wait) = 0;
    // All of the bytes, in order. What can no longer be sent is dropped; is_open() then says so.
    virtual void write(std::string_view bytes) = 0;
    virtual bool is_open() const = 0;
};

}  // namespace xenolith::machine::gdb
