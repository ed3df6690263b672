#include "cpu/isa/io_permission.hpp"

namespace xenolith::cpu {

void check_io_permission(Processor& processor, std::uint16_t port, unsigned width) {
    const CpuState& state = processor.state;
    if (state.in_real_mode()) return;
    const auto iopl = static_cast<unsigned>((state.rflags & rflags::iopl) >> rflags::iopl_shift);
    if (!state.in_vm86() && processor.cpl() <= iopl) return;
    // Only a 32- or 64-bit TSS has a bitmap; its offset is the word at 66H.
    constexpr std::uint32_t map_base_offset = 0x66;
    const SegmentRegister& task = state.tr;
    const auto refuse = [&] { processor.raise(Vector::general_protection, 0); };
    const bool has_map = !task.attributes.unusable() && (task.attributes.type() & 8) != 0;
    if (!has_map || task.limit < map_base_offset + 1) refuse();
    const std::uint32_t map = processor.load_system<std::uint16_t>(task.base + map_base_offset);
    // Two bytes are always read, so that ports on both sides of a byte boundary are seen: both must be in the
    // TSS.
    const std::uint32_t at = map + port / 8u;
    if (at + 1 > task.limit) refuse();
    const unsigned bits = unsigned{processor.load_system<std::uint16_t>(task.base + at)} >> (port & 7);
    if ((bits & ((1u << width) - 1)) != 0) refuse();
}

}  // namespace xenolith::cpu
