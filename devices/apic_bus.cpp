// Intel SDM vol. 3A, 10.6.2 (destinations) and 10.8.5 (end of interrupt).
#include "devices/apic_bus.hpp"

#include <algorithm>

#include "devices/io_apic.hpp"
#include "devices/local_apic.hpp"

namespace xenolith::devices {

namespace {

// Hands the message to those that `is_addressed` names.
template <typename IsAddressed>
bool distribute(const std::vector<LocalApic*>& apics, const InterruptMessage& message, IsAddressed is_addressed) {
    // INIT level de-assert synchronizes arbitration identities, which nothing after the Pentium III has (10.6.1).
    if (message.delivery_mode == DeliveryMode::initialize && message.level_triggered && !message.asserted) return true;
    const bool to_one = message.delivery_mode == DeliveryMode::lowest_priority;
    LocalApic* lowest = nullptr;
    bool taken = false;
    for (LocalApic* apic : apics) {
        if (!is_addressed(*apic)) continue;
        if (!to_one) {
            if (apic->deliver(message)) taken = true;
        } else if (apic->is_software_enabled() &&
                   (lowest == nullptr || apic->processor_priority() < lowest->processor_priority())) {
            lowest = apic;
        }
    }
    return lowest != nullptr ? lowest->deliver(message) : taken;
}

}  // namespace

void ApicBus::attach(LocalApic& apic) { local_apics_.push_back(&apic); }
void ApicBus::attach(IoApic& apic) { io_apics_.push_back(&apic); }
void ApicBus::detach(LocalApic& apic) { std::erase(local_apics_, &apic); }
void ApicBus::detach(IoApic& apic) { std::erase(io_apics_, &apic); }

bool ApicBus::send(const InterruptMessage& message) {
    return distribute(local_apics_, message, [&](const LocalApic& apic) { return apic.is_addressed_by(message); });
}

bool ApicBus::send(const InterruptMessage& message, Shorthand shorthand, const LocalApic& sender) {
    if (shorthand == Shorthand::none) return send(message);
    return distribute(local_apics_, message, [&](const LocalApic& apic) {
        if (&apic == &sender) return shorthand != Shorthand::everybody_else;
        return shorthand != Shorthand::self && apic.is_enabled();
    });
}

void ApicBus::end_of_interrupt(std::uint8_t vector) {
    for (IoApic* apic : io_apics_) apic->end_of_interrupt(vector);
}

}  // namespace xenolith::devices
