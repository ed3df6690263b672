// The x87, MMX and SSE state as a whole: set-up, control words, and the images in memory (SDM vol.
// 1, 8.1, 10.5, 13; vol. 2: FNINIT, FNSAVE, FNSTENV, FXSAVE, XSAVE and their counterparts).
//
// Images are built in a local array and moved in one piece: everything that can fault is over before either
// side changes.
#include <array>
#include <bit>
#include <cstring>

#include "cpu/isa/floating_point.hpp"
#include "cpu/isa/forms.hpp"
#include "cpu/isa/row.hpp"
#include "cpu/processor.hpp"

namespace xenolith::cpu {

namespace {

constexpr std::uint16_t exception_flags = 0x3f, stack_fault = 0x40, summary = 0x80, busy = 0x8000;
constexpr std::uint16_t control_writable = 0x1f3f;
constexpr std::uint16_t control_always = 0x40;
constexpr std::uint32_t mxcsr_writable = 0xffff, initial_mxcsr = 0x1f80;

template <class T, std::size_t N>
void put(std::array<std::byte, N>& image, std::size_t at, T value) {
    std::memcpy(image.data() + at, &value, sizeof(T));
}
template <class T, std::size_t N>
T take(const std::array<std::byte, N>& image, std::size_t at) {
    T value;
    std::memcpy(&value, image.data() + at, sizeof(T));
    return value;
}

// ES and B say whether an unmasked exception is pending (SDM vol. 1, 8.1.3.3).
void update_summary(FloatingPointState& fp) {
    const bool pending = (fp.status & ~fp.control & exception_flags) != 0;
    fp.status = static_cast<std::uint16_t>((fp.status & ~(summary | busy)) | (pending ? summary | busy : 0));
}

void set_control(FloatingPointState& fp, std::uint16_t value) {
    fp.control = static_cast<std::uint16_t>((value & control_writable) | control_always);
    update_summary(fp);
}

// --- Set-up and control words
// -----------------------------------------------------------------------------------------

void initialize(FloatingPointState& fp) {
    fp.control = 0x037f;
    fp.status = 0;
    fp.tag = 0xffff;
    fp.opcode = 0;
    fp.instruction_pointer = fp.data_pointer = 0;
    fp.instruction_selector = fp.data_selector = 0;
}

void initialize_x87(Processor& p, const Instruction&) {
    require_x87(p);
    initialize(p.state.floating_point);
}

void clear_exceptions(Processor& p, const Instruction&) {
    require_x87(p);
    p.state.floating_point.status &= static_cast<std::uint16_t>(~(exception_flags | stack_fault | summary | busy));
}

// WAIT: CR0.MP decides whether TS matters (SDM vol. 3A, table 2-2).
void wait(Processor& p, const Instruction&) {
    if ((p.state.cr0 & cr0::ts) != 0 && (p.state.cr0 & cr0::mp) != 0) p.raise(Vector::device_not_available);
    require_no_pending_x87_error(p);
}

void store_control(Processor& p, const Instruction& i) {
    require_x87(p);
    p.store<std::uint16_t>(i, p.state.floating_point.control);
}

void load_control(Processor& p, const Instruction& i) {
    require_x87(p);
    require_no_pending_x87_error(p);
    set_control(p.state.floating_point, p.load<std::uint16_t>(i));
}

void store_status(Processor& p, const Instruction& i) {
    require_x87(p);
    if (i.has_memory)
        p.store<std::uint16_t>(i, p.state.floating_point.status);
    else
        p.set<std::uint16_t>(i.registers[0], p.state.floating_point.status);
}

// With VEX prefix or without: Require says what has to be enabled.
template <auto Require>
void load_mxcsr(Processor& p, const Instruction& i) {
    Require(p);
    const auto value = p.load<std::uint32_t>(i);
    if ((value & ~mxcsr_writable) != 0) p.raise(Vector::general_protection, 0);
    p.state.floating_point.mxcsr = value;
}

template <auto Require>
void store_mxcsr(Processor& p, const Instruction& i) {
    Require(p);
    p.store<std::uint32_t>(i, p.state.floating_point.mxcsr);
}

void empty_mmx(Processor& p, const Instruction&) {
    require_mmx(p);
    p.state.floating_point.tag = 0xffff;
    p.state.floating_point.status &= static_cast<std::uint16_t>(~(7u << 11));  // SDM vol. 3A, table 12-2
}

// --- Tags
// -------------------------------------------------------------------------------------------------------------

// SDM vol. 1, 8.1.7: 00 valid, 01 zero, 10 special, 11 empty. FNSAVE shows the class of what is there now.
unsigned tag_of(const X87Register& value) {
    const unsigned exponent = value.sign_exponent & 0x7fff;
    if (exponent == 0) return value.significand == 0 ? 1 : 2;
    if (exponent == 0x7fff || value.significand >> 63 == 0) return 2;
    return 0;
}

std::uint16_t full_tags(const FloatingPointState& fp, std::uint8_t in_use) {
    unsigned tags = 0;
    for (unsigned n = 0; n < 8; ++n) tags |= ((in_use >> n & 1) != 0 ? tag_of(fp.registers[n]) : 3u) << n * 2;
    return static_cast<std::uint16_t>(tags);
}

std::uint8_t abridged_tags(std::uint16_t tag) {
    unsigned in_use = 0;
    for (unsigned n = 0; n < 8; ++n) in_use |= (tag >> n * 2 & 3) != 3 ? 1u << n : 0;
    return static_cast<std::uint8_t>(in_use);
}

// --- FNSTENV, FLDENV, FNSAVE, FRSTOR (SDM vol. 1, figures 8-9 to 8-12)
// -----------------------------------------------------

struct EnvironmentLayout {
    bool wide;  // 32-bit operand size
    bool real;  // addresses are linear, not selector and offset

    unsigned size() const { return wide ? 28 : 14; }
};

EnvironmentLayout environment_layout(const Processor& p, const Instruction& i) {
    return {i.stack_width != 2, p.state.in_real_mode() || p.state.in_vm86()};
}

constexpr unsigned save_registers = 80;  // bytes behind the environment
using SaveImage = std::array<std::byte, 28 + save_registers>;

void put_environment(SaveImage& image, const FloatingPointState& fp, EnvironmentLayout layout) {
    const std::uint16_t tags = full_tags(fp, abridged_tags(fp.tag));
    const auto code = static_cast<std::uint32_t>(fp.instruction_pointer);
    const auto data = static_cast<std::uint32_t>(fp.data_pointer);
    const std::uint32_t linear_code = code + (std::uint32_t{fp.instruction_selector} << 4);
    const std::uint32_t linear_data = data + (std::uint32_t{fp.data_selector} << 4);
    if (layout.wide) {
        put<std::uint32_t>(image, 0, 0xffff0000u | fp.control);
        put<std::uint32_t>(image, 4, 0xffff0000u | fp.status);
        put<std::uint32_t>(image, 8, 0xffff0000u | tags);
        if (layout.real) {
            put<std::uint32_t>(image, 12, 0xffff0000u | (linear_code & 0xffff));
            put<std::uint32_t>(image, 16, linear_code >> 16 << 12 | fp.opcode);
            put<std::uint32_t>(image, 20, 0xffff0000u | (linear_data & 0xffff));
            put<std::uint32_t>(image, 24, linear_data >> 16 << 12);
        } else {
            put<std::uint32_t>(image, 12, code);
            put<std::uint32_t>(image, 16, std::uint32_t{fp.opcode} << 16 | fp.instruction_selector);
            put<std::uint32_t>(image, 20, data);
            put<std::uint32_t>(image, 24, 0xffff0000u | fp.data_selector);
        }
        return;
    }
    const auto put16 = [&](std::size_t at, std::uint32_t value) {
        put<std::uint16_t>(image, at, static_cast<std::uint16_t>(value));
    };
    put16(0, fp.control);
    put16(2, fp.status);
    put16(4, tags);
    put16(6, layout.real ? linear_code : code);
    put16(8, layout.real ? (linear_code >> 16 & 0xf) << 12 | fp.opcode : fp.instruction_selector);
    put16(10, layout.real ? linear_data : data);
    put16(12, layout.real ? (linear_data >> 16 & 0xf) << 12 : fp.data_selector);
}

// Where there are no selectors, zeros are stored and whatever is loaded is dropped (SDM vol. 1, 8.1.8).
void drop_selectors(const Processor& p, FloatingPointState& fp) {
    if (p.model.has(Feature::no_fcs_fds)) fp.instruction_selector = fp.data_selector = 0;
}

void take_environment(const SaveImage& image, FloatingPointState& fp, EnvironmentLayout layout) {
    const unsigned step = layout.wide ? 4 : 2;
    const auto low16 = [&](unsigned word) { return take<std::uint16_t>(image, word * step); };
    const auto whole = [&](unsigned word) -> std::uint32_t {
        return layout.wide ? take<std::uint32_t>(image, word * step) : take<std::uint16_t>(image, word * step);
    };
    fp.status = low16(1);
    fp.tag = low16(2);
    if (layout.real) {
        fp.instruction_pointer = low16(3) | whole(4) >> 12 << 16;
        fp.opcode = low16(4) & 0x7ff;
        fp.data_pointer = low16(5) | whole(6) >> 12 << 16;
        fp.instruction_selector = fp.data_selector = 0;
    } else {
        fp.instruction_pointer = whole(3);
        fp.instruction_selector = low16(4);
        // The 16-bit format of protected mode has no room for the opcode.
        fp.opcode = layout.wide ? static_cast<std::uint16_t>(whole(4) >> 16 & 0x7ff) : std::uint16_t{0};
        fp.data_pointer = whole(5);
        fp.data_selector = low16(6);
    }
    set_control(fp, low16(0));
}

void store_environment(Processor& p, const Instruction& i) {
    require_x87(p);
    const EnvironmentLayout layout = environment_layout(p, i);
    SaveImage image{};
    put_environment(image, p.state.floating_point, layout);
    p.store_bytes(i.segment, p.effective_address(i), image.data(), layout.size());
    p.state.floating_point.control |= exception_flags;  // exceptions are masked then
    update_summary(p.state.floating_point);
}

void load_environment(Processor& p, const Instruction& i) {
    require_x87(p);
    require_no_pending_x87_error(p);
    const EnvironmentLayout layout = environment_layout(p, i);
    SaveImage image{};
    p.load_bytes(i.segment, p.effective_address(i), image.data(), layout.size());
    FloatingPointState& fp = p.state.floating_point;
    take_environment(image, fp, layout);
    drop_selectors(p, fp);
    fp.tag = full_tags(fp, abridged_tags(fp.tag));
}

void save(Processor& p, const Instruction& i) {
    require_x87(p);
    const EnvironmentLayout layout = environment_layout(p, i);
    FloatingPointState& fp = p.state.floating_point;
    SaveImage image{};
    put_environment(image, fp, layout);
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& value = fp.registers[(stack_top(fp) + n) & 7];
        put(image, layout.size() + n * 10, value.significand);
        put(image, layout.size() + n * 10 + 8, value.sign_exponent);
    }
    p.store_bytes(i.segment, p.effective_address(i), image.data(), layout.size() + save_registers);
    initialize(fp);
}

void restore(Processor& p, const Instruction& i) {
    require_x87(p);
    require_no_pending_x87_error(p);
    const EnvironmentLayout layout = environment_layout(p, i);
    FloatingPointState& fp = p.state.floating_point;
    SaveImage image{};
    p.load_bytes(i.segment, p.effective_address(i), image.data(), layout.size() + save_registers);
    take_environment(image, fp, layout);
    drop_selectors(p, fp);
    for (unsigned n = 0; n < 8; ++n) {
        X87Register& value = fp.registers[(stack_top(fp) + n) & 7];
        value.significand = take<std::uint64_t>(image, layout.size() + n * 10);
        value.sign_exponent = take<std::uint16_t>(image, layout.size() + n * 10 + 8);
    }
    fp.tag = full_tags(fp, abridged_tags(fp.tag));
}

// --- FXSAVE, FXRSTOR, XSAVE, XRSTOR (SDM vol. 1, 10.5 and 13.4)
// -----------------------------------------------------------

constexpr std::uint64_t x87 = 1, sse = 2, avx = 4;
constexpr unsigned legacy_size = 512, header = 512, upper_halves = 576, largest = 832;
constexpr unsigned mxcsr_at = 24, registers_at = 32, vectors_at = 160;
using StateImage = std::array<std::byte, largest>;

unsigned vector_count(const Processor& p) { return p.code64() ? 16 : 8; }

// The 64-bit form stores whole pointers and no selectors.
void put_x87(StateImage& image, const FloatingPointState& fp, bool wide) {
    put(image, 0, fp.control);
    put(image, 2, fp.status);
    put(image, 4, std::uint16_t{abridged_tags(fp.tag)});
    put(image, 6, fp.opcode);
    put(image, 8, fp.instruction_pointer);
    put(image, 16, fp.data_pointer);
    if (!wide) {
        put(image, 12, std::uint32_t{fp.instruction_selector});
        put(image, 20, std::uint32_t{fp.data_selector});
    }
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& value = fp.registers[(stack_top(fp) + n) & 7];
        put(image, registers_at + n * 16, value.significand);
        put(image, registers_at + n * 16 + 8, std::uint64_t{value.sign_exponent});
    }
}

void take_x87(const StateImage& image, FloatingPointState& fp, bool wide) {
    fp.status = take<std::uint16_t>(image, 2);
    fp.opcode = take<std::uint16_t>(image, 6) & 0x7ff;
    fp.instruction_pointer = wide ? take<std::uint64_t>(image, 8) : take<std::uint32_t>(image, 8);
    fp.data_pointer = wide ? take<std::uint64_t>(image, 16) : take<std::uint32_t>(image, 16);
    fp.instruction_selector = wide ? std::uint16_t{0} : take<std::uint16_t>(image, 12);
    fp.data_selector = wide ? std::uint16_t{0} : take<std::uint16_t>(image, 20);
    for (unsigned n = 0; n < 8; ++n) {
        X87Register& value = fp.registers[(stack_top(fp) + n) & 7];
        value.significand = take<std::uint64_t>(image, registers_at + n * 16);
        value.sign_exponent = take<std::uint16_t>(image, registers_at + n * 16 + 8);
    }
    fp.tag = full_tags(fp, take<std::uint8_t>(image, 4));
    set_control(fp, take<std::uint16_t>(image, 0));
}

void put_vectors(StateImage& image, const FloatingPointState& fp, unsigned count) {
    for (unsigned n = 0; n < count; ++n) std::memcpy(image.data() + vectors_at + n * 16, fp.vector[n].data(), 16);
}
void take_vectors(const StateImage& image, FloatingPointState& fp, unsigned count) {
    for (unsigned n = 0; n < count; ++n) std::memcpy(fp.vector[n].data(), image.data() + vectors_at + n * 16, 16);
}
void put_upper_halves(StateImage& image, const FloatingPointState& fp, unsigned count) {
    for (unsigned n = 0; n < count; ++n) std::memcpy(image.data() + upper_halves + n * 16, fp.vector[n].data() + 2, 16);
}
void take_upper_halves(const StateImage& image, FloatingPointState& fp, unsigned count) {
    for (unsigned n = 0; n < count; ++n) std::memcpy(fp.vector[n].data() + 2, image.data() + upper_halves + n * 16, 16);
}

// FXSAVE and FXRSTOR share their conditions with neither x87 nor SSE instructions.
void require_fxsave(Processor& p, const Instruction& i, mmu::Access access) {
    if ((p.state.cr0 & cr0::em) != 0) p.raise(Vector::invalid_opcode);
    require_task_not_switched(p);
    p.require_aligned(i.segment, p.effective_address(i), 16, access);
}

// Without CR4.OSFXSR the image has no MXCSR and XMM registers; Intel leaves both cases to the implementation.
bool has_vectors(const Processor& p) { return (p.state.cr4 & cr4::osfxsr) != 0; }

void fxsave(Processor& p, const Instruction& i) {
    require_fxsave(p, i, mmu::Access::write);
    const FloatingPointState& fp = p.state.floating_point;
    StateImage image{};
    const std::uint64_t at = p.effective_address(i);
    constexpr unsigned available = 464;  // bytes 464 to 511 are the software's: they are not written
    p.probe_write(i.segment, at, legacy_size);
    put_x87(image, fp, i.stack_width == 8);
    unsigned size = vectors_at;
    put(image, mxcsr_at, fp.mxcsr);
    put(image, mxcsr_at + 4, mxcsr_writable);
    if (has_vectors(p)) {
        put_vectors(image, fp, vector_count(p));
        size = vectors_at + vector_count(p) * 16;
    }
    static_assert(available >= vectors_at + 16 * 16);
    p.store_bytes(i.segment, at, image.data(), size);
}

void fxrstor(Processor& p, const Instruction& i) {
    require_fxsave(p, i, mmu::Access::read);
    StateImage image{};
    p.load_bytes(i.segment, p.effective_address(i), image.data(), legacy_size);
    const auto mxcsr = take<std::uint32_t>(image, mxcsr_at);
    FloatingPointState& fp = p.state.floating_point;
    if (has_vectors(p)) {
        if ((mxcsr & ~mxcsr_writable) != 0) p.raise(Vector::general_protection, 0);
        fp.mxcsr = mxcsr;
        take_vectors(image, fp, vector_count(p));
    }
    take_x87(image, fp, i.stack_width == 8);
    drop_selectors(p, fp);
}

void require_xsave(Processor& p, const Instruction& i, mmu::Access access) {
    if ((p.state.cr4 & cr4::osxsave) == 0) p.raise(Vector::invalid_opcode);
    require_task_not_switched(p);
    p.require_aligned(i.segment, p.effective_address(i), 64, access);
}

std::uint64_t requested_components(const Processor& p) {
    return p.state.xcr0 & (std::uint64_t{p.get<std::uint32_t>(rdx)} << 32 | p.get<std::uint32_t>(rax));
}

// XINUSE (SDM vol. 1, 13.6): which components are not in their initial state. MXCSR counts in the compacted format
// only.
std::uint64_t components_in_use(const Processor& p) {
    const FloatingPointState& fp = p.state.floating_point;
    FloatingPointState initial;
    initialize(initial);
    const bool x87_initial = fp.control == initial.control && fp.status == 0 && fp.tag == 0xffff && fp.opcode == 0 &&
                             fp.instruction_pointer == 0 && fp.data_pointer == 0 && fp.instruction_selector == 0 &&
                             fp.data_selector == 0 && fp.registers == initial.registers;
    std::uint64_t in_use = x87_initial ? 0 : x87;
    for (unsigned n = 0; n < vector_count(p); ++n) {
        if ((fp.vector[n][0] | fp.vector[n][1]) != 0) in_use |= sse;
        if ((fp.vector[n][2] | fp.vector[n][3]) != 0) in_use |= avx;
    }
    return in_use;
}

// SDM vol. 1, 13.7 and 13.9. XSAVEOPT also leaves components unwritten that are in their initial state; that
// they may be left when unmodified since the last XRSTOR is an optimization this processor does not have.
template <bool Optimized>
void xsave(Processor& p, const Instruction& i) {
    require_xsave(p, i, mmu::Access::write);
    const FloatingPointState& fp = p.state.floating_point;
    const std::uint64_t at = p.effective_address(i), requested = requested_components(p), in_use = components_in_use(p);
    const std::uint64_t written = Optimized ? requested & in_use : requested;
    p.probe_write(i.segment, at, (requested & avx) != 0 ? largest : upper_halves);
    const auto old_components = p.load<std::uint64_t>(i.segment, at + header);

    StateImage image{};
    const auto store = [&](unsigned from, unsigned size) {
        p.store_bytes(i.segment, at + from, image.data() + from, size);
    };
    if ((written & x87) != 0) {
        put_x87(image, fp, i.stack_width == 8);
        store(0, mxcsr_at);
        store(registers_at, vectors_at - registers_at);
    }
    // MXCSR belongs to both SSE and AVX, and is written whenever one of them is asked for.
    if ((requested & (sse | avx)) != 0) {
        put(image, mxcsr_at, fp.mxcsr);
        put(image, mxcsr_at + 4, mxcsr_writable);
        store(mxcsr_at, 8);
    }
    if ((written & sse) != 0) {
        put_vectors(image, fp, vector_count(p));
        store(vectors_at, vector_count(p) * 16);
    }
    if ((written & avx) != 0) {
        put_upper_halves(image, fp, vector_count(p));
        store(upper_halves, vector_count(p) * 16);
    }
    p.store<std::uint64_t>(i.segment, at + header, (old_components & ~requested) | (requested & in_use));
}

// The compacted format packs the components asked for; with AVX as the only one behind the header, AVX has the same
// place in both. XCOMP_BV says that the format is this one, and which components it has room for (SDM vol. 1, 13.4.3).
constexpr std::uint64_t compacted = std::uint64_t{1} << 63;

// SDM vol. 1, 13.10 and 13.11: components in their initial state are not written, MXCSR is a part of SSE, and all of
// XSTATE_BV and XCOMP_BV is. Without supervisor components (IA32_XSS is zero) XSAVES is XSAVEC at CPL 0.
template <bool Supervisor>
void xsave_compacted(Processor& p, const Instruction& i) {
    if constexpr (Supervisor) {
        if ((p.state.cr4 & cr4::osxsave) == 0) p.raise(Vector::invalid_opcode);
        p.require_cpl0();
    }
    require_xsave(p, i, mmu::Access::write);
    const FloatingPointState& fp = p.state.floating_point;
    const std::uint64_t at = p.effective_address(i), requested = requested_components(p);
    std::uint64_t in_use = components_in_use(p);
    if (fp.mxcsr != initial_mxcsr) in_use |= sse;
    const std::uint64_t written = requested & in_use;
    p.probe_write(i.segment, at, (requested & avx) != 0 ? largest : upper_halves);

    StateImage image{};
    const auto store = [&](unsigned from, unsigned size) {
        p.store_bytes(i.segment, at + from, image.data() + from, size);
    };
    if ((written & x87) != 0) {
        put_x87(image, fp, i.stack_width == 8);
        store(0, mxcsr_at);
        store(registers_at, vectors_at - registers_at);
    }
    if ((written & sse) != 0) {
        put(image, mxcsr_at, fp.mxcsr);
        put(image, mxcsr_at + 4, mxcsr_writable);
        store(mxcsr_at, 8);
        put_vectors(image, fp, vector_count(p));
        store(vectors_at, vector_count(p) * 16);
    }
    if ((written & avx) != 0) {
        put_upper_halves(image, fp, vector_count(p));
        store(upper_halves, vector_count(p) * 16);
    }
    put(image, header, written);
    put(image, header + 8, requested | compacted);
    store(header, 16);
}

// SDM vol. 1, 13.8 and 13.12. In the standard format XCOMP_BV and the eight bytes behind it must be zero; in the
// compacted one the rest of the header. XRSTORS takes that one only.
template <bool Supervisor>
void xrstor(Processor& p, const Instruction& i) {
    if constexpr (Supervisor) {
        if ((p.state.cr4 & cr4::osxsave) == 0) p.raise(Vector::invalid_opcode);
        p.require_cpl0();
    }
    require_xsave(p, i, mmu::Access::read);
    FloatingPointState& fp = p.state.floating_point;
    const std::uint64_t at = p.effective_address(i), requested = requested_components(p);
    StateImage image{};
    p.load_bytes(i.segment, at, image.data(), (requested & avx) != 0 ? largest : upper_halves);
    const auto present = take<std::uint64_t>(image, header), format = take<std::uint64_t>(image, header + 8);
    const auto refuse = [&] { p.raise(Vector::general_protection, 0); };
    const bool is_compacted = (format & compacted) != 0 && p.model.has(Feature::xsavec);
    if (is_compacted) {
        if ((format & ~compacted & ~p.state.xcr0) != 0 || (present & ~format) != 0) refuse();
        for (unsigned n = 16; n < 64; n += 8)
            if (take<std::uint64_t>(image, header + n) != 0) refuse();
    } else {
        if (Supervisor) refuse();
        if ((present & ~p.state.xcr0) != 0 || format != 0 || take<std::uint64_t>(image, header + 16) != 0) refuse();
    }
    const bool has_sse = (present & sse) != 0;
    const bool loads_mxcsr = is_compacted ? (requested & sse) != 0 : (requested & (sse | avx)) != 0;
    const std::uint32_t mxcsr = is_compacted && !has_sse ? initial_mxcsr : take<std::uint32_t>(image, mxcsr_at);
    if (loads_mxcsr && (mxcsr & ~mxcsr_writable) != 0) refuse();

    const unsigned count = vector_count(p);
    constexpr StateImage zeros{};
    if (loads_mxcsr) fp.mxcsr = mxcsr;
    if ((requested & sse) != 0) take_vectors((present & sse) != 0 ? image : zeros, fp, count);
    if ((requested & avx) != 0) take_upper_halves((present & avx) != 0 ? image : zeros, fp, count);
    if ((requested & x87) != 0) {
        if ((present & x87) != 0) {
            take_x87(image, fp, i.stack_width == 8);
            drop_selectors(p, fp);
        } else {
            initialize(fp);
            fp.registers = {};
        }
    }
}

}  // namespace

std::span<const Row> state_rows() {
    using CostClass::state_save, CostClass::vector;
    static constexpr std::array rows = {
        Row{ZYDIS_MNEMONIC_FNINIT, always<initialize_x87>, CostClass::x87, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FNCLEX, always<clear_exceptions>, CostClass::x87, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FWAIT, always<wait>, CostClass::x87, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FNSTCW, always<store_control>, CostClass::x87, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FLDCW, always<load_control>, CostClass::x87, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FNSTSW, always<store_status>, CostClass::x87, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FNSTENV, always<store_environment>, state_save, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FLDENV, always<load_environment>, state_save, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FNSAVE, always<save>, state_save, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_FRSTOR, always<restore>, state_save, 0, Feature::fpu},
        Row{ZYDIS_MNEMONIC_EMMS, always<empty_mmx>, CostClass::x87, 0, Feature::mmx},
        Row{ZYDIS_MNEMONIC_LDMXCSR, always<load_mxcsr<require_sse>>, vector, 0, Feature::sse},
        Row{ZYDIS_MNEMONIC_STMXCSR, always<store_mxcsr<require_sse>>, vector, 0, Feature::sse},
        Row{ZYDIS_MNEMONIC_VLDMXCSR, always<load_mxcsr<require_avx>>, vector, 0, Feature::avx},
        Row{ZYDIS_MNEMONIC_VSTMXCSR, always<store_mxcsr<require_avx>>, vector, 0, Feature::avx},
        Row{ZYDIS_MNEMONIC_FXSAVE, always<fxsave>, state_save, 0, Feature::fxsr},
        Row{ZYDIS_MNEMONIC_FXSAVE64, always<fxsave>, state_save, 0, Feature::fxsr},
        Row{ZYDIS_MNEMONIC_FXRSTOR, always<fxrstor>, state_save, 0, Feature::fxsr},
        Row{ZYDIS_MNEMONIC_FXRSTOR64, always<fxrstor>, state_save, 0, Feature::fxsr},
        Row{ZYDIS_MNEMONIC_XSAVE, always<xsave<false>>, state_save, 0, Feature::xsave},
        Row{ZYDIS_MNEMONIC_XSAVE64, always<xsave<false>>, state_save, 0, Feature::xsave},
        Row{ZYDIS_MNEMONIC_XSAVEOPT, always<xsave<true>>, state_save, 0, Feature::xsaveopt},
        Row{ZYDIS_MNEMONIC_XSAVEOPT64, always<xsave<true>>, state_save, 0, Feature::xsaveopt},
        Row{ZYDIS_MNEMONIC_XSAVEC, always<xsave_compacted<false>>, state_save, 0, Feature::xsavec},
        Row{ZYDIS_MNEMONIC_XSAVEC64, always<xsave_compacted<false>>, state_save, 0, Feature::xsavec},
        Row{ZYDIS_MNEMONIC_XSAVES, always<xsave_compacted<true>>, state_save, 0, Feature::xsaves},
        Row{ZYDIS_MNEMONIC_XSAVES64, always<xsave_compacted<true>>, state_save, 0, Feature::xsaves},
        Row{ZYDIS_MNEMONIC_XRSTOR, always<xrstor<false>>, state_save, 0, Feature::xsave},
        Row{ZYDIS_MNEMONIC_XRSTOR64, always<xrstor<false>>, state_save, 0, Feature::xsave},
        Row{ZYDIS_MNEMONIC_XRSTORS, always<xrstor<true>>, state_save, 0, Feature::xsaves},
        Row{ZYDIS_MNEMONIC_XRSTORS64, always<xrstor<true>>, state_save, 0, Feature::xsaves},
    };
    return rows;
}

}  // namespace xenolith::cpu
