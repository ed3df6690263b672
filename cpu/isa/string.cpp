// String instructions, alone and repeated (SDM vol. 1, 7.3.9; vol. 2, REP and the instructions themselves).
//
// A repeated instruction is a loop that any element may leave by a fault: counter and indexes are brought up
// to date after each element, so the fault finds them as the CPU would show them, and the instruction can be
// started again. It also leaves by itself after a bounded number of elements, with RIP unmoved, so that
// interrupts and deadlines get their turn; under the trap flag that bound is one, and an element that meets a
// breakpoint is the last. The bound counts elements
// alone, so it is part of what the guest sees the same way each time.
//
// MOVS and STOS forward over ordinary memory go in runs, each within one page on either side. A run has
// exactly the effect of its elements in order, which for an overlapping MOVS (the old trick to fill memory)
// is not a copy.
#include <algorithm>
#include <array>

#include "cpu/isa/forms.hpp"
#include "cpu/isa/io_permission.hpp"
#include "cpu/isa/row.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint64_t elements_at_once = 4096;

bool backward(const Processor& p) { return (p.state.rflags & rflags::df) != 0; }

// Moves RSI or RDI on by one element, in the address size A.
template <class T, class A>
void advance(Processor& p, GeneralRegister index) {
    const A old = p.get<A>(index);
    p.set<A>(index, static_cast<A>(backward(p) ? old - sizeof(T) : old + sizeof(T)));
}

template <class A>
void advance_by(Processor& p, GeneralRegister index, std::uint64_t bytes) {
    p.set<A>(index, static_cast<A>(p.get<A>(index) + bytes));
}

// Bytes from an offset to where it wraps around, or to the end of the page at `linear`, whichever comes
// first.
template <class A>
std::uint64_t bytes_ahead(A offset, std::uint64_t linear) {
    std::uint64_t bytes = mmu::page_size - mmu::GuestLinear{linear}.page_offset();
    if constexpr (sizeof(A) < 8) bytes = std::min(bytes, (std::uint64_t{1} << bits_of<A>)-offset);
    return bytes;
}

template <class T>
struct Compared {
    T left, right;
};

// --- What each instruction does to one element, and, where there is a faster way, to a run of them
// -----------------

struct MoveString {
    static constexpr std::array cleared = {rcx, rsi, rdi};

    template <class T, class A>
    static void element(Processor& p, const Instruction& i) {
        p.store<T>(SegmentName::es, p.get<A>(rdi), p.load<T>(i.segment, p.get<A>(rsi)));
        advance<T, A>(p, rsi);
        advance<T, A>(p, rdi);
    }

    // How many elements it did, at most `limit`; none where the fast way is closed or not worth it.
    template <class T, class A>
    static std::uint64_t run(Processor& p, const Instruction& i, std::uint64_t limit) {
        const A source = p.get<A>(rsi), destination = p.get<A>(rdi);
        constexpr SegmentName es = SegmentName::es;
        if (backward(p) || limit < 2 || !p.reads_freely(i.segment, source, sizeof(T)) ||
            !p.writes_freely(es, destination, sizeof(T)))
            return 0;
        const std::uint64_t from_linear = p.linear_for_read(i.segment, source, sizeof(T));
        const std::uint64_t to_linear = p.linear_for_write(es, destination, sizeof(T));
        const std::uint64_t elements = std::min(
            {limit, bytes_ahead(source, from_linear) / sizeof(T), bytes_ahead(destination, to_linear) / sizeof(T)});
        const std::uint64_t bytes = elements * sizeof(T);
        if (elements < 2 || !p.reads_freely(i.segment, source, bytes) || !p.writes_freely(es, destination, bytes))
            return 0;
        const std::byte* const from = p.host_read_span(from_linear);
        std::byte* const to = p.host_write_span(to_linear);
        if (from == nullptr || to == nullptr) return 0;
        // Host addresses compare as what they are: two linear addresses may be one page.
        const auto distance = reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from);
        if (distance != 0 && distance < bytes) {
            for (std::uint64_t at = 0; at < bytes; at += sizeof(T)) {
                T value;
                std::memcpy(&value, from + at, sizeof(T));
                std::memcpy(to + at, &value, sizeof(T));
            }
        } else {
            std::memmove(to, from, bytes);
        }
        advance_by<A>(p, rsi, bytes);
        advance_by<A>(p, rdi, bytes);
        return elements;
    }
};

struct StoreString {
    static constexpr std::array cleared = {rcx, rdi};

    template <class T, class A>
    static void element(Processor& p, const Instruction&) {
        p.store<T>(SegmentName::es, p.get<A>(rdi), p.get<T>(rax));
        advance<T, A>(p, rdi);
    }

    template <class T, class A>
    static std::uint64_t run(Processor& p, const Instruction&, std::uint64_t limit) {
        const A destination = p.get<A>(rdi);
        constexpr SegmentName es = SegmentName::es;
        if (backward(p) || limit < 2 || !p.writes_freely(es, destination, sizeof(T))) return 0;
        const std::uint64_t linear = p.linear_for_write(es, destination, sizeof(T));
        const std::uint64_t elements = std::min(limit, bytes_ahead(destination, linear) / sizeof(T));
        const std::uint64_t bytes = elements * sizeof(T);
        if (elements < 2 || !p.writes_freely(es, destination, bytes)) return 0;
        std::byte* const to = p.host_write_span(linear);
        if (to == nullptr) return 0;
        const T value = p.get<T>(rax);
        if constexpr (sizeof(T) == 1) {
            std::memset(to, value, bytes);
        } else {
            for (std::uint64_t at = 0; at < bytes; at += sizeof(T)) std::memcpy(to + at, &value, sizeof(T));
        }
        advance_by<A>(p, rdi, bytes);
        return elements;
    }
};

struct LoadString {
    static constexpr std::array cleared = {rcx};

    template <class T, class A>
    static void element(Processor& p, const Instruction& i) {
        p.set<T>(rax, p.load<T>(i.segment, p.get<A>(rsi)));
        advance<T, A>(p, rsi);
    }
};

struct InputString {
    static constexpr std::array cleared = {rcx};

    // Asked even if the count is zero.
    template <class T>
    static void before_all(Processor& p) {
        check_io_permission(p, p.get<std::uint16_t>(rdx), sizeof(T));
    }

    template <class T, class A>
    static void element(Processor& p, const Instruction&) {
        const auto port = p.get<std::uint16_t>(rdx);
        check_io_permission(p, port, sizeof(T));
        // A port must not be read for a value that then has nowhere to go.
        p.probe_write(SegmentName::es, p.get<A>(rdi), sizeof(T));
        p.charge(p.timing.plain_trap().total());
        const std::uint32_t value = p.environment.port_read(p.moment(), port, sizeof(T));
        p.watch_port(port, sizeof(T));
        p.store<T>(SegmentName::es, p.get<A>(rdi), static_cast<T>(value));
        advance<T, A>(p, rdi);
    }
};

struct OutputString {
    static constexpr std::array cleared = {rcx};

    template <class T>
    static void before_all(Processor& p) {
        check_io_permission(p, p.get<std::uint16_t>(rdx), sizeof(T));
    }

    template <class T, class A>
    static void element(Processor& p, const Instruction& i) {
        const auto port = p.get<std::uint16_t>(rdx);
        check_io_permission(p, port, sizeof(T));
        const T value = p.load<T>(i.segment, p.get<A>(rsi));
        p.charge(p.timing.plain_trap().total());
        p.environment.port_write(p.moment(), port, sizeof(T), value, p.state, p);
        p.watch_port(port, sizeof(T));
        advance<T, A>(p, rsi);
    }
};

// Where both operands fault, Intel's CPUs tell of the second, AMD's of the first.
struct CompareStrings {
    static constexpr std::array cleared = {rcx};

    template <class T, class A>
    static Compared<T> element(Processor& p, const Instruction& i) {
        T left, right;
        if (p.model.vendor() == Vendor::intel) {
            right = p.load<T>(SegmentName::es, p.get<A>(rdi));
            left = p.load<T>(i.segment, p.get<A>(rsi));
        } else {
            left = p.load<T>(i.segment, p.get<A>(rsi));
            right = p.load<T>(SegmentName::es, p.get<A>(rdi));
        }
        advance<T, A>(p, rsi);
        advance<T, A>(p, rdi);
        return {left, right};
    }
};

struct ScanString {
    static constexpr std::array cleared = {rcx};

    template <class T, class A>
    static Compared<T> element(Processor& p, const Instruction&) {
        const T right = p.load<T>(SegmentName::es, p.get<A>(rdi));
        advance<T, A>(p, rdi);
        return {p.get<T>(rax), right};
    }
};

template <class T>
void set_flags(Processor& p, const Compared<T>& values) {
    const auto [left, right] = values;
    p.flags.set_subtract<T>(left, right, static_cast<T>(left - right), left < right);
}

// --- Once, and repeated
// --------------------------------------------------------------------------------------------

template <class Operation, class T, class A>
void once(Processor& p, const Instruction& i) {
    Operation::template element<T, A>(p, i);
    p.charge(p.timing.string_iteration);
}

template <class Operation, class T, class A>
void compare_once(Processor& p, const Instruction& i) {
    set_flags<T>(p, Operation::template element<T, A>(p, i));
    p.charge(p.timing.string_iteration);
}

std::uint64_t elements_allowed(Processor& p) {
    return p.elements_allowed((p.state.rflags & rflags::tf) != 0 ? 1 : elements_at_once);
}

template <class Operation, class T, class A>
std::uint64_t elements_done(Processor& p, const Instruction& i, std::uint64_t limit) {
    if constexpr (requires { Operation::template run<T, A>(p, i, limit); }) {
        const std::uint64_t done = Operation::template run<T, A>(p, i, limit);
        if (done != 0) return done;
    }
    Operation::template element<T, A>(p, i);
    return 1;
}

// With 32-bit addresses in 64-bit code, Intel's CPUs clear the upper half of the count before they look at it, and
// MOVS and STOS those of their indexes; AMD's leave them until there is an iteration that is done.
template <class Operation, class A>
void clear_upper_halves(Processor& p) {
    if constexpr (sizeof(A) == 4) {
        if (p.model.vendor() != Vendor::intel) return;
        for (const GeneralRegister number : Operation::cleared) p.set<A>(number, p.get<A>(number));
    }
}

template <class Operation, class T, class A>
void repeated(Processor& p, const Instruction& i) {
    if constexpr (requires { Operation::template before_all<T>(p); }) Operation::template before_all<T>(p);
    clear_upper_halves<Operation, A>(p);
    std::uint64_t allowed = elements_allowed(p);
    while (p.get<A>(rcx) != 0) {
        if (allowed == 0 || p.hits().any()) {
            p.yield(allowed);
            return;
        }
        const std::uint64_t done =
            elements_done<Operation, T, A>(p, i, std::min<std::uint64_t>(allowed, p.get<A>(rcx)));
        p.set<A>(rcx, static_cast<A>(p.get<A>(rcx) - done));
        p.charge(done * p.timing.string_iteration);
        allowed -= done;
    }
    p.fall_through(i);
}

// REPE goes on while the operands are equal, REPNE while they differ. Flags are written when the instruction
// ends or yields; a fault leaves them as they were (SDM vol. 2, REP).
template <class Operation, class T, class A, bool WhileEqual>
void compare_repeated(Processor& p, const Instruction& i) {
    std::uint64_t allowed = elements_allowed(p);
    const bool flags_each_time = p.model.vendor() == Vendor::amd;
    clear_upper_halves<Operation, A>(p);
    while (p.get<A>(rcx) != 0) {
        const Compared<T> values = Operation::template element<T, A>(p, i);
        p.set<A>(rcx, static_cast<A>(p.get<A>(rcx) - 1));
        p.charge(p.timing.string_iteration);
        const bool ends = p.get<A>(rcx) == 0 || (values.left == values.right) != WhileEqual;
        const bool yields = --allowed == 0 || p.hits().any();
        if (ends || yields || flags_each_time) set_flags<T>(p, values);
        if (ends) break;
        if (yields) {
            p.yield(allowed);
            return;
        }
    }
    p.fall_through(i);
}

// --- Choosing
// ----------------------------------------------------------------------------------------------------

template <class Choose>
Execute with_address(AddressSize size, const Choose& choose) {
    switch (size) {
        case AddressSize::bits16: return choose.template operator()<std::uint16_t>();
        case AddressSize::bits32: return choose.template operator()<std::uint32_t>();
        case AddressSize::bits64: return choose.template operator()<std::uint64_t>();
    }
    return nullptr;
}

constexpr ZydisInstructionAttributes any_repeat = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;

// MOVSD and CMPSD are also names of SSE2 instructions, which have visible operands.
bool is_string(const Shape& shape) { return shape.instruction.operand_count_visible == 0; }

// Either prefix repeats an instruction that compares nothing.
template <class Operation, class T>
Execute select_string(const Shape& shape) {
    if (!is_string(shape)) return nullptr;
    const bool repeats = (shape.instruction.attributes & any_repeat) != 0;
    return with_address(shape.address_size, [&]<class A>() -> Execute {
        return repeats ? repeated<Operation, T, A> : once<Operation, T, A>;
    });
}

template <class Operation, class T>
Execute select_comparison(const Shape& shape) {
    if (!is_string(shape)) return nullptr;
    const ZydisInstructionAttributes attributes = shape.instruction.attributes;
    return with_address(shape.address_size, [&]<class A>() -> Execute {
        if ((attributes & any_repeat) == 0) return compare_once<Operation, T, A>;
        if ((attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0) return compare_repeated<Operation, T, A, false>;
        return compare_repeated<Operation, T, A, true>;
    });
}

template <class Operation, class T>
constexpr Row string_row(ZydisMnemonic mnemonic) {
    return {mnemonic, select_string<Operation, T>, CostClass::string, row_flag::repeatable};
}

template <class Operation, class T>
constexpr Row comparison_row(ZydisMnemonic mnemonic) {
    return {mnemonic, select_comparison<Operation, T>, CostClass::string, row_flag::repeatable};
}

// These ask the Environment.
template <class Operation, class T>
constexpr Row port_row(ZydisMnemonic mnemonic) {
    return {mnemonic, select_string<Operation, T>, CostClass::string, row_flag::repeatable | row_flag::delivery_point};
}

}  // namespace

std::span<const Row> string_rows() {
    static const std::array rows = {
        string_row<MoveString, std::uint8_t>(ZYDIS_MNEMONIC_MOVSB),
        string_row<MoveString, std::uint16_t>(ZYDIS_MNEMONIC_MOVSW),
        string_row<MoveString, std::uint32_t>(ZYDIS_MNEMONIC_MOVSD),
        string_row<MoveString, std::uint64_t>(ZYDIS_MNEMONIC_MOVSQ),
        string_row<StoreString, std::uint8_t>(ZYDIS_MNEMONIC_STOSB),
        string_row<StoreString, std::uint16_t>(ZYDIS_MNEMONIC_STOSW),
        string_row<StoreString, std::uint32_t>(ZYDIS_MNEMONIC_STOSD),
        string_row<StoreString, std::uint64_t>(ZYDIS_MNEMONIC_STOSQ),
        string_row<LoadString, std::uint8_t>(ZYDIS_MNEMONIC_LODSB),
        string_row<LoadString, std::uint16_t>(ZYDIS_MNEMONIC_LODSW),
        string_row<LoadString, std::uint32_t>(ZYDIS_MNEMONIC_LODSD),
        string_row<LoadString, std::uint64_t>(ZYDIS_MNEMONIC_LODSQ),
        comparison_row<CompareStrings, std::uint8_t>(ZYDIS_MNEMONIC_CMPSB),
        comparison_row<CompareStrings, std::uint16_t>(ZYDIS_MNEMONIC_CMPSW),
        comparison_row<CompareStrings, std::uint32_t>(ZYDIS_MNEMONIC_CMPSD),
        comparison_row<CompareStrings, std::uint64_t>(ZYDIS_MNEMONIC_CMPSQ),
        comparison_row<ScanString, std::uint8_t>(ZYDIS_MNEMONIC_SCASB),
        comparison_row<ScanString, std::uint16_t>(ZYDIS_MNEMONIC_SCASW),
        comparison_row<ScanString, std::uint32_t>(ZYDIS_MNEMONIC_SCASD),
        comparison_row<ScanString, std::uint64_t>(ZYDIS_MNEMONIC_SCASQ),
        port_row<InputString, std::uint8_t>(ZYDIS_MNEMONIC_INSB),
        port_row<InputString, std::uint16_t>(ZYDIS_MNEMONIC_INSW),
        port_row<InputString, std::uint32_t>(ZYDIS_MNEMONIC_INSD),
        port_row<OutputString, std::uint8_t>(ZYDIS_MNEMONIC_OUTSB),
        port_row<OutputString, std::uint16_t>(ZYDIS_MNEMONIC_OUTSW),
        port_row<OutputString, std::uint32_t>(ZYDIS_MNEMONIC_OUTSD),
    };
    return rows;
}

}  // namespace xenolith::cpu
