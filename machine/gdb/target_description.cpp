// The form of the document is that of gdb's manual, "Target Description Format"; of the names of types, what is not
// described here is among its "Predefined Target Types".
#include <fmt/format.h>

#include "machine/gdb/registers.hpp"

namespace xenolith::machine::gdb {

namespace {

struct Bits {
    std::string_view name;
    unsigned first, last;
};

// A type whose bits gdb shows by name.
std::string flags_type(std::string_view name, unsigned size, std::initializer_list<Bits> fields) {
    std::string text = fmt::format("<flags id=\"{}\" size=\"{}\">\n", name, size);
    for (const Bits& field : fields)
        text += fmt::format("  <field name=\"{}\" start=\"{}\" end=\"{}\"/>\n", field.name, field.first, field.last);
    return text + "</flags>\n";
}

// SDM vol. 1, 3.4.3.
std::string core_types() {
    return flags_type("i386_eflags", 4,
                      {{"CF", 0, 0},
                       {"PF", 2, 2},
                       {"AF", 4, 4},
                       {"ZF", 6, 6},
                       {"SF", 7, 7},
                       {"TF", 8, 8},
                       {"IF", 9, 9},
                       {"DF", 10, 10},
                       {"OF", 11, 11},
                       {"IOPL", 12, 13},
                       {"NT", 14, 14},
                       {"RF", 16, 16},
                       {"VM", 17, 17},
                       {"AC", 18, 18},
                       {"VIF", 19, 19},
                       {"VIP", 20, 20},
                       {"ID", 21, 21}});
}

// SDM vol. 1, 10.2.3.
std::string vector_types() {
    struct View {
        std::string_view name, element;
        unsigned count;
    };
    constexpr View views[] = {{"v4_float", "ieee_single", 4}, {"v2_double", "ieee_double", 2},
                              {"v16_int8", "int8", 16},       {"v8_int16", "int16", 8},
                              {"v4_int32", "int32", 4},       {"v2_int64", "int64", 2}};
    std::string vectors, members;
    for (const View& view : views) {
        vectors += fmt::format("<vector id=\"{}\" type=\"{}\" count=\"{}\"/>\n", view.name, view.element, view.count);
        members += fmt::format("  <field name=\"{0}\" type=\"{0}\"/>\n", view.name);
    }
    return vectors + "<union id=\"vec128\">\n" + members + "  <field name=\"uint128\" type=\"uint128\"/>\n</union>\n" +
           flags_type("i386_mxcsr", 4,
                      {{"IE", 0, 0},
                       {"DE", 1, 1},
                       {"ZE", 2, 2},
                       {"OE", 3, 3},
                       {"UE", 4, 4},
                       {"PE", 5, 5},
                       {"DAZ", 6, 6},
                       {"IM", 7, 7},
                       {"DM", 8, 8},
                       {"ZM", 9, 9},
                       {"OM", 10, 10},
                       {"UM", 11, 11},
                       {"PM", 12, 12},
                       {"RC", 13, 14},
                       {"FZ", 15, 15}});
}

// SDM vol. 3A, 2.5, 2.2.1 and 3.4.5.
std::string system_types() {
    return flags_type("cr0_flags", 4,
                      {{"PE", 0, 0},
                       {"MP", 1, 1},
                       {"EM", 2, 2},
                       {"TS", 3, 3},
                       {"ET", 4, 4},
                       {"NE", 5, 5},
                       {"WP", 16, 16},
                       {"AM", 18, 18},
                       {"NW", 29, 29},
                       {"CD", 30, 30},
                       {"PG", 31, 31}}) +
           flags_type("cr4_flags", 4,
                      {{"VME", 0, 0},
                       {"PVI", 1, 1},
                       {"TSD", 2, 2},
                       {"DE", 3, 3},
                       {"PSE", 4, 4},
                       {"PAE", 5, 5},
                       {"MCE", 6, 6},
                       {"PGE", 7, 7},
                       {"PCE", 8, 8},
                       {"OSFXSR", 9, 9},
                       {"OSXMMEXCPT", 10, 10},
                       {"UMIP", 11, 11},
                       {"FSGSBASE", 16, 16},
                       {"PCIDE", 17, 17},
                       {"OSXSAVE", 18, 18},
                       {"SMEP", 20, 20},
                       {"SMAP", 21, 21}}) +
           flags_type("efer_flags", 4, {{"SCE", 0, 0}, {"LME", 8, 8}, {"LMA", 10, 10}, {"NXE", 11, 11}}) +
           flags_type("segment_attributes", 4,
                      {{"type", 0, 3},
                       {"S", 4, 4},
                       {"DPL", 5, 6},
                       {"P", 7, 7},
                       {"AVL", 12, 12},
                       {"L", 13, 13},
                       {"DB", 14, 14},
                       {"G", 15, 15},
                       {"unusable", 16, 16}});
}

std::string types_of(const Feature& feature) {
    if (feature.name.ends_with(".core")) return core_types();
    if (feature.name.ends_with(".sse")) return vector_types();
    if (feature.name.ends_with(".system")) return system_types();
    return {};
}

}  // namespace

std::string target_description(Architecture architecture, std::span<const Feature> features) {
    std::string text = fmt::format(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target>\n"
        "<architecture>{}</architecture>\n<osabi>none</osabi>\n",
        architecture_name(architecture));
    for (const Feature& feature : features) {
        text += fmt::format("<feature name=\"{}\">\n{}", feature.name, types_of(feature));
        for (const Register& one : feature.registers)
            text += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\"{}/>\n", one.name, one.bits, one.type,
                                one.group.empty() ? "" : fmt::format(" group=\"{}\"", one.group));
        text += "</feature>\n";
    }
    return text + "</target>\n";
}

}  // namespace xenolith::machine::gdb
