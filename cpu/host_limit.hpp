// What an engine throws when the host cannot do what the guest, or the caller, asks of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace xenolith::cpu {

// Thrown by constructors, set_state and run of engines that lean on the host. After a throw from run the
// state is that of the last instruction boundary, and can be read. what() is one line.
class HostLimit : public std::runtime_error {
  public:
    enum class Kind : std::uint8_t {
        unavailable,  // the host lacks what the engine is made of, or denies it
        instruction,  // the host cannot execute the guest's instruction
        state,        // the host does not take this CPU state
        memory,       // the host does not take this memory map
        entry,        // the host failed to run the guest for a reason of its own
        time,         // one call of run took longer than the limit
    };

    HostLimit(Kind kind, const std::string& text, std::vector<std::byte> instruction = {})
        : std::runtime_error(text), kind_(kind), instruction_(std::move(instruction)) {}

    Kind kind() const { return kind_; }
    // The bytes that could not be executed, at least the first one, where they are known.
    const std::vector<std::byte>& instruction() const { return instruction_; }

  private:
    Kind kind_;
    std::vector<std::byte> instruction_;
};

constexpr std::string_view host_limit_name(HostLimit::Kind kind) {
    constexpr std::string_view names[] = {"unavailable", "instruction", "state", "memory", "entry", "time"};
    return names[static_cast<unsigned>(kind)];
}

}  // namespace xenolith::cpu
