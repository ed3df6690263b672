#include "cpu/state/cpu_state.hpp"

namespace xenolith::cpu {

namespace {
constexpr std::uint32_t present = SegmentAttributes::present_bit, code_or_data = SegmentAttributes::s;
constexpr std::uint32_t code_type = 0xb, data_type = 0x3;  // execute/read and read/write, accessed
constexpr std::uint32_t busy_tss32_type = 0xb, ldt_type = 0x2;
}  // namespace

SegmentRegister real_mode_segment(std::uint16_t selector) {
    return {selector, std::uint64_t{selector} << 4, 0xffff, {present | code_or_data | data_type}};
}

SegmentRegister flat_code_segment(std::uint16_t selector, unsigned code_width, unsigned dpl) {
    std::uint32_t bits = present | code_or_data | code_type | dpl << 5;
    if (code_width == 64) bits |= SegmentAttributes::l;
    if (code_width == 32) bits |= SegmentAttributes::db;
    if (code_width == 16) return {selector, 0, 0xffff, {bits}};
    return {selector, 0, 0xffffffff, {bits | SegmentAttributes::g}};
}

SegmentRegister flat_data_segment(std::uint16_t selector, unsigned dpl) {
    return {selector,
            0,
            0xffffffff,
            {present | code_or_data | data_type | dpl << 5 | SegmentAttributes::db | SegmentAttributes::g}};
}

CpuState reset_state() {
    CpuState state;
    state.registers[rdx] = 0x000106a0;
    state.rip = 0xfff0;
    state.cr0 = cr0::et | cr0::nw | cr0::cd;
    for (SegmentRegister& segment : state.segments) segment = real_mode_segment(0);
    SegmentRegister& code = state.segment(SegmentName::cs);
    code.selector = 0xf000;
    code.base = 0xffff0000;
    code.attributes.bits = present | code_or_data | code_type;
    state.gdtr = {0, 0xffff};
    state.idtr = {0, 0xffff};
    state.ldtr = {0, 0, 0xffff, {present | ldt_type}};
    state.tr = {0, 0, 0xffff, {present | busy_tss32_type}};
    return state;
}

}  // namespace xenolith::cpu
