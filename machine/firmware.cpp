// The layout of the BIOS data area and the vectors' meanings are the IBM PC AT technical reference's.
#include "machine/firmware.hpp"

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "machine/memory_map.hpp"

namespace xenolith::machine {

namespace {

// Handlers, as offsets in segment F000h, well above the ACPI tables.
constexpr std::uint16_t bios_call = 0xf000, master_interrupt = 0xf020, slave_interrupt = 0xf040, nothing = 0xf060;
constexpr unsigned vector_count = 256, first_master = 0x08, first_slave = 0x70, lines = 8;

void put(mmu::GuestMemory& memory, std::uint64_t address, std::initializer_list<unsigned> values) {
    std::vector<std::byte> bytes;
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
    memory.write({address}, bytes);
}

void put16(mmu::GuestMemory& memory, std::uint64_t address, std::uint64_t value) {
    put(memory, address, {static_cast<unsigned>(value & 0xff), static_cast<unsigned>(value >> 8 & 0xff)});
}

// Where the first serial port and the extended area are, which equipment there is (an 80-column display, one serial
// port), and how much memory lies below 640 KiB.
void write_bios_data_area(mmu::GuestMemory& memory) {
    constexpr std::uint64_t area = memory_map::bios_data_area.value, extended = memory_map::ebda.value;
    put16(memory, area, memory_map::port::serial1);
    put16(memory, area + 0x0e, extended >> 4);
    put16(memory, area + 0x10, 1 << 9 | 2 << 4);
    put16(memory, area + 0x13, extended >> 10);
    put16(memory, extended, memory_map::ebda_size >> 10);
}

std::uint16_t handler_of(unsigned vector) {
    if (vector >= first_master && vector < first_master + lines) return master_interrupt;
    if (vector >= first_slave && vector < first_slave + lines) return slave_interrupt;
    return vector < first_master ? nothing : bios_call;
}

void write_vectors(mmu::GuestMemory& memory) {
    constexpr std::uint64_t area = memory_map::firmware_area.value;
    // push bp; mov bp, sp; or byte [bp + 6], 1; pop bp; mov ah, 0x86; iret
    put(memory, area + bios_call, {0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xb4, 0x86, 0xcf});
    // push ax; mov al, 0x20; out 0x20, al; pop ax; iret
    put(memory, area + master_interrupt, {0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf});
    // The same, the slave first.
    put(memory, area + slave_interrupt, {0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf});
    put(memory, area + nothing, {0xcf});  // iret
    for (unsigned vector = 0; vector < vector_count; ++vector) {
        put16(memory, vector * 4, handler_of(vector));
        put16(memory, vector * 4 + 2, area >> 4);
    }
}

}  // namespace

void write_firmware(mmu::GuestMemory& memory) {
    write_vectors(memory);
    write_bios_data_area(memory);
}

}  // namespace xenolith::machine
