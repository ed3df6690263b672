// ACPI Specification 6.3, 5.2: 5.2.5 RSDP, 5.2.6 header, 5.2.7 RSDT, 5.2.8 XSDT, 5.2.9 FADT, 5.2.10 FACS, 5.2.12 MADT;
// IA-PC HPET Specification 1.0a, 3.2.4 "The ACPI 2.0 HPET description table".
//
// The root pointer comes first, then the tables, each on a boundary of 16 bytes (the FACS of 64), in an order in which
// every table is in place before another one points to it.
#include "machine/acpi_tables.hpp"

#include <numeric>
#include <span>
#include <stdexcept>
#include <string_view>

#include "devices/acpi_pm.hpp"
#include "devices/pci.hpp"
#include "loader/boot_record.hpp"

namespace xenolith::machine {

namespace {

using devices::AcpiPm;
using loader::BootRecord;

constexpr std::string_view oem_id = "XENOLI", oem_table_id = "XENOLITH", creator_id = "XENO";
constexpr std::uint64_t four_gibibytes = std::uint64_t{1} << 32;
constexpr unsigned isa_irqs = 16, io_apic_inputs = 24, most_processors = 254;

constexpr std::size_t rsdp_size = 36, rsdp_size_revision_0 = 20;
constexpr std::size_t header_size = 36, length_field = 4, checksum_field = 9;
constexpr std::size_t fadt_size = 276, facs_size = 64;

// FADT: offsets.
namespace fadt {
constexpr std::size_t facs = 36, dsdt = 40, profile = 45, sci = 46, smi_command = 48, acpi_enable = 52,
                      acpi_disable = 53, pm1a_event = 56, pm1a_control = 64, timer = 76, gpe0 = 80,
                      pm1_event_length = 88, pm1_control_length = 89, timer_length = 91, gpe0_length = 92,
                      c2_latency = 96, c3_latency = 98, century = 108, boot_architecture = 109, flags = 112,
                      reset_register = 116, reset_value = 128, minor_revision = 131, wide_dsdt = 140,
                      wide_pm1a_event = 148, wide_pm1a_control = 172, wide_timer = 208, wide_gpe0 = 220;
constexpr std::uint8_t desktop = 1;
constexpr std::uint16_t no_c2 = 101, no_c3 = 1001;  // microseconds: more than such a state may take
constexpr std::uint8_t cmos_century = 0x32;
// Boot architecture.
constexpr std::uint16_t legacy_devices = 1u << 0, has_8042 = 1u << 1, vga_not_present = 1u << 2;
// Flags: WBINVD works, C1 on every processor, no sleep button, the clock's alarm wakes nobody, a 32-bit timer, and the
// reset register is there.
constexpr std::uint32_t wbinvd = 1u << 0, processor_c1 = 1u << 2, no_sleep_button = 1u << 5, no_alarm = 1u << 6,
                        timer_32_bit = 1u << 8, has_reset_register = 1u << 10;
}  // namespace fadt

// 5.2.3.2 generic address structure.
constexpr std::uint8_t space_memory = 0, space_io = 1;
enum class AccessSize : std::uint8_t { undefined = 0, byte = 1, word = 2, dword = 3 };

// MADT: 5.2.12.
constexpr std::uint32_t has_8259s = 1;
constexpr std::uint16_t active_high_level = 0x0d;

void put_letters(BootRecord& record, std::size_t offset, std::string_view letters) {
    record.put_bytes(offset, std::as_bytes(std::span(letters)));
}

std::uint8_t checksum(std::span<const std::byte> bytes) {
    unsigned sum = 0;
    for (const std::byte value : bytes) sum += std::to_integer<unsigned>(value);
    return static_cast<std::uint8_t>(0x100 - (sum & 0xff));
}

void put_generic_address(BootRecord& record, std::size_t offset, std::uint8_t space, unsigned bits, AccessSize access,
                         std::uint64_t address) {
    record.put8(offset, space);
    record.put8(offset + 1, static_cast<std::uint8_t>(bits));
    record.put8(offset + 2, 0);
    record.put8(offset + 3, static_cast<std::uint8_t>(access));
    record.put64(offset + 4, address);
}

// A table as a record that ends with what was put into it last.
BootRecord table(std::string_view signature, std::uint8_t revision, std::size_t size = header_size) {
    BootRecord record(size);
    put_letters(record, 0, signature);
    record.put8(8, revision);
    put_letters(record, 10, oem_id);
    put_letters(record, 16, oem_table_id);
    record.put32(24, 1);
    put_letters(record, 28, creator_id);
    record.put32(32, 1);
    return record;
}

void finish(BootRecord& record) {
    record.put32(length_field, static_cast<std::uint32_t>(record.size()));
    record.put8(checksum_field, checksum(record.bytes()));
}

class ImageBuilder {
  public:
    explicit ImageBuilder(const AcpiBoard& board) : board_(board) {
        image_.base = image_.rsdp = board.area;
        place("RSD PTR ", BootRecord(rsdp_size), 16);
    }

    mmu::GuestPhysical place_table(BootRecord record) {
        finish(record);
        return place(signature_of(record), record, 16);
    }
    mmu::GuestPhysical place(const std::string& signature, const BootRecord& record, std::size_t alignment) {
        const std::size_t offset = (bytes_.size() + alignment - 1) / alignment * alignment;
        if (offset + record.size() > board_.area_size) throw std::length_error("ACPI: the tables do not fit");
        bytes_.put_bytes(offset, record.bytes());
        image_.tables.push_back({signature, image_.base + offset, record.size()});
        return image_.tables.back().address;
    }
    AcpiImage result(mmu::GuestPhysical rsdt, mmu::GuestPhysical xsdt) {
        BootRecord rsdp(rsdp_size);
        put_letters(rsdp, 0, "RSD PTR ");
        put_letters(rsdp, 9, oem_id);
        rsdp.put8(15, 2);  // revision
        rsdp.put32(16, static_cast<std::uint32_t>(rsdt.value));
        rsdp.put32(20, rsdp_size);
        rsdp.put64(24, xsdt.value);
        rsdp.put8(8, checksum(rsdp.bytes().first(rsdp_size_revision_0)));
        rsdp.put8(32, checksum(rsdp.bytes()));
        bytes_.put_bytes(0, rsdp.bytes());
        image_.bytes.assign(bytes_.bytes().begin(), bytes_.bytes().end());
        return image_;
    }

  private:
    static std::string signature_of(const BootRecord& record) {
        std::string signature;
        for (const std::byte letter : record.bytes().first(4)) signature += static_cast<char>(letter);
        return signature;
    }

    const AcpiBoard& board_;
    BootRecord bytes_;
    AcpiImage image_;
};

BootRecord facs() {
    BootRecord record(facs_size);
    put_letters(record, 0, "FACS");
    record.put32(length_field, facs_size);
    record.put8(32, 2);  // version
    return record;
}

BootRecord dsdt(const AcpiBoard& board) {
    BootRecord record = table("DSDT", 2);
    const std::vector<std::uint8_t> block = build_acpi_namespace(board);
    record.put_bytes(header_size, std::as_bytes(std::span(block)));
    return record;
}

// A register block: its port, 32 bits wide and as a generic address.
void put_block(BootRecord& record, std::size_t narrow, std::size_t wide, unsigned port, unsigned bytes,
               AccessSize access) {
    record.put32(narrow, port);
    put_generic_address(record, wide, space_io, 8 * bytes, access, port);
}

BootRecord fixed_description(const AcpiBoard& board, mmu::GuestPhysical facs_address, mmu::GuestPhysical dsdt_address) {
    constexpr std::uint8_t revision = 6, minor_revision = 3;
    const unsigned block = board.power_management;
    BootRecord record = table("FACP", revision, fadt_size);
    record.put8(fadt::minor_revision, minor_revision);
    record.put32(fadt::facs, static_cast<std::uint32_t>(facs_address.value));
    record.put32(fadt::dsdt, static_cast<std::uint32_t>(dsdt_address.value));
    record.put64(fadt::wide_dsdt, dsdt_address.value);
    record.put8(fadt::profile, fadt::desktop);
    record.put16(fadt::sci, static_cast<std::uint16_t>(board.sci));
    record.put32(fadt::smi_command, board.smi_command);
    record.put8(fadt::acpi_enable, AcpiPm::acpi_enable);
    record.put8(fadt::acpi_disable, AcpiPm::acpi_disable);
    put_block(record, fadt::pm1a_event, fadt::wide_pm1a_event, block + AcpiPm::pm1_event_offset,
              AcpiPm::pm1_event_length, AccessSize::word);
    put_block(record, fadt::pm1a_control, fadt::wide_pm1a_control, block + AcpiPm::pm1_control_offset,
              AcpiPm::pm1_control_length, AccessSize::word);
    put_block(record, fadt::timer, fadt::wide_timer, block + AcpiPm::timer_offset, AcpiPm::timer_length,
              AccessSize::dword);
    put_block(record, fadt::gpe0, fadt::wide_gpe0, block + AcpiPm::gpe0_offset, AcpiPm::gpe0_length, AccessSize::byte);
    record.put8(fadt::pm1_event_length, AcpiPm::pm1_event_length);
    record.put8(fadt::pm1_control_length, AcpiPm::pm1_control_length);
    record.put8(fadt::timer_length, AcpiPm::timer_length);
    record.put8(fadt::gpe0_length, AcpiPm::gpe0_length);
    record.put16(fadt::c2_latency, fadt::no_c2);
    record.put16(fadt::c3_latency, fadt::no_c3);
    record.put8(fadt::century, fadt::cmos_century);
    record.put16(fadt::boot_architecture, static_cast<std::uint16_t>(fadt::legacy_devices | fadt::has_8042 |
                                                                     (board.vga ? 0 : fadt::vga_not_present)));
    record.put32(fadt::flags, fadt::wbinvd | fadt::processor_c1 | fadt::no_sleep_button | fadt::no_alarm |
                                  fadt::timer_32_bit | fadt::has_reset_register);
    put_generic_address(record, fadt::reset_register, space_io, 8, AccessSize::byte,
                        board.pci + devices::PciPorts::reset_offset);
    record.put8(fadt::reset_value, devices::PciPorts::full_reset);
    return record;
}

void append_source_override(BootRecord& record, unsigned irq, unsigned input, std::uint16_t flags) {
    const std::size_t at = record.size();
    record.put8(at, 2);
    record.put8(at + 1, 10);
    record.put8(at + 2, 0);  // ISA
    record.put8(at + 3, static_cast<std::uint8_t>(irq));
    record.put32(at + 4, input);
    record.put16(at + 8, flags);
}

BootRecord interrupt_controllers(const AcpiBoard& board) {
    constexpr std::uint8_t revision = 5;
    BootRecord record = table("APIC", revision);
    record.put32(36, static_cast<std::uint32_t>(board.local_apic.value));
    record.put32(40, has_8259s);
    for (unsigned number = 0; number < board.processors; ++number) {
        const std::size_t at = record.size();
        record.put8(at, 0);  // local APIC
        record.put8(at + 1, 8);
        record.put8(at + 2, static_cast<std::uint8_t>(number));  // _UID
        record.put8(at + 3, static_cast<std::uint8_t>(number));
        record.put32(at + 4, 1);  // enabled
    }
    const std::size_t io_apic = record.size();
    record.put8(io_apic, 1);
    record.put8(io_apic + 1, 12);
    record.put8(io_apic + 2, board.io_apic_id);
    record.put32(io_apic + 4, static_cast<std::uint32_t>(board.io_apic.value));
    record.put32(io_apic + 8, 0);  // its first global interrupt
    if (board.timer_input != 0) append_source_override(record, memory_map::irq::timer, board.timer_input, 0);
    append_source_override(record, board.sci, board.sci, active_high_level);
    const std::size_t nmi = record.size();
    record.put8(nmi, 4);
    record.put8(nmi + 1, 6);
    record.put8(nmi + 2, 0xff);  // every processor
    record.put16(nmi + 3, 0);
    record.put8(nmi + 5, 1);  // LINT1
    return record;
}

BootRecord event_timers(const AcpiBoard& board) {
    constexpr std::uint16_t shortest = static_cast<std::uint16_t>(devices::Hpet::shortest_period);
    BootRecord record = table("HPET", 1);
    record.put32(36, board.hpet_block_id);
    put_generic_address(record, 40, space_memory, 64, AccessSize::undefined, board.hpet_address.value);
    record.put8(52, 0);  // the first
    record.put16(53, shortest);
    record.put8(55, 0);
    return record;
}

BootRecord root(std::string_view signature, std::span<const mmu::GuestPhysical> tables, unsigned width) {
    BootRecord record = table(signature, 1);
    for (const mmu::GuestPhysical address : tables) {
        if (width == 8) {
            record.put64(record.size(), address.value);
        } else {
            record.put32(record.size(), static_cast<std::uint32_t>(address.value));
        }
    }
    return record;
}

void check(const AcpiBoard& board) {
    const auto fits = [](mmu::GuestPhysical start, std::uint64_t size) {
        return start.value < four_gibibytes && size <= four_gibibytes - start.value;
    };
    bool good = board.processors >= 1 && board.processors <= most_processors && board.sci < isa_irqs &&
                board.timer_input < io_apic_inputs && fits(board.area, board.area_size) && board.area.value % 64 == 0 &&
                fits(board.local_apic, mmu::page_size) && fits(board.io_apic, mmu::page_size) &&
                fits(board.hpet_address, devices::Hpet::size) && board.pci_window_size != 0 &&
                fits(board.pci_window, board.pci_window_size) && board.pci != 0 &&
                board.pci < 0x10000 - devices::PciPorts::port_count &&
                board.power_management <= 0x10000 - AcpiPm::port_count;
    for (const unsigned irq : board.pirq_irqs) good = good && irq < isa_irqs;
    for (const unsigned input : board.pirq_inputs) good = good && input < io_apic_inputs;
    if (!good) throw std::invalid_argument("ACPI: the tables cannot describe such a board");
}

}  // namespace

AcpiImage build_acpi_tables(const AcpiBoard& board) {
    check(board);
    ImageBuilder builder(board);
    const mmu::GuestPhysical facs_address = builder.place("FACS", facs(), 64);
    const mmu::GuestPhysical dsdt_address = builder.place_table(dsdt(board));
    std::vector<mmu::GuestPhysical> tables{
        builder.place_table(fixed_description(board, facs_address, dsdt_address)),
        builder.place_table(interrupt_controllers(board)),
    };
    if (board.hpet) tables.push_back(builder.place_table(event_timers(board)));
    const mmu::GuestPhysical rsdt = builder.place_table(root("RSDT", tables, 4));
    const mmu::GuestPhysical xsdt = builder.place_table(root("XSDT", tables, 8));
    return builder.result(rsdt, xsdt);
}

}  // namespace xenolith::machine
