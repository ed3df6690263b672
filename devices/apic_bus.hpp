// What interrupts travel on between I/O APICs and local APICs: each message finds the processors it is meant for.
#pragma once

#include <cstdint>
#include <vector>

namespace xenolith::devices {

class IoApic;
class LocalApic;

// The same numbers stand in the interrupt command register, local vectors and redirection entries (SDM vol. 3A,
// 10.5.1 and 10.6.1).
enum class DeliveryMode : std::uint8_t {
    fixed = 0,
    lowest_priority = 1,
    system_management = 2,
    reserved = 3,
    non_maskable = 4,
    initialize = 5,
    startup = 6,
    external = 7,  // the vector is the 8259A's, asked for at the acknowledge
};

struct InterruptMessage {
    // The destination that is everybody, physical or logical.
    static constexpr std::uint32_t everybody = 0xffffffff;
    // The destination that an 8-bit field names: there, everybody is 0xff.
    static constexpr std::uint32_t destination_of_byte(std::uint8_t field) { return field == 0xff ? everybody : field; }

    std::uint8_t vector = 0;
    DeliveryMode delivery_mode = DeliveryMode::fixed;
    bool logical_destination = false;
    bool level_triggered = false;
    bool asserted = true;  // false is the INIT level de-assert, if level-triggered, and nothing else
    std::uint32_t destination = 0;
};

// Destination shorthands (10.6.1), as the sender sees them.
enum class Shorthand : std::uint8_t { none = 0, self = 1, everybody = 2, everybody_else = 3 };

// APICs attach themselves for as long as they live, so the bus must outlive them. Nothing here has a state to save.
class ApicBus final {
  public:
    ApicBus() = default;
    ApicBus(const ApicBus&) = delete;
    ApicBus& operator=(const ApicBus&) = delete;

    void attach(LocalApic& apic);
    void attach(IoApic& apic);
    void detach(LocalApic& apic);
    void detach(IoApic& apic);

    // True if some local APIC took the message. A lowest-priority message goes to the one whose processor priority
    // is lowest, and among equals to the one that was attached first.
    bool send(const InterruptMessage& message);
    bool send(const InterruptMessage& message, Shorthand shorthand, const LocalApic& sender);
    // A local APIC is done with a level-triggered vector: every I/O APIC hears of it.
    void end_of_interrupt(std::uint8_t vector);

  private:
    std::vector<LocalApic*> local_apics_;
    std::vector<IoApic*> io_apics_;
};

}  // namespace xenolith::devices
