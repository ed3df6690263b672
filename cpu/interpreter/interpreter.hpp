// The reference engine: decodes once, then calls each instruction's execute function in turn.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <vector>

#include "cpu/decode/decoder.hpp"
#include "cpu/engine.hpp"
#include "cpu/exceptions/delivery.hpp"
#include "cpu/interpreter/block_cache.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

class Interpreter final : public Engine, private mmu::CodeListener {
  public:
    // Everything handed in outlives the engine. `vcpu` numbers the logical processor, from 0; RDRAND and RDSEED begin
    // with the seed.
    Interpreter(mmu::GuestMemory& memory, Environment& environment, const CpuModel& model, const Timing& timing,
                unsigned vcpu, std::uint64_t random_seed = 0);
    ~Interpreter() override;

    std::string_view name() const override { return "interpreter"; }
    Exit run(const Budget& budget) override;
    CpuState state() const override { return processor_.save_state(); }
    void set_state(const CpuState& state) override;
    std::uint64_t cycles() const override { return processor_.now(); }
    std::uint64_t instructions() const override { return processor_.instruction_count(); }
    EngineMemory remember() const override;
    void recall(const EngineMemory& memory) override;
    void advance_to(std::uint64_t cycles) override;
    void shorten_deadline(std::uint64_t cycles) override;
    void memory_changed(mmu::GuestPhysical start, std::uint64_t size) override;
    void memory_map_changed() override;
    void set_interrupt_line(bool asserted) override;
    void raise_nmi() override;
    void set_task_priority(std::uint8_t cr8) override { processor_.state.cr8 = cr8; }
    void set_debug_points(std::vector<DebugPoint> points) override;
    void request_stop() override;

    // For tests of single instructions.
    Processor& processor() { return processor_; }

  private:
    // Where the last jump to a linear address led. Good while the code key is the same.
    struct JumpCacheEntry {
        std::uint64_t linear = 0;
        std::uint64_t key = 0;
        Block* block = nullptr;
    };
    static constexpr std::size_t jump_cache_size = 1 << 14;
    static constexpr std::uint32_t no_limit = ~std::uint32_t{0};
    // Thrown before the instruction of an execute point.
    struct PointReached {
        DebugPoint point;
    };

    // CodeListener
    void code_written(mmu::GuestPhysical start, std::uint64_t size) override;
    void code_page_added(mmu::GuestPhysical page) override;
    void remark_code(mmu::GuestPhysical page) override;

    Exit run_blocks();
    bool must_attend() const;
    std::optional<Exit> attend();
    Exit leave_with(ExitReason reason);
    void choose_pace();
    std::optional<Exit> act_on_hits();
    BreakpointHits code_hits(std::uint64_t linear) const;
    std::uint32_t instructions_before_breakpoint(const Block& block, std::uint64_t linear) const;
    Block* next_block(bool at_delivery_point);
    Block* find_block(std::uint64_t linear, JumpCacheEntry& entry);
    std::uint32_t instructions_within_limit(const Block& block);
    const Instruction& execute(const Block& block);
    bool execute_some(const Block& block);
    void finish(const Instruction& instruction);
    void undo_current();
    void deliver_pending();

    Decoder decoder_;
    BlockCache blocks_;
    Processor processor_;
    std::vector<JumpCacheEntry> jump_cache_;
    std::uint64_t deadline_ = 0;
    std::uint64_t instruction_end_ = 0;
    bool at_delivery_point_ = true;  // outlives a run: where one ends changes nothing for the guest
    bool careful_ = false;           // blocks are not run whole: a single step, a budget, a breakpoint
    bool single_ = false;            // the next instruction runs alone
    std::uint32_t most_ = no_limit;  // instructions that the next block may run at once
    // Where the run began, and the count then: it does not stop at an execute point there.
    std::uint64_t run_start_ = 0, instructions_at_start_ = 0;
    bool interrupt_line_ = false;
    std::atomic<bool> stop_requested_ = false;
    std::optional<Event> pending_;  // an event whose delivery has begun and not yet succeeded
};

}  // namespace xenolith::cpu
