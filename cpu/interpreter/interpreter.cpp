// The interpreter's loop.
//
// Between two delivery points nothing but the guest's own instructions happens, so a block is executed without a look
// at anything else. RIP, the clock and the instruction count are brought up to date when a block ends; inside one
// they follow from the block's start and the current instruction's place, which Processor adds up on demand. That
// makes state precise at any instruction at the price of one pointer store each.
//
// A Fault is caught here and nowhere else. It becomes a pending event; delivering it may fault again, and then the two
// combine as the manual's table says, until one gets through or the CPU shuts down.
#include "cpu/interpreter/interpreter.hpp"

#include <algorithm>

namespace xenolith::cpu {

Interpreter::Interpreter(mmu::GuestMemory& memory, Environment& environment, const CpuModel& model,
                         const Timing& timing, unsigned vcpu, std::uint64_t random_seed)
    : decoder_(model, timing),
      blocks_(memory, decoder_),
      processor_(memory, environment, model, timing, vcpu),
      jump_cache_(jump_cache_size) {
    processor_.random_seed = random_seed;
    memory.add_listener(this);
}

Interpreter::~Interpreter() { processor_.memory.remove_listener(this); }

void Interpreter::set_state(const CpuState& state) {
    processor_.load_state(state);
    pending_.reset();
    at_delivery_point_ = true;
}

EngineMemory Interpreter::remember() const {
    return {.cycles = cycles(),
            .instructions = instructions(),
            .translations = processor_.save_translations(),
            .fetch_page = processor_.fetch_page_};
}

void Interpreter::recall(const EngineMemory& memory) {
    processor_.cycles_ = memory.cycles;
    processor_.instructions_ = memory.instructions;
    if (memory.translations.empty()) return;  // of an engine that keeps them to itself
    processor_.restore_translations(memory.translations);
    processor_.fetch_page_ = memory.fetch_page;
}

void Interpreter::advance_to(std::uint64_t cycles) { processor_.cycles_ = std::max(processor_.cycles_, cycles); }

void Interpreter::shorten_deadline(std::uint64_t cycles) {
    deadline_ = std::min(deadline_, cycles);
    if (cycles < processor_.run_until_.load(std::memory_order_relaxed))
        processor_.run_until_.store(cycles, std::memory_order_relaxed);
}

void Interpreter::memory_changed(mmu::GuestPhysical start, std::uint64_t size) { blocks_.drop(start, size); }

void Interpreter::memory_map_changed() {
    blocks_.drop_all();
    processor_.forget_fast_paths();
}

void Interpreter::set_interrupt_line(bool asserted) {
    interrupt_line_ = asserted;
    if (asserted) processor_.request_attention();
}

void Interpreter::raise_nmi() {
    processor_.state.nmi_pending = true;
    processor_.request_attention();
}

void Interpreter::request_stop() {
    stop_requested_.store(true, std::memory_order_relaxed);
    processor_.request_attention();
}

void Interpreter::code_written(mmu::GuestPhysical start, std::uint64_t size) { blocks_.drop(start, size); }

void Interpreter::code_page_added(mmu::GuestPhysical page) { processor_.forget_writable(page); }

void Interpreter::remark_code(mmu::GuestPhysical page) { blocks_.remark(page); }

Exit Interpreter::run(const Budget& budget) {
    Processor& p = processor_;
    deadline_ = budget.until_cycles;
    const std::uint64_t most = ~std::uint64_t{0} - p.instructions_;
    instruction_end_ = p.instructions_ + std::min(budget.instructions, most);
    run_start_ = p.state.rip;
    instructions_at_start_ = p.instructions_;
    choose_pace();
    p.request_attention();
    for (;;) {
        try {
            if (pending_) deliver_pending();
            return run_blocks();
        } catch (const Fault& fault) {
            undo_current();
            try {
                pending_ = pending_ ? combine(*pending_, fault) : Event::from(fault);
            } catch (const TripleFault&) {
                pending_.reset();
                p.state.activity = Activity::shutdown;
                at_delivery_point_ = true;
                p.request_attention();
            }
        } catch (const Processor::Leave& why) {
            undo_current();
            at_delivery_point_ = true;
            return why.kind == Processor::Leave::Kind::hypercall ? Exit{ExitReason::hypercall}
                                                                 : Exit{ExitReason::failed, why.error_number};
        } catch (const PointReached& reached) {
            return {.reason = ExitReason::debug_point, .point = reached.point};
        }
    }
}

void Interpreter::deliver_pending() {
    deliver(processor_, *pending_);
    pending_.reset();
    at_delivery_point_ = true;
    processor_.elements_left_ = 0;
    processor_.stand_between_instructions();
    processor_.request_attention();
}

// Back to the start of the instruction that faulted: nothing of it has happened.
void Interpreter::undo_current() {
    Processor& p = processor_;
    p.cycles_ = p.now();
    p.instructions_ = p.instruction_count();
    p.state.rip = p.instruction_rip();
    p.take_hits();
    p.between_iterations_ = false;
    p.stand_between_instructions();
}

Exit Interpreter::run_blocks() {
    Processor& p = processor_;
    // The member's copy, which is brought up to date wherever somebody looks at it.
    for (bool at_delivery_point = at_delivery_point_;;) {
        if (at_delivery_point ? p.cycles_ >= p.run_until_.load(std::memory_order_relaxed) : must_attend())
            [[unlikely]] {
            at_delivery_point_ = at_delivery_point;
            if (const std::optional<Exit> exit = attend()) return *exit;
            at_delivery_point = at_delivery_point_;
            // Delivering an event may itself have met a breakpoint.
            if (p.hits().any()) continue;
        }
        const Block& block = *next_block(at_delivery_point);
        if (careful_) [[unlikely]] {
            at_delivery_point = execute_some(block);
            continue;
        }
        const std::uint64_t page = p.state.rip & ~mmu::page_mask;
        const Instruction& last = execute(block);
        at_delivery_point = last.delivery_point || (p.state.rip & ~mmu::page_mask) != page;
        p.state.registers[CpuState::rip_slot] = p.state.rip;
    }
}

// What does not wait for a delivery point.
bool Interpreter::must_attend() const {
    const Processor& p = processor_;
    if (p.cycles_ < p.run_until_.load(std::memory_order_relaxed)) return false;
    return p.hits().any() || p.state.pending_debug != 0 || p.instructions_ >= instruction_end_;
}

const Instruction& Interpreter::execute(const Block& block) {
    Processor& p = processor_;
    const Instruction* instruction = block.instructions.get();
    for (;;) {
        p.current_ = instruction;
        instruction->execute(p, *instruction);
        if (instruction->last) break;
        ++instruction;
    }
    finish(*instruction);
    return *instruction;
}

// Runs one instruction of the block, or no more than the budget and the next breakpoint leave, then asks for attention.
// Whether a delivery point is behind the last.
bool Interpreter::execute_some(const Block& block) {
    Processor& p = processor_;
    const bool alone = std::exchange(single_, false);
    const std::uint64_t most = std::min<std::uint64_t>(std::exchange(most_, no_limit), alone ? 1 : no_limit);
    const std::uint64_t count = std::min(instruction_end_ - p.instructions_, most);
    const std::uint64_t flags_before = p.state.rflags, page = p.state.rip & ~mmu::page_mask;
    const bool was_shadowed = p.state.interrupt_shadow, was_debug_shadowed = p.state.debug_shadow;
    p.request_attention();
    if (count == 0) return true;
    // RF covers one instruction, and does not cover the one that sets it (SDM vol. 3B, 17.3.1.1).
    p.state.rflags &= ~rflags::rf;
    p.state.interrupt_shadow = p.state.debug_shadow = false;
    p.take_step_settled();
    const Instruction* instruction = block.instructions.get();
    try {
        for (std::uint64_t done = 1;; ++done) {
            p.current_ = instruction;
            instruction->execute(p, *instruction);
            if (instruction->last || done == count) break;
            ++instruction;
        }
    } catch (...) {
        p.state.interrupt_shadow = was_shadowed;
        p.state.debug_shadow = was_debug_shadowed;
        p.state.rflags |= flags_before & rflags::rf;
        throw;
    }
    finish(*instruction);
    p.stand_between_instructions();
    // SDM vol. 3B, 17.3.1.4: the trap comes behind the instruction that began with TF set; MOV SS and POP SS swallow
    // it.
    const bool settled = p.take_step_settled();
    if ((flags_before & rflags::tf) != 0 && !settled && !p.state.debug_shadow) p.state.pending_debug |= dr6::bs;
    return alone || instruction->delivery_point || (p.state.rip & ~mmu::page_mask) != page;
}

inline void Interpreter::finish(const Instruction& instruction) {
    Processor& p = processor_;
    p.cycles_ += instruction.cost_before + instruction.cost;
    p.instructions_ += instruction.ordinal + 1u;
    if (!instruction.transfers_control) {
        const std::uint64_t next = p.next_rip(instruction);
        p.state.rip = p.code64() ? next : next & 0xffffffff;
    } else if (p.between_iterations_) [[unlikely]] {
        // A string instruction that yields before its count is zero has not completed. That a breakpoint stopped it is
        // not to be seen in what it costs.
        --p.instructions_;
        if (p.elements_left_ != 0) p.cycles_ -= instruction.cost;
    }
}

void Interpreter::choose_pace() {
    const CpuState& state = processor_.state;
    single_ = state.interrupt_shadow || (state.rflags & (rflags::tf | rflags::rf)) != 0;
    careful_ = single_ || instruction_end_ != ~std::uint64_t{0};
    most_ = no_limit;
}

// Looks at everything that may come between two instructions, in the order of SDM vol. 3A, table 6-2. Where there is no
// delivery point, at what does not wait for one.
std::optional<Exit> Interpreter::attend() {
    Processor& p = processor_;
    CpuState& state = p.state;
    p.stand_between_instructions();
    // That a string instruction has begun shows as RF: whatever comes now pushes it (SDM vol. 3B, 17.3.1.1).
    if (std::exchange(p.between_iterations_, false)) state.rflags |= rflags::rf;
    if (p.elements_left_ != 0) at_delivery_point_ = false;
    if (const std::optional<Exit> exit = act_on_hits()) return exit;
    if (!at_delivery_point_) {
        if (p.instructions_ >= instruction_end_) return leave_with(ExitReason::instructions);
        return std::nullopt;
    }
    p.run_until_.store(deadline_, std::memory_order_relaxed);
    if (blocks_.has_dropped_many()) {
        jump_cache_.assign(jump_cache_size, {});
        blocks_.free_dropped();
    }
    if (state.activity == Activity::shutdown) return leave_with(ExitReason::shutdown);
    if (stop_requested_.exchange(false)) return leave_with(ExitReason::stopped);
    if (p.cycles_ >= deadline_) return leave_with(ExitReason::deadline);
    if (p.instructions_ >= instruction_end_) return leave_with(ExitReason::instructions);
    const bool interrupt = interrupt_line_ && (state.rflags & rflags::if_) != 0;
    if (!state.interrupt_shadow) {
        if (state.nmi_pending && !state.nmi_blocked) {
            state.nmi_pending = false;
            state.nmi_blocked = true;
            state.activity = Activity::running;
            pending_ = Event{.vector = static_cast<std::uint8_t>(Vector::nmi), .kind = Event::Kind::nmi};
            deliver_pending();
        } else if (interrupt) {
            state.activity = Activity::running;
            pending_ = Event{.vector = p.environment.acknowledge_interrupt(p.moment()), .kind = Event::Kind::external};
            deliver_pending();
        }
    }
    if (state.activity == Activity::halted) return leave_with(ExitReason::halted);
    choose_pace();
    return std::nullopt;
}

Exit Interpreter::leave_with(ExitReason reason) {
    processor_.request_attention();
    // A run that would end by itself where a debugger waits says so: the next one starts there, and would not.
    const bool goes_on =
        reason == ExitReason::deadline || reason == ExitReason::instructions || reason == ExitReason::stopped;
    if (goes_on && processor_.breakpoints().watch_code()) {
        const BreakpointHits hits = code_hits(processor_.code_linear(processor_.state.rip));
        if (hits.point) {
            if (reason == ExitReason::stopped) stop_requested_.store(true);
            return {.reason = ExitReason::debug_point, .point = *hits.point};
        }
    }
    return {reason};
}

// --- Breakpoints -------------------------------------------------------------------------------------------------
//
// A page with watched data has no fast path in the TLB, so accesses to it come by Processor's slow way, which notes
// what they meet and ends the block behind the instruction. A block with a watched instruction in it is not put into
// the jump cache, so find_block sees it each time, and has it run only as far as that instruction. All other code and
// data goes as fast as ever, and interrupts come where they always would.

void Interpreter::set_debug_points(std::vector<DebugPoint> points) { processor_.set_debug_points(std::move(points)); }

// Data, ports and single steps: the instruction that met them is over.
std::optional<Exit> Interpreter::act_on_hits() {
    Processor& p = processor_;
    CpuState& state = p.state;
    const BreakpointHits hits = p.take_hits();
    state.pending_debug |= hits.dr6_bits;
    if (hits.point) {
        p.request_attention();
        return Exit{.reason = ExitReason::debug_point, .point = *hits.point};
    }
    if (state.pending_debug == 0 || state.debug_shadow) return std::nullopt;
    // SDM vol. 2A, HLT: a debug exception ends it.
    if (state.activity == Activity::halted) state.activity = Activity::running;
    pending_ = Event{.vector = static_cast<std::uint8_t>(Vector::debug),
                     .kind = Event::Kind::trap,
                     .dr6_bits = std::exchange(state.pending_debug, 0)};
    deliver_pending();
    return std::nullopt;
}

// What the instruction at `linear` meets before it begins.
BreakpointHits Interpreter::code_hits(std::uint64_t linear) const {
    const Processor& p = processor_;
    BreakpointHits hits;
    if ((p.state.rflags & rflags::rf) != 0 || p.between_iterations_) return hits;
    p.breakpoints().meet_code(linear, hits);
    if (p.state.debug_shadow) hits.dr6_bits = 0;
    if (p.state.rip == run_start_ && p.instructions_ == instructions_at_start_) hits.point.reset();
    return hits;
}

// How many instructions of the block may run at once: those before the next one that is watched.
std::uint32_t Interpreter::instructions_before_breakpoint(const Block& block, std::uint64_t linear) const {
    const Breakpoints& breakpoints = processor_.breakpoints();
    std::uint32_t count = 1;
    while (count < block.count && !breakpoints.watch_instruction(linear + block.instructions[count].start)) ++count;
    return count;
}

// The block at CS:RIP. Raises what the fetch raises.
Block* Interpreter::next_block(bool at_delivery_point) {
    Processor& p = processor_;
    const std::uint64_t linear = p.code_linear(p.state.rip);
    JumpCacheEntry& entry = jump_cache_[(linear ^ linear >> 14) % jump_cache_size];
    if (entry.linear == linear && entry.key == p.code_key() && (linear & ~mmu::page_mask) == p.fetch_page_ &&
        entry.block->valid) [[likely]]
        return entry.block;
    at_delivery_point_ = at_delivery_point;
    return find_block(linear, entry);
}

Block* Interpreter::find_block(std::uint64_t linear, JumpCacheEntry& entry) {
    Processor& p = processor_;
    p.stand_between_instructions();
    // SDM vol. 3A, table 6-2: a breakpoint comes before what the fetch raises.
    const bool watch_code = p.breakpoints().watch_code();
    if (watch_code) [[unlikely]] {
        const BreakpointHits hits = code_hits(linear);
        if (hits.point) throw PointReached{*hits.point};
        if (hits.dr6_bits != 0) throw Fault{Vector::debug, std::nullopt, 0, hits.dr6_bits};
    }
    if (p.code64() ? !mmu::GuestLinear{p.state.rip}.is_canonical() : p.state.rip >= p.code_end())
        p.raise(Vector::general_protection, 0);
    const mmu::GuestPhysical physical = p.translate_fetch(linear);
    p.fetch_page_ = linear & ~mmu::page_mask;
    const DecodeMode mode = p.code_mode();
    Block* block = blocks_.find(physical, mode);
    if (block != nullptr && block->crosses_page) {
        const mmu::GuestPhysical second = p.translate_fetch((linear & ~mmu::page_mask) + mmu::page_size);
        if (block->second_page != second.page()) block = blocks_.make_crossing(physical, second.page(), mode);
    }
    if (block == nullptr) block = blocks_.make(physical, mode);
    if (block == nullptr) {
        const mmu::GuestPhysical second = p.translate_fetch((linear & ~mmu::page_mask) + mmu::page_size);
        block = blocks_.make_crossing(physical, second.page(), mode);
    }
    // Blocks that cross a page ask for their second translation each time, and those that reach the end of CS or hold
    // a breakpoint are cut short each time: none of them goes into the jump cache.
    if (!p.code64() && p.state.rip + block->bytes > p.code_end()) {
        const std::uint32_t count = instructions_within_limit(*block);
        if (count == 0) p.raise(Vector::general_protection, 0);
        single_ = careful_ = true;
        p.request_attention();
    } else if (watch_code && p.breakpoints().watch_code_in(linear, block->bytes)) [[unlikely]] {
        most_ = instructions_before_breakpoint(*block, linear);
        careful_ = true;
    } else if (!block->crosses_page) {
        entry = {linear, p.code_key(), block};
    }
    return block;
}

// How many instructions of the block end inside CS's limit.
std::uint32_t Interpreter::instructions_within_limit(const Block& block) {
    std::uint32_t count = 0;
    while (count < block.count && processor_.state.rip + block.instructions[count].end() <= processor_.code_end())
        ++count;
    return count;
}

}  // namespace xenolith::cpu
