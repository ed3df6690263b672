// What a device shows to the bus: ports or memory as offsets and widths, and the wires that leave it.
#pragma once

#include <cstdint>

namespace xenolith::devices {

// A device in port space. The bus subtracts the base, so offset 0 is the device's first port.
class PortDevice {
  public:
    virtual ~PortDevice() = default;
    // `width` is in bytes: 1, 2 or 4. Bits of the result above the width are ignored by the bus. Offsets that
    // hold no register read as ones and ignore writes: no access is an error.
    virtual std::uint32_t read(std::uint16_t offset, unsigned width) = 0;
    virtual void write(std::uint16_t offset, unsigned width, std::uint32_t value) = 0;
};

// A device in guest-physical address space. `width` is in bytes: 1, 2, 4 or 8.
class MemoryDevice {
  public:
    virtual ~MemoryDevice() = default;
    virtual std::uint64_t read(std::uint64_t offset, unsigned width) = 0;
    virtual void write(std::uint64_t offset, unsigned width, std::uint64_t value) = 0;
};

// An 8-bit device on a wider bus: a wide access becomes one byte access per port, lowest port first, as the
// ISA bus does it.
class BytePortDevice : public PortDevice {
  public:
    std::uint32_t read(std::uint16_t offset, unsigned width) final {
        std::uint32_t value = 0;
        for (unsigned byte = 0; byte < width && byte < 4; ++byte) {
            value |= std::uint32_t{read_byte(static_cast<std::uint16_t>(offset + byte))} << (8 * byte);
        }
        return value;
    }
    void write(std::uint16_t offset, unsigned width, std::uint32_t value) final {
        for (unsigned byte = 0; byte < width && byte < 4; ++byte) {
            write_byte(static_cast<std::uint16_t>(offset + byte), static_cast<std::uint8_t>(value >> (8 * byte)));
        }
    }

  protected:
    virtual std::uint8_t read_byte(std::uint16_t offset) = 0;
    virtual void write_byte(std::uint16_t offset, std::uint8_t value) = 0;
};

// A wire that leaves a device. The device says the level, true for asserted; saying the same level twice is
// no event. What an edge means is up to the receiver.
class InterruptLine {
  public:
    virtual ~InterruptLine() = default;
    virtual void set(bool asserted) = 0;
};

// A wire that ends nowhere.
class UnconnectedLine final : public InterruptLine {
  public:
    void set(bool) override {}
};

}  // namespace xenolith::devices
