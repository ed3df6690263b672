// PCI: functions with their configuration space, buses that hold them, and the ports through which a guest finds them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "devices/device.hpp"

namespace xenolith::devices {

// What a base address register asks for.
struct PciBaseAddress {
    enum class Kind : std::uint8_t { none, io, memory_32, memory_64 };  // a 64-bit one takes the next register too
    Kind kind = Kind::none;
    bool prefetchable = false;
    // Bytes, a power of two: at least 4 for ports and 16 for memory, at most 256 ports or, below 64 bits, 2 GiB.
    std::uint64_t size = 0;
};

struct PciIdentity {
    std::uint16_t vendor = 0xffff, device = 0xffff;
    std::uint32_t class_code = 0;  // base class, subclass and interface, 8 bits each
    std::uint8_t revision = 0;
    std::uint16_t subsystem_vendor = 0, subsystem = 0;
    bool multifunction = false;      // to be set for function 0 of a device that has others
    std::uint8_t interrupt_pin = 0;  // 1 to 4 are INTA# to INTD#; 0: none
    bool master = false;             // can be a bus master
};

// One function. A device with registers of its own in configuration space derives from it; for most, an identity and
// base address registers are enough:
//
//     PciFunction disk({.vendor = 0x8086, .device = 0x7010, .class_code = 0x010180, .interrupt_pin = 1},
//                      {{{.kind = PciBaseAddress::Kind::io, .size = 16}}}, attach_where_the_guest_says);
//     bus.attach(1, 1, disk);
class PciFunction {
  public:
    static constexpr unsigned size = 256;  // bytes of configuration space
    static constexpr unsigned base_address_count = 6;
    using BaseAddresses = std::array<PciBaseAddress, base_address_count>;
    // Told what a base address register decodes: the first port or address, or nothing. A window that moves goes
    // away first. Told only of changes; at first there is none.
    using WindowSink = std::function<void(unsigned index, std::optional<std::uint64_t> start)>;

    struct State {
        std::array<std::uint8_t, size> configuration{};
    };

    // std::invalid_argument if an identity or a base address is none.
    explicit PciFunction(const PciIdentity& identity, const BaseAddresses& base_addresses = {}, WindowSink sink = {});
    virtual ~PciFunction() = default;
    PciFunction(const PciFunction&) = delete;
    PciFunction& operator=(const PciFunction&) = delete;

    // `width` 1, 2 or 4; the access stays within a double word.
    std::uint32_t read(unsigned offset, unsigned width) const;
    void write(unsigned offset, unsigned width, std::uint32_t value);

    // What the register decodes now. Nothing while the command register has it off; nor does what the answer to
    // a guest's sizing amounts to, the topmost block of the address space, or a block at 0, where no guest puts one.
    std::optional<std::uint64_t> window(unsigned index) const;
    // The command register lets the function read and write memory.
    bool may_master() const;
    unsigned interrupt_pin() const;

    // The function's interrupt request, before the command register's interrupt-disable bit.
    void set_interrupt(bool asserted);
    // Where it goes.
    void connect_interrupt(InterruptLine& line);

    // RST#: as it was made. An interrupt request is the device's own to withdraw.
    virtual void reset();
    State save() const { return state_; }
    // std::invalid_argument if it is the state of some other function.
    void restore(const State& state);

  protected:
    // For constructors: the value after reset, and the bits that a guest can change.
    void define(unsigned offset, unsigned width, std::uint32_t value, std::uint32_t writable = 0);
    std::uint8_t byte(unsigned offset) const { return state_.configuration[offset]; }

  private:
    // Told after a guest's write, or a restore or reset, changed registers that are not in the header.
    virtual void registers_changed() {}

    void define_base_addresses();
    std::uint32_t word(unsigned offset) const { return read(offset, 4); }
    std::uint16_t command() const;
    void settle();

    BaseAddresses base_addresses_;
    WindowSink sink_;
    std::array<std::uint8_t, size> initial_{};
    std::array<std::uint8_t, size> writable_{};
    State state_;
    std::array<std::optional<std::uint64_t>, base_address_count> told_;
    UnconnectedLine unconnected_;
    InterruptLine* line_ = &unconnected_;
};

// One bus: up to 32 devices of up to 8 functions. Their interrupt pins are wired to four lines, each device's one
// further on than its neighbour's: pin p of device d drives line (d + p - 1) modulo 4.
class PciBus final {
  public:
    static constexpr unsigned device_count = 32, function_count = 8, line_count = 4;

    // `lines` are PIRQA# to PIRQD#, asserted while any function on them asserts its pin.
    explicit PciBus(const std::array<InterruptLine*, line_count>& lines) : lines_(lines) {}
    PciBus(const PciBus&) = delete;
    PciBus& operator=(const PciBus&) = delete;

    // The function outlives the bus. std::invalid_argument if the place does not exist or is taken.
    void attach(unsigned device, unsigned function, PciFunction& what);
    // Null where nothing is.
    PciFunction* find(unsigned device, unsigned function) const;
    static constexpr unsigned line_of(unsigned device, unsigned pin) { return (device + pin - 1) % line_count; }

  private:
    class Pin final : public InterruptLine {
      public:
        void set(bool asserted) override;
        PciBus* owner = nullptr;
        unsigned line = 0;
        bool level = false;
    };

    std::array<InterruptLine*, line_count> lines_;
    std::array<PciFunction*, std::size_t{device_count} * function_count> functions_{};
    std::array<Pin, std::size_t{device_count} * function_count> pins_;
    std::array<unsigned, line_count> asserted_{};  // pins per line
};

// Configuration mechanism 1, ports 0xcf8-0xcff: the address at offset 0 and, behind it, a window of four ports on the
// register that it names. Offset 1 on its own is the reset control register of PC chipsets.
class PciPorts final : public PortDevice {
  public:
    static constexpr std::uint16_t port_count = 8;
    static constexpr std::uint16_t reset_offset = 1;
    // What to write there for a reset of the whole machine.
    static constexpr std::uint8_t full_reset = 0x06;
    // Told that the guest asked for a reset: of the machine, or (hard false) of the CPU alone, by INIT. The write's
    // instruction still completes.
    using Sink = std::function<void(bool hard)>;

    struct State {
        std::uint32_t address = 0;
        std::uint8_t reset_control = 0;
    };

    explicit PciPorts(Sink reset_sink);
    // The bus outlives this. std::invalid_argument if the number is taken or above 255.
    void attach(unsigned number, PciBus& bus);

    std::uint32_t read(std::uint16_t offset, unsigned width) override;
    void write(std::uint16_t offset, unsigned width, std::uint32_t value) override;

    void reset() { state_ = {}; }
    State save() const { return state_; }
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    PciFunction* selected() const;
    void write_reset_control(std::uint8_t value);

    std::array<PciBus*, 256> buses_{};
    Sink reset_sink_;
    State state_;
};

}  // namespace xenolith::devices
