#include "cpu/fuzz/subjects.hpp"

namespace xenolith::cpu::fuzz {

namespace {

NativeMode native_mode(DecodeMode mode) { return mode == DecodeMode::long64 ? NativeMode::bits64 : NativeMode::bits32; }

}  // namespace

// --- The host

std::unique_ptr<NativeSubject> NativeSubject::create(DecodeMode mode) {
    if (mode != DecodeMode::long64 && mode != DecodeMode::compatibility32) return nullptr;
    auto oracle = NativeOracle::create(native_mode(mode), NativeUnits::all);
    if (oracle == nullptr) return nullptr;
    return std::unique_ptr<NativeSubject>(new NativeSubject(std::move(oracle)));
}

Layout NativeSubject::layout() const {
    return {.memory = oracle_->memory_address(),
            .instruction_end = oracle_->instruction_end(),
            .forward = oracle_->forward_target(),
            .backward = oracle_->backward_target()};
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
    : layout_(layout), bench_(native_mode(mode), layout.memory) {}

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
