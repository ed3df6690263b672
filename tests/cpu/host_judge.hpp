// One instruction on the host's CPU and on our rows, from the same state, judged as `xenolith fuzz` judges: what
// cpu/fuzz/host_quirks.cpp accounts for is no difference.
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "cpu/fuzz/encoding.hpp"
#include "cpu/fuzz/pair.hpp"
#include "cpu/fuzz/subjects.hpp"

namespace xenolith::test {

// How many states a test draws of what it means to try. Under a sanitizer, which looks at our code and not at its
// results, a tenth will do.
constexpr unsigned states_to_try(unsigned wanted) {
#ifdef __SANITIZE_ADDRESS__
    return wanted / 10;
#else
    return wanted;
#endif
}

class HostJudge {
  public:
    // Null where the host cannot judge. Modes: long64 and compatibility32.
    static std::unique_ptr<HostJudge> create(cpu::DecodeMode mode) {
        auto host = cpu::fuzz::NativeSubject::create(mode);
        if (host == nullptr) return nullptr;
        return std::unique_ptr<HostJudge>(new HostJudge(mode, std::move(host)));
    }

    // Decodes for the mode; what Zydis knows and no row serves is #UD with us, which the host judges too.
    const cpu::fuzz::EncodingReader& reader() const { return reader_; }
    // Of the operands.
    std::uint64_t memory_address() const { return host_->layout().memory; }

    // The encoding outlives the runs that follow.
    void prepare(const cpu::fuzz::Encoding& encoding) { pair_.prepare(encoding); }
    // Lays the patches into both memories. Empty if both did the same, else what differs.
    std::string run(const cpu::fuzz::State& start, std::span<const cpu::fuzz::Patch> patches) {
        // A host that switches tasks between loading the state and the instruction may lose x87 pointers that no
        // pending exception needs: such a difference does not come again.
        for (unsigned attempt = 0; attempt < 3; ++attempt) {
            if (!pair_.run(start, patches)) return {};
            if (!std::ranges::all_of(pair_.fields(), cpu::fuzz::is_x87_pointer, &cpu::fuzz::Field::part)) break;
        }
        std::string text;
        for (const cpu::fuzz::Field& field : pair_.fields()) text += "  " + field.text() + '\n';
        return text;
    }

  private:
    HostJudge(cpu::DecodeMode mode, std::unique_ptr<cpu::fuzz::NativeSubject> host)
        : host_(std::move(host)),
          rows_(mode, host_->layout()),
          reader_(rows_.decoder(), mode),
          pair_(rows_, *host_, cpu::fuzz::host_quirks()) {
        std::mt19937_64 random{3};
        for (std::byte& byte : host_->memory()) byte = static_cast<std::byte>(random());
        std::ranges::copy(host_->memory(), rows_.memory().begin());
    }

    std::unique_ptr<cpu::fuzz::NativeSubject> host_;
    cpu::fuzz::RowSubject rows_;
    cpu::fuzz::EncodingReader reader_;
    cpu::fuzz::Pair pair_;
};

}  // namespace xenolith::test
