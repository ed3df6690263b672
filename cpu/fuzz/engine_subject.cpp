#include "cpu/fuzz/engine_subject.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "cpu/exceptions/segment_load.hpp"
#include "cpu/native/row_bench.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::cpu::fuzz {

namespace {

// All below 64 KiB, so that 16-bit addresses reach it. The interrupt vectors of real mode come first.
constexpr std::uint64_t handlers = 0x800, descriptors = 0xa00, gates = 0x1000, page_tables = 0x2000, code_end = 0x6100,
                        forward = code_end + 2, backward = code_end - 32, operands = 0x8000, stack_top = 0xf000,
                        ram_size = 0x20000;
constexpr unsigned vectors = 32;
constexpr std::byte halt{0xf4};
constexpr std::uint16_t code_selector = 0x08, data_selector = 0x10;

bool has_error_code(std::uint64_t vector) { return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17; }

}  // namespace

Layout engine_layout(DecodeMode) {
    return {
        .memory = operands, .instruction_end = code_end, .forward = forward, .backward = backward, .is_guarded = false};
}

struct EngineSubject::Machine {
    Machine(DecodeMode decode_mode, const CpuModel& model, const MakeEngine& make) : mode(decode_mode) {
        bytes = memory.add_ram({0}, ram_size, "memory").host;
        fill();
        pristine.assign(bytes, bytes + ram_size);
        engine = make(memory, world, model, *find_timing("modern"));
        start = start_state(model);
        // What goes astray comes to an end; KVM has a limit in time.
        constexpr std::uint64_t longest_run = 100'000;
        if (engine->name() != "kvm") budget.instructions = longest_run;
        engine->set_state(start);
    }

    template <class T>
    void put(std::uint64_t address, T value) {
        std::memcpy(bytes + address, &value, sizeof(T));
    }

    void put_code(std::uint64_t address, std::span<const std::byte> code) {
        memory.write({address}, code);
        std::ranges::copy(code, pristine.begin() + static_cast<std::ptrdiff_t>(address));
    }
    // All but the operands' memory becomes what it was: there is nothing else to keep tests apart.
    void restore() {
        constexpr std::uint64_t chunk = 256;
        for (std::uint64_t at = 0; at < ram_size; at += chunk) {
            if (at == operands) at += memory_size;
            const std::span right = std::span(pristine).subspan(at, chunk);
            if (std::memcmp(bytes + at, right.data(), chunk) != 0) memory.write({at}, right);
        }
    }

    // Gates that lead to a HLT each (SDM vol. 3A, 6.10, 6.14.1, 20.1.4).
    void fill() {
        for (unsigned vector = 0; vector < vectors; ++vector) {
            const std::uint64_t handler = handlers + vector;
            put(handler, halt);
            if (mode == DecodeMode::real16) {
                put(vector * 4u, static_cast<std::uint32_t>(handler));
                continue;
            }
            constexpr std::uint64_t present = 0x80, interrupt_gate_16 = 6, interrupt_gate_32 = 14;
            const std::uint64_t type =
                present | (mode == DecodeMode::protected16 ? interrupt_gate_16 : interrupt_gate_32);
            const std::uint64_t gate = handler | std::uint64_t{code_selector} << 16 | type << 40;
            const unsigned size = mode == DecodeMode::long64 ? 16 : 8;
            put(gates + vector * size, gate);
        }
        const auto descriptor = [](const SegmentRegister& segment) {
            // Limits are 4 GiB, or 64 KiB as they are.
            const std::uint64_t limit = segment.attributes.granular() ? segment.limit >> 12 : segment.limit;
            return (limit & 0xffff) | (limit >> 16) << 48 | std::uint64_t{segment.attributes.bits & 0xf0ff} << 40;
        };
        put(descriptors + code_selector, descriptor(code_segment()));
        put(descriptors + data_selector, descriptor(flat_data_segment(data_selector)));
        // Four-level tables: the first 2 MiB as one large page.
        constexpr std::uint64_t present_writable = 3, large = 0x80;
        put(page_tables, page_tables + 0x1000 + present_writable);
        put(page_tables + 0x1000, page_tables + 0x2000 + present_writable);
        put(page_tables + 0x2000, present_writable | large);
        for (const std::uint64_t place : {code_end, forward, backward}) put(place, halt);
    }
    SegmentRegister code_segment() const {
        return flat_code_segment(code_selector, mode == DecodeMode::long64        ? 64
                                                : mode == DecodeMode::protected16 ? 16
                                                                                  : 32);
    }
    CpuState start_state(const CpuModel& model) const {
        CpuState state = reset_state();
        state.ldtr = null_segment(0);
        for (SegmentRegister& segment : state.segments) segment = real_mode_segment(0);
        state.cr0 = cr0::et | cr0::ne | cr0::mp;
        state.cr4 = (cr4::osfxsr | cr4::osxmmexcpt | cr4::osxsave | cr4::fsgsbase) & model.cr4_bits();
        state.xcr0 = model.xcr0_bits() & 7;
        state.rflags = rflags::fixed_one;
        if (mode == DecodeMode::real16) {
            state.idtr = {0, 0x3ff};
            return state;
        }
        state.cr0 |= cr0::pe;
        for (SegmentRegister& segment : state.segments) segment = flat_data_segment(data_selector);
        state.segment(SegmentName::cs) = code_segment();
        state.gdtr = {descriptors, 0x1f};
        state.idtr = {gates, vectors * 16 - 1};
        if (mode == DecodeMode::long64) {
            state.cr0 |= cr0::pg;
            state.cr3 = page_tables;
            state.cr4 |= cr4::pae;
            state.msr.efer = efer::lme | efer::lma | efer::sce;
        }
        return state;
    }

    DecodeMode mode;
    mmu::GuestMemory memory;
    EmptyWorld world;
    std::byte* bytes = nullptr;
    std::vector<std::byte> pristine;
    std::unique_ptr<Engine> engine;
    CpuState start;
    Budget budget;
    std::uint64_t rip = 0;
    bool uses_stack = false, uses_floating_point = false;
};

EngineSubject::EngineSubject(DecodeMode mode, const CpuModel& model, const MakeEngine& make)
    : machine_(std::make_unique<Machine>(mode, model, make)) {}

EngineSubject::~EngineSubject() = default;

std::span<std::byte, memory_size> EngineSubject::memory() {
    return std::span<std::byte, memory_size>(machine_->bytes + operands, memory_size);
}

void EngineSubject::prepare(const Encoding& encoding) {
    Machine& machine = *machine_;
    machine.rip = code_end - encoding.decoded.length;
    machine.put_code(machine.rip, encoding.bytes());
    machine.uses_floating_point = encoding.uses_floating_point();
    machine.uses_stack = std::ranges::any_of(encoding.all_operands(), [](const ZydisDecodedOperand& operand) {
        const auto is_sp = [](ZydisRegister name) {
            return name == ZYDIS_REGISTER_SP || name == ZYDIS_REGISTER_ESP || name == ZYDIS_REGISTER_RSP ||
                   name == ZYDIS_REGISTER_SPL;
        };
        return operand.type == ZYDIS_OPERAND_TYPE_REGISTER ? is_sp(operand.reg.value)
               : operand.type == ZYDIS_OPERAND_TYPE_MEMORY ? is_sp(operand.mem.base) || is_sp(operand.mem.index)
                                                           : false;
    });
}

void EngineSubject::run(const State& start, Outcome& outcome) {
    Machine& machine = *machine_;
    CpuState state = machine.start;
    const std::uint64_t mask = machine.mode == DecodeMode::long64 ? ~std::uint64_t{0} : 0xffffffff;
    for (unsigned n = 0; n < 16; ++n)
        state.registers[n] = n >= 8 && machine.mode != DecodeMode::long64 ? 0 : start.registers.general[n] & mask;
    // An exception needs a stack, unless the instruction is about the stack.
    if (!machine.uses_stack) state.registers[rsp] = stack_top;
    constexpr std::uint64_t taken = rflags::arithmetic | rflags::df;
    state.rflags = rflags::fixed_one | (start.registers.rflags & taken);
    state.rip = machine.rip;
    if (machine.uses_floating_point) state.floating_point = start.floating_point;
    machine.restore();
    machine.engine->set_state(state);
    const Exit exit = machine.engine->run(machine.budget);
    const CpuState end = machine.engine->state();
    std::copy_n(end.registers.begin(), 16, outcome.cpu.registers.general.begin());
    outcome.cpu.registers.rflags = end.rflags & ~rflags::rf;
    outcome.cpu.fault.reset();
    outcome.cpu.rip = end.rip - 1;  // of the HLT
    outcome.floating_point = end.floating_point;
    if (exit.reason != ExitReason::halted) {
        outcome.cpu.fault = NativeFault{.vector = not_halted};
    } else if (outcome.cpu.rip - handlers < vectors) {
        const std::uint64_t vector = outcome.cpu.rip - handlers;
        outcome.cpu.fault = NativeFault{.vector = static_cast<unsigned>(vector), .address = end.cr2};
        const std::uint64_t top = end.registers[rsp] & mask;
        if (has_error_code(vector) && machine.mode != DecodeMode::real16 && top + 4 <= ram_size)
            std::memcpy(&outcome.cpu.fault->error_code, machine.bytes + top,
                        machine.mode == DecodeMode::protected16 ? 2 : 4);
    }
}

}  // namespace xenolith::cpu::fuzz
