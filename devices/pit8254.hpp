// The 82C54 programmable interval timer: three counters, exact in virtual time.
#pragma once

#include <array>
#include <cstdint>

#include "devices/device.hpp"
#include "devices/scheduler.hpp"

namespace xenolith::devices {

// One counter (Intel 82C54 data sheet, order number 231244). Counts are binary here even when the guest
// counts in BCD; they are 1 to the modulus, where the modulus (65536, or 10000 in BCD) is what the guest
// writes as 0.
struct PitCounterState {
    std::uint8_t mode = 3;    // 0-7, as written: 6 and 7 count as 2 and 3 do
    std::uint8_t access = 3;  // 1 least significant byte only, 2 most significant only, 3 both in turn
    bool bcd = false;
    bool gate = true;
    bool out = true;
    bool count_written = false;       // the count register has been filled since the control word
    bool null_count = true;           // the count register has not reached the counting element yet
    bool load_at_next_clock = false;  // the next clock loads the counting element
    bool counting = false;            // the counting element was loaded since the control word
    bool pulse_pending = false;       // OUT still has its one transition (or strobe) to make: modes 0, 1, 4, 5
    bool write_high_next = false;     // access 3: the next byte written is the high one
    bool read_high_next = false;
    bool stopped_by_write = false;      // mode 0: half of a new count was written
    std::uint8_t low_byte_written = 0;  // access 3: held until the high byte comes
    std::uint32_t reload = 0;           // count register, 1-65536; 0 before the first count
    std::uint32_t period = 0;           // the reload value that the counting element was last loaded from
    std::uint32_t count = 0;            // counting element, 0-65536
    std::uint64_t tick = 0;             // the clock, in ticks since power-on, that the above describes
    bool count_latched = false;
    bool status_latched = false;
    std::uint16_t latched_count = 0;  // as the guest reads it
    std::uint8_t latched_status = 0;
};

class Pit8254 final : public BytePortDevice, private Timer {
  public:
    // Ticks per second: the PC's 14.31818 MHz crystal divided by 12, as a whole number, which is also what
    // kernels take it for.
    static constexpr std::uint64_t frequency = 1'193'182;

    struct State {
        std::array<PitCounterState, 3> counters;
    };

    // `irq0` follows OUT of counter 0.
    Pit8254(Scheduler& scheduler, InterruptLine& irq0);
    ~Pit8254() override;
    Pit8254(const Pit8254&) = delete;
    Pit8254& operator=(const Pit8254&) = delete;

    // GATE of counter 2 (port 0x61, bit 0). The other two gates are tied high.
    void set_gate2(bool gate);
    // OUT of a counter, 0-2, as of now.
    bool output(unsigned counter);
    // Ticks since power-on.
    std::uint64_t tick() const { return scheduler_.ticks(frequency); }

    // The chip has no reset input: this is power-on, with every counter waiting for its control word.
    void reset();
    State save();
    void restore(const State& state);  // std::invalid_argument if a field is out of its range

  private:
    std::uint8_t read_byte(std::uint16_t offset) override;
    void write_byte(std::uint16_t offset, std::uint8_t value) override;
    void expired() override;

    void control(std::uint8_t value);
    void read_back(std::uint8_t value);
    void write_count(PitCounterState& counter, std::uint8_t value);
    std::uint8_t read_count(PitCounterState& counter);
    // Brings a counter to the present, telling irq0 about every transition when it is counter 0.
    void advance(unsigned number);
    // After a change by the guest: shows OUT of counter 0 and arms the timer for its next transition.
    void settle();

    Scheduler& scheduler_;
    InterruptLine& irq0_;
    State state_;
};

}  // namespace xenolith::devices
