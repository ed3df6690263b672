// The hypercall table, the calling convention, and how calls read.
#include "xen/hypercalls.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "xen/hypercall_exit.hpp"

namespace xenolith::xen {
namespace {

using testing::ElementsAre;

TEST(HypercallTable, IsSortedAndNamesEveryNumberOnce) {
    std::uint32_t next = 0;
    for (const HypercallRow& row : hypercall_table()) {
        SCOPED_TRACE(row.number);
        EXPECT_GE(row.number, next);
        next = row.number + 1;
        EXPECT_FALSE(row.name.empty());
        EXPECT_EQ(find_hypercall(row.number), &row);
        EXPECT_LE(row.arguments_64, 6);
        EXPECT_LE(row.arguments_32, 6);
    }
    EXPECT_EQ(next, 56u);
}

TEST(HypercallTable, HasTheNumbersOfTheContract) {
    const std::pair<std::uint32_t, std::string_view> rows[] = {
        {12, "memory_op"},  {13, "multicall"},        {15, "set_timer_op"}, {17, "xen_version"},
        {18, "console_io"}, {20, "grant_table_op"},   {21, "vm_assist"},    {24, "vcpu_op"},
        {29, "sched_op"},   {32, "event_channel_op"}, {33, "physdev_op"},   {34, "hvm_op"},
    };
    for (const auto& [number, name] : rows) EXPECT_EQ(hypercall_name(number), name);
    for (const std::uint64_t number : {11ull, 43ull, 47ull, 56ull, 0x1'0000'0011ull, ~0ull}) {
        EXPECT_EQ(find_hypercall(number), nullptr);
        EXPECT_EQ(hypercall_name(number), "");
    }
}

// Register n holds n in both halves, with the upper half marked.
HypercallRegisters numbered() {
    HypercallRegisters registers;
    for (std::uint64_t n = 0; n < 16; ++n) registers.general[n] = (0xabcd'0000 + n) << 32 | n;
    return registers;
}

TEST(HypercallDecoding, Takes64BitArguments) {
    HypercallRegisters registers = numbered();
    registers.long_mode_code = true;
    const Hypercall call = decode_hypercall(2, registers);
    EXPECT_EQ(call.vcpu, 2u);
    EXPECT_EQ(call.number, registers.general[0]);
    // RDI RSI RDX R10 R8 R9
    EXPECT_THAT(call.arguments, ElementsAre(registers.general[7], registers.general[6], registers.general[2],
                                            registers.general[10], registers.general[8], registers.general[9]));
}

TEST(HypercallDecoding, IgnoresUpperHalvesOutside64BitCode) {
    const Hypercall call = decode_hypercall(0, numbered());
    EXPECT_EQ(call.number, 0u);
    EXPECT_THAT(call.arguments, ElementsAre(3, 1, 2, 6, 7, 5));  // EBX ECX EDX ESI EDI EBP
    EXPECT_EQ(decode_hypercall(0, numbered(), 0xffff'ffff'0000'0011).number, 0x11u);
}

struct Caller {
    unsigned cpl;
    bool vm86;
    bool permitted;
};

TEST(HypercallDecoding, PermitsCpl0Only) {
    for (const Caller& row : {Caller{0, false, true}, Caller{1, false, false}, Caller{2, false, false},
                              Caller{3, false, false}, Caller{0, true, false}, Caller{3, true, false}}) {
        HypercallRegisters registers;
        registers.cpl = row.cpl;
        registers.vm86 = row.vm86;
        EXPECT_EQ(decode_hypercall(0, registers).permitted(), row.permitted);
    }
}

TEST(HypercallDecoding, GivesResultsTheWidthOfTheCaller) {
    Hypercall call;
    call.long_mode_code = true;
    EXPECT_EQ(result_register(call, -38), 0xffff'ffff'ffff'ffda);
    call.long_mode_code = false;
    EXPECT_EQ(result_register(call, -38), 0xffff'ffda);
    EXPECT_EQ(result_register(call, 0x40011), 0x40011u);
}

TEST(HypercallExit, CarriesACallThereAndBack) {
    HypercallRegisters registers = numbered();
    registers.long_mode_code = true;
    registers.cpl = 3;
    const Hypercall call = decode_hypercall(4, registers);
    const HypercallExit exit = make_hypercall_exit(call);
    EXPECT_EQ(exit.type, 1u);
    EXPECT_EQ(exit.longmode, 1u);
    EXPECT_EQ(exit.cpl, 3u);
    EXPECT_EQ(exit.input, call.number);
    EXPECT_EQ(exit.params, call.arguments);
    const Hypercall back = decode_hypercall(4, exit);
    EXPECT_EQ(back.number, call.number);
    EXPECT_EQ(back.arguments, call.arguments);
    EXPECT_TRUE(back.long_mode_code);
    EXPECT_FALSE(back.permitted());
    EXPECT_EQ(make_hypercall_exit(decode_hypercall(0, numbered())).longmode, 0u);
}

TEST(HypercallExit, CompletesWhereItStood) {
    EXPECT_TRUE(hypercall_completes({0x1000}, {0x1000}));
    EXPECT_FALSE(hypercall_completes({0x1000}, {0x1003}));
}

struct Form {
    std::uint64_t number;
    bool long_mode;
    std::array<std::uint64_t, 6> arguments;
    std::string_view text;
};

TEST(HypercallFormat, ReadsLikeACall) {
    const Form rows[] = {
        {17, true, {6, 0xffffffff82803e50}, "xen_version(XENVER_get_features, 0xffffffff82803e50)"},
        {17, true, {11, 0}, "xen_version(11, 0)"},
        {12, true, {7, 0x1000}, "memory_op(XENMEM_add_to_physmap, 0x1000)"},
        {34, false, {1, 0xc0de}, "hvm_op(HVMOP_get_param, 0xc0de)"},
        {32, true, {11, 4095}, "event_channel_op(EVTCHNOP_init_control, 4095)"},
        {24, true, {10, 1, 0x2000}, "vcpu_op(VCPUOP_register_vcpu_info, 1, 0x2000)"},
        {29, true, {2, 0x3000}, "sched_op(SCHEDOP_shutdown, 0x3000)"},
        {20, true, {6, 0x4000, 1}, "grant_table_op(GNTTABOP_query_size, 0x4000, 1)"},
        {33, true, {13, 0x5000}, "physdev_op(PHYSDEVOP_map_pirq, 0x5000)"},
        {18, true, {0, 5, 0x6000}, "console_io(CONSOLEIO_write, 5, 0x6000)"},
        {15, true, {0x7000, 9}, "set_timer_op(0x7000)"},
        {15, false, {0x7000, 9}, "set_timer_op(0x7000, 9)"},
        {23, true, {1}, "iret()"},
        {99, true, {1, 2, 3, 4, 5, 6}, "hypercall 99(1, 2, 3, 4, 5, 6)"},
    };
    for (const Form& row : rows) {
        Hypercall call;
        call.number = row.number;
        call.long_mode_code = row.long_mode;
        call.arguments = row.arguments;
        EXPECT_EQ(format_hypercall(call), row.text);
    }
}

TEST(HypercallFormat, NamesErrors) {
    EXPECT_EQ(format_result(0), "0");
    EXPECT_EQ(format_result(0x40011), "0x40011");
    EXPECT_EQ(format_result(-38), "-ENOSYS");
    EXPECT_EQ(format_result(-14), "-EFAULT");
    EXPECT_EQ(format_result(-1000), "-1000");
    EXPECT_EQ(format_result(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
}

}  // namespace
}  // namespace xenolith::xen
