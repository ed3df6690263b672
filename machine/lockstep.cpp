#include "machine/lockstep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>

#include "cpu/decode/disassembler.hpp"
#include "cpu/host_limit.hpp"
#include "cpu/paged_memory.hpp"

namespace xenolith::machine {

namespace {

using Wall = std::chrono::steady_clock;

constexpr std::size_t instructions_shown = 4;  // before the difference, and from it on

// What stands somewhere in the code segment.
struct NextInstruction {
    std::string text = "(not mapped)";
    std::uint64_t undefined_flags = 0;
    unsigned length = 0;  // bytes; 0 where nothing is mapped
};

NextInstruction instruction_at(Machine& machine, const cpu::CpuState& state, std::uint64_t rip) {
    cpu::PagedMemory memory(machine.memory(), cpu::paging_context(state, machine.model()));
    std::array<std::byte, 15> space{};
    const std::span<const std::byte> bytes = memory.read_code({state.code_linear(rip)}, space);
    if (bytes.empty()) return {};
    const unsigned width = state.code_width();
    const cpu::Disassembled disassembled = cpu::disassemble(bytes, width, rip);
    return {disassembled.text, cpu::undefined_flags(bytes, width), disassembled.length};
}

std::string placed_text(const cpu::CpuState& state, std::uint64_t rip, const std::string& text) {
    return fmt::format("{:04x}:{:x}  {}", state.segment(cpu::SegmentName::cs).selector, rip, text);
}

// The instructions from CS:RIP on, one after the other, whatever they do.
std::vector<std::string> instructions_from(Machine& machine, const cpu::CpuState& state) {
    std::vector<std::string> texts;
    std::uint64_t rip = state.rip;
    while (texts.size() < instructions_shown) {
        const NextInstruction next = instruction_at(machine, state, rip);
        texts.push_back(placed_text(state, rip, next.text));
        if (next.length == 0) break;
        rip += next.length;
    }
    return texts;
}

bool is_end(RunEnd end) { return end != RunEnd::max_instructions && end != RunEnd::device_access; }

// The two RAMs, region by region.
std::optional<std::uint64_t> first_difference(Machine& first, Machine& second) {
    for (const auto& region : first.memory().regions()) {
        const mmu::Region* const other = second.memory().find(region->start);
        if (region->host == nullptr || other == nullptr || other->host == nullptr) continue;
        const std::uint64_t size = std::min(region->size, other->size);
        for (std::uint64_t at = 0; at < size; at += mmu::page_size) {
            const std::byte *const left = region->host + at, *const right = other->host + at;
            if (std::memcmp(left, right, mmu::page_size) == 0) continue;
            const auto [place, unused] = std::mismatch(left, left + mmu::page_size, right);
            return region->start.value + at + static_cast<std::uint64_t>(place - left);
        }
    }
    return std::nullopt;
}

class Lockstep {
  public:
    Lockstep(Machine& first, Machine& second, const LockstepOptions& options)
        : first_(first), second_(second), options_(options) {}

    LockstepResult run() {
        const Wall::time_point start = Wall::now();
        Wall::time_point shown = start;
        result_.first = result_.before = first_.engine().state();
        result_.second = second_.engine().state();
        result_.differences = compare_states(result_.first, result_.second, 0);
        if (!result_.differences.empty()) return finish(LockstepEnd::state);
        while (result_.steps < options_.max_steps) {
            if (const auto end = step()) return finish(*end);
            if (options_.stride != 0 && (result_.steps & 63) != 0) continue;
            const Wall::time_point now = Wall::now();
            if (options_.max_seconds > 0 && std::chrono::duration<double>(now - start).count() >= options_.max_seconds)
                return finish_alike(LockstepEnd::limit);
            if (options_.progress && now - shown >= std::chrono::milliseconds(100)) {
                shown = now;
                if (!options_.progress(result_.steps)) return finish(LockstepEnd::interrupted);
            }
        }
        return finish_alike(LockstepEnd::limit);
    }

  private:
    std::optional<LockstepEnd> step() {
        result_.before = result_.first;
        const NextInstruction next = instruction_at(first_, result_.before, result_.before.rip);
        result_.executed.push_back(placed_text(result_.before, result_.before.rip, next.text));
        if (result_.executed.size() > instructions_shown) result_.executed.pop_front();
        RunLimits limits;
        std::uint64_t count = 1;
        if (options_.stride == 0) {
            limits.stop_at_device_access = true;
            limits.max_seconds = options_.max_seconds;
        } else {
            limits.max_instructions = count = std::min(options_.stride, options_.max_steps - result_.steps);
        }
        limits.hold_interrupts = true;
        const RunResult one = first_.run(limits), other = second_.run(limits);
        result_.steps += count;
        result_.first = first_.engine().state();
        result_.second = second_.engine().state();
        if (is_end(one.end)) result_.end_first = one.reason;
        if (is_end(other.end)) result_.end_second = other.reason;
        result_.differences = compare_states(result_.first, result_.second, 0);
        if (one.end == RunEnd::host_limit || other.end == RunEnd::host_limit) return LockstepEnd::host_limit;
        if (one.end != other.end) return LockstepEnd::ends;
        if (!result_.differences.empty() && !excuse(next)) return LockstepEnd::state;
        if (!is_end(one.end)) return std::nullopt;
        if (one.status != other.status || one.error_number != other.error_number) return LockstepEnd::ends;
        return memory_is_alike() ? LockstepEnd::same : LockstepEnd::memory;
    }

    // Whether the difference has a known reason; then both go on from the same state.
    bool excuse(const NextInstruction& executed) {
        if (options_.stride != 1) return false;
        std::string_view reason;
        if (compare_states(result_.first, result_.second, executed.undefined_flags).empty()) {
            reason = "flags that the instruction leaves undefined";
        } else if (result_.first.rip == result_.second.rip) {
            reason = why_answers_differ(executed.text);
        }
        if (reason.empty()) return false;
        ++result_.excused[std::string(reason)];
        cpu::CpuState state = result_.second;
        state.registers = result_.first.registers;
        state.rflags = result_.first.rflags;
        second_.engine().set_state(state);
        result_.second = second_.engine().state();
        result_.differences = compare_states(result_.first, result_.second, 0);
        return result_.differences.empty();
    }

    bool memory_is_alike() {
        const std::optional<std::uint64_t> at = first_difference(first_, second_);
        if (!at) return true;
        result_.memory_address = *at;
        const auto byte_of = [&](Machine& machine) {
            std::byte byte{};
            machine.memory().read({*at}, std::span(&byte, 1));
            return std::to_integer<std::uint8_t>(byte);
        };
        result_.memory_first = byte_of(first_);
        result_.memory_second = byte_of(second_);
        return false;
    }

    LockstepResult finish_alike(LockstepEnd end) { return finish(memory_is_alike() ? end : LockstepEnd::memory); }
    LockstepResult finish(LockstepEnd end) {
        result_.end = end;
        result_.next_first = instructions_from(first_, result_.first);
        result_.next_second = instructions_from(second_, result_.second);
        return std::move(result_);
    }

    Machine &first_, &second_;
    const LockstepOptions& options_;
    LockstepResult result_;
};

}  // namespace

LockstepResult run_lockstep(Machine& first, Machine& second, const LockstepOptions& options) {
    return Lockstep(first, second, options).run();
}

}  // namespace xenolith::machine
