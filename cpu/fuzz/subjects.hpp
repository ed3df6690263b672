// The two sides of a comparison in user mode: the host's CPU, and our rows called one by one.
#pragma once

#include <memory>
#include <optional>

#include "cpu/fuzz/trial.hpp"
#include "cpu/native/native_oracle.hpp"
#include "cpu/native/row_bench.hpp"

namespace xenolith::cpu::fuzz {

// Nothing for a mode that no user-mode program can be in.
std::optional<NativeMode> native_mode(DecodeMode mode);

class NativeSubject final : public Subject {
  public:
    // Null where the host cannot run such code.
    static std::unique_ptr<NativeSubject> create(DecodeMode mode);

    Layout layout() const;
    void prepare(const Encoding& encoding) override;
    void run(const State& start, Outcome& outcome) override;
    std::span<std::byte, memory_size> memory() override { return oracle_->memory(); }

  private:
    explicit NativeSubject(std::unique_ptr<NativeOracle> oracle) : oracle_(std::move(oracle)) {}

    std::unique_ptr<NativeOracle> oracle_;
    bool uses_floating_point_ = false;
};

class RowSubject final : public Subject {
  public:
    // One of the modes of native_mode.
    RowSubject(DecodeMode mode, const Layout& layout);

    const Decoder& decoder() const { return bench_.decoder(); }
    void prepare(const Encoding& encoding) override;
    void run(const State& start, Outcome& outcome) override;
    std::span<std::byte, memory_size> memory() override { return bench_.memory(); }

  private:
    Layout layout_;
    RowBench bench_;
    Instruction instruction_;
    bool uses_floating_point_ = false;
};

}  // namespace xenolith::cpu::fuzz
