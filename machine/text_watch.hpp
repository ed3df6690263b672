// Waits for a text in a stream of bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace xenolith::machine {

class TextWatch {
  public:
    // Whether the text is complete with this byte. A match begins anew: no byte is part of two.
    bool sees(std::uint8_t byte, std::string_view text) {
        seen_ += static_cast<char>(byte);
        if (seen_.size() > text.size()) seen_.erase(0, seen_.size() - text.size());
        if (seen_ != text) return false;
        seen_.clear();
        return true;
    }

  private:
    std::string seen_;  // the last bytes, as many as the text has
};

}  // namespace xenolith::machine
