#include "cpu/fuzz/subjects.hpp"

namespace xenolith::cpu::fuzz {

std::optional<NativeMode> native_mode(DecodeMode mode) {
    switch (mode) {
        case DecodeMode::long64: return NativeMode::bits64;
        case DecodeMode::compatibility32: return NativeMode::bits32;
        case DecodeMode::compatibility16: return NativeMode::bits16;
        default: return std::nullopt;
    }
}

// --- The host

std::unique_ptr<NativeSubject> NativeSubject::create(DecodeMode mode) {
    const auto native = native_mode(mode);
    if (!native) return nullptr;
    auto oracle = NativeOracle::create(*native, NativeUnits::all);
    if (oracle == nullptr) return nullptr;
    return std::unique_ptr<NativeSubject>(new NativeSubject(std::move(oracle)));
}

Layout NativeSubject::layout() const {
    return {.memory = oracle_->memory_address(),
            .instruction_end = oracle_->instruction_end(),
            .forward = oracle_->forward_target(),
            .backward = oracle_->backward_target(),
            .code_base = oracle_->code_base(),
            .data_base = oracle_->data_base()};
}

void NativeSubject::prepare(const Encoding& encoding) {
    oracle_->set_instruction(encoding.bytes());
    uses_floating_point_ = encoding.uses_floating_point();
}

void NativeSubject::run(const State& start, Outcome& outcome) {
    if (uses_floating_point_) {
        outcome.floating_point = start.floating_point;
        outcome.cpu = oracle_->run(start.registers, outcome.floating_point);
    } else {
        outcome.cpu = oracle_->run(start.registers);
    }
}

// --- The rows

RowSubject::RowSubject(DecodeMode mode, const Layout& layout)
    : layout_(layout),
      bench_(native_mode(mode).value(), layout.data_base + layout.memory, model_like_the_host(), layout.code_base,
             layout.data_base) {}

void RowSubject::prepare(const Encoding& encoding) {
    instruction_ = encoding.instruction;
    // As a block's maker does it.
    if (instruction_.base == CpuState::rip_slot) instruction_.displacement += instruction_.length;
    bench_.set_instruction_address(layout_.instruction_end - instruction_.length);
    uses_floating_point_ = encoding.uses_floating_point();
}

void RowSubject::run(const State& start, Outcome& outcome) {
    if (uses_floating_point_) {
        outcome.floating_point = start.floating_point;
        outcome.cpu = bench_.run(instruction_, start.registers, outcome.floating_point);
    } else {
        outcome.cpu = bench_.run(instruction_, start.registers);
    }
}

}  // namespace xenolith::cpu::fuzz
