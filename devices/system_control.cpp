// IBM PS/2 Model 80 technical reference, "System control ports"; Intel ICH9 data sheet, 13.7.1 and 13.7.2.
#include "devices/system_control.hpp"

#include <utility>

namespace xenolith::devices {

namespace {

constexpr std::uint8_t fast_reset = 0x01;
constexpr std::uint8_t alternate_a20 = 0x02;

constexpr std::uint8_t gate_timer2 = 0x01;
constexpr std::uint8_t speaker_data = 0x02;
constexpr std::uint8_t writable_b = 0x0f;
constexpr std::uint8_t refresh_toggle = 0x10;
constexpr std::uint8_t timer2_output = 0x20;
constexpr unsigned timer2 = 2;

}  // namespace

A20Gate::A20Gate(Sink sink) : sink_(std::move(sink)) {}

void A20Gate::request(Source source, bool open) {
    const auto mask = static_cast<std::uint8_t>(1u << static_cast<unsigned>(source));
    const bool was_open = is_open();
    requests_ = static_cast<std::uint8_t>(open ? requests_ | mask : requests_ & ~mask);
    if (is_open() != was_open && sink_) sink_(is_open());
}

SystemControlPortA::SystemControlPortA(A20Gate& a20, ResetSink reset_sink)
    : a20_(a20), reset_sink_(std::move(reset_sink)) {}

void SystemControlPortA::reset() { restore({}); }

void SystemControlPortA::restore(const State& state) {
    state_ = state;
    a20_.request(A20Gate::Source::port_92, (state_.value & alternate_a20) != 0);
}

std::uint8_t SystemControlPortA::read_byte(std::uint16_t offset) {
    return offset == 0 ? state_.value : std::uint8_t{0xff};
}

void SystemControlPortA::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset != 0) return;
    const bool pulse = (value & ~state_.value & fast_reset) != 0;
    state_.value = value;
    a20_.request(A20Gate::Source::port_92, (value & alternate_a20) != 0);
    if (pulse && reset_sink_) reset_sink_();
}

SystemControlPortB::SystemControlPortB(Pit8254& timer) : timer_(timer) { reset(); }

void SystemControlPortB::reset() { restore({}); }

void SystemControlPortB::restore(const State& state) {
    state_.value = state.value & writable_b;
    timer_.set_gate2((state_.value & gate_timer2) != 0);
}

bool SystemControlPortB::speaker() { return (state_.value & speaker_data) != 0 && timer_.output(timer2); }

std::uint8_t SystemControlPortB::read_byte(std::uint16_t offset) {
    if (offset != 0) return 0xff;
    const bool refresh = timer_.tick() / refresh_ticks % 2 != 0;
    return static_cast<std::uint8_t>(state_.value | (refresh ? refresh_toggle : 0) |
                                     (timer_.output(timer2) ? timer2_output : 0));
}

void SystemControlPortB::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset == 0) restore({value});
}

}  // namespace xenolith::devices
