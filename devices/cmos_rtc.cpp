// Motorola MC146818A data sheet (ADI1060), "Address map", "Registers", "Interrupts", "Update cycle".
//
// The chip is its registers at one moment. Looking at them brings them to the present: the divider chain, a
// count of crystal ticks, says how many seconds, periods and alarms lie between, and the calendar is advanced
// by that many seconds in one step. A timer is armed only for a flag that may interrupt.
#include "devices/cmos_rtc.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace xenolith::devices {

namespace {

// Address map. 0x0e-0x7f are the user's memory; a PC's firmware gives it the meanings below.
constexpr unsigned seconds_register = 0x00;
constexpr unsigned seconds_alarm = 0x01;
constexpr unsigned minutes_register = 0x02;
constexpr unsigned minutes_alarm = 0x03;
constexpr unsigned hours_register = 0x04;
constexpr unsigned hours_alarm = 0x05;
constexpr unsigned weekday_register = 0x06;
constexpr unsigned day_register = 0x07;
constexpr unsigned month_register = 0x08;
constexpr unsigned year_register = 0x09;
constexpr unsigned register_a = 0x0a;
constexpr unsigned register_b = 0x0b;
constexpr unsigned register_c = 0x0c;
constexpr unsigned register_d = 0x0d;
constexpr unsigned equipment = 0x14;
constexpr unsigned checksum_first = 0x10;
constexpr unsigned checksum_last = 0x2d;
constexpr unsigned checksum_high = 0x2e;
constexpr unsigned checksum_low = 0x2f;
constexpr unsigned century_register = 0x32;

constexpr std::uint8_t update_in_progress = 0x80;  // register A
constexpr std::uint8_t divider_normal = 0x20;      // register A, DV = 010: a 32768 Hz crystal, counting
constexpr std::uint8_t divider_mask = 0x70;
constexpr std::uint8_t rate_mask = 0x0f;

constexpr std::uint8_t set_time = 0x80;  // register B
constexpr std::uint8_t periodic_enable = 0x40;
constexpr std::uint8_t alarm_enable = 0x20;
constexpr std::uint8_t update_enable = 0x10;
constexpr std::uint8_t square_wave_enable = 0x08;
constexpr std::uint8_t binary_mode = 0x04;
constexpr std::uint8_t hours_24 = 0x02;

constexpr std::uint8_t interrupt_request = 0x80;  // register C; the flags below share their places with register B
constexpr std::uint8_t flags = periodic_enable | alarm_enable | update_enable;
constexpr std::uint8_t valid_ram_and_time = 0x80;  // register D

constexpr std::uint64_t second = CmosRtc::crystal;  // ticks
constexpr std::uint64_t half_second = second / 2;
// UIP rises 244 microseconds before an update, which takes 1984 (data sheet, update cycle times at 32.768
// kHz).
constexpr std::uint64_t update_ticks = 8 + 65;
constexpr std::uint64_t seconds_per_day = 86'400;

struct Format {
    bool binary;
    bool hours_24;
};

Format format(std::uint8_t register_b_value) {
    return {(register_b_value & binary_mode) != 0, (register_b_value & hours_24) != 0};
}

std::uint8_t encode(Format how, unsigned value) {
    return static_cast<std::uint8_t>(how.binary ? value : ((value / 10) << 4) | (value % 10));
}

unsigned decode(Format how, std::uint8_t value) { return how.binary ? value : (value >> 4) * 10u + (value & 0xfu); }

// In twelve-hour form bit 7 says afternoon, and midnight and noon are twelve.
std::uint8_t encode_hour(Format how, unsigned hour) {
    if (how.hours_24) return encode(how, hour);
    const unsigned shown = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(how, shown) | (hour >= 12 ? 0x80 : 0));
}

unsigned decode_hour(Format how, std::uint8_t value) {
    if (how.hours_24) return decode(how, value) % 24;
    return decode(how, value & 0x7f) % 12 + ((value & 0x80) != 0 ? 12 : 0);
}

// The two top bits set in an alarm register mean "any".
bool alarm_matches(std::uint8_t alarm, std::uint8_t value) { return alarm >= 0xc0 || alarm == value; }

std::uint8_t low_byte(std::uint64_t value) { return static_cast<std::uint8_t>(value); }

}  // namespace

CmosRtc::CmosRtc(Scheduler& scheduler, InterruptLine& irq8, const Configuration& configuration)
    : Timer(scheduler), scheduler_(scheduler), irq8_(irq8) {
    state_.memory[register_a] = divider_normal | 6;  // 1024 Hz, as PC firmware leaves it
    state_.memory[register_b] = hours_24;
    state_.memory[register_d] = valid_ram_and_time;
    state_.memory[century_register] = 0x19;
    state_.memory[year_register] = 0x70;
    state_.memory[month_register] = 0x01;
    state_.memory[day_register] = 0x01;
    state_.memory[weekday_register] = 5;  // 1970 began on a Thursday; Sunday is 1
    advance_calendar(configuration.start_seconds);
    fill_memory_sizes(configuration);
    advance();
    settle();
}

CmosRtc::~CmosRtc() { scheduler_.cancel(*this); }

// Where PC firmware looks for the size of memory (IBM PC AT technical reference for 0x15-0x18 and 0x30-0x31;
// the others are the convention of the firmware for virtual machines).
void CmosRtc::fill_memory_sizes(const Configuration& configuration) {
    constexpr std::uint64_t kib = 1024;
    constexpr std::uint64_t mib = 1024 * kib;
    const std::uint64_t below = configuration.memory_below_4g;
    const std::uint64_t base_kib = std::min<std::uint64_t>(below / kib, 640);
    const std::uint64_t extended_kib = below > mib ? std::min<std::uint64_t>((below - mib) / kib, 0xffff) : 0;
    const std::uint64_t above_16m =
        below > 16 * mib ? std::min<std::uint64_t>((below - 16 * mib) / (64 * kib), 0xffff) : 0;
    const std::uint64_t above_4g = std::min<std::uint64_t>(configuration.memory_above_4g / (64 * kib), 0xffffff);
    auto& memory = state_.memory;
    memory[equipment] = 0x06;  // a coprocessor, a PS/2 pointing device's bit, no floppy drive
    memory[0x15] = low_byte(base_kib);
    memory[0x16] = low_byte(base_kib >> 8);
    memory[0x17] = memory[0x30] = low_byte(extended_kib);
    memory[0x18] = memory[0x31] = low_byte(extended_kib >> 8);
    memory[0x34] = low_byte(above_16m);
    memory[0x35] = low_byte(above_16m >> 8);
    memory[0x5b] = low_byte(above_4g);
    memory[0x5c] = low_byte(above_4g >> 8);
    memory[0x5d] = low_byte(above_4g >> 16);
    fill_checksum();
}

void CmosRtc::fill_checksum() {
    unsigned sum = 0;
    for (unsigned index = checksum_first; index <= checksum_last; ++index) sum += state_.memory[index];
    state_.memory[checksum_high] = low_byte(sum >> 8);
    state_.memory[checksum_low] = low_byte(sum);
}

void CmosRtc::set_memory(unsigned index, std::uint8_t value) {
    if (index <= register_d || index >= memory_size) {
        throw std::invalid_argument("MC146818A: the user's memory is at 14 to 127");
    }
    state_.memory[index] = value;
    if (index >= checksum_first && index <= checksum_last) fill_checksum();
}

void CmosRtc::reset() {
    advance();
    state_.memory[register_b] &= static_cast<std::uint8_t>(~(flags | square_wave_enable));
    state_.memory[register_c] = 0;
    settle();
}

// ---- The divider chain

bool CmosRtc::chain_running() const { return (state_.memory[register_a] & divider_mask) == divider_normal; }

std::uint64_t CmosRtc::chain() const {
    // Every divider setting but the PC's own holds the chain: with this crystal the others are no time of
    // day.
    return chain_running() ? scheduler_.ticks(crystal) - state_.chain_origin : state_.chain_seen;
}

std::uint64_t CmosRtc::periodic_ticks() const {
    const unsigned rate = state_.memory[register_a] & rate_mask;
    if (rate == 0) return 0;
    // Rates 1 and 2 repeat 8 and 9 with this crystal.
    return std::uint64_t{1} << (rate <= 2 ? rate + 6 : rate - 1);
}

bool CmosRtc::updating() const {
    return chain_running() && (state_.memory[register_b] & set_time) == 0 && chain() % second >= second - update_ticks;
}

// ---- The calendar

void CmosRtc::advance_calendar(std::uint64_t seconds) {
    namespace chrono = std::chrono;
    auto& memory = state_.memory;
    const Format how = format(memory[register_b]);
    // Registers that hold no date or time, which a guest may well write, are first brought into range.
    const std::uint64_t time = decode_hour(how, memory[hours_register]) * 3600u +
                               decode(how, memory[minutes_register]) % 60u * 60u +
                               decode(how, memory[seconds_register]) % 60u + seconds % seconds_per_day;
    const std::uint64_t days = seconds / seconds_per_day + time / seconds_per_day;

    constexpr std::uint64_t days_per_400_years = 146'097;
    const unsigned year = decode(how, memory[century_register]) % 100 * 100 + decode(how, memory[year_register]) % 100;
    const unsigned month = std::clamp(decode(how, memory[month_register]), 1u, 12u);
    const unsigned day = std::clamp(decode(how, memory[day_register]), 1u, 31u);
    const chrono::year_month_day date{
        chrono::sys_days{chrono::year{static_cast<int>(year)} / chrono::month{month} / chrono::day{day}} +
        chrono::days{static_cast<int>(days % days_per_400_years)}};
    const auto shown_year = static_cast<unsigned>(
        (static_cast<std::uint64_t>(static_cast<int>(date.year())) + days / days_per_400_years % 25 * 400) % 10'000);

    const auto time_of_day = static_cast<unsigned>(time % seconds_per_day);
    memory[seconds_register] = encode(how, time_of_day % 60);
    memory[minutes_register] = encode(how, time_of_day / 60 % 60);
    memory[hours_register] = encode_hour(how, time_of_day / 3600);
    const unsigned weekday = (decode(how, memory[weekday_register]) + 6u) % 7u;
    memory[weekday_register] = encode(how, static_cast<unsigned>((weekday + days) % 7) + 1);
    memory[day_register] = encode(how, static_cast<unsigned>(date.day()));
    memory[month_register] = encode(how, static_cast<unsigned>(date.month()));
    memory[year_register] = encode(how, shown_year % 100);
    memory[century_register] = encode(how, shown_year / 100);
}

std::uint64_t CmosRtc::seconds_to_alarm() const {
    const auto& memory = state_.memory;
    const Format how = format(memory[register_b]);
    const std::uint64_t start = decode_hour(how, memory[hours_register]) * 3600u +
                                decode(how, memory[minutes_register]) % 60u * 60u +
                                decode(how, memory[seconds_register]) % 60u;
    // Skips an hour, a minute or a second at a time, so it takes at most about 150 steps.
    std::uint64_t time = start + 1;
    while (time <= start + seconds_per_day) {
        const auto time_of_day = static_cast<unsigned>(time % seconds_per_day);
        if (!alarm_matches(memory[hours_alarm], encode_hour(how, time_of_day / 3600))) {
            time += 3600 - time_of_day % 3600;
        } else if (!alarm_matches(memory[minutes_alarm], encode(how, time_of_day / 60 % 60))) {
            time += 60 - time_of_day % 60;
        } else if (!alarm_matches(memory[seconds_alarm], encode(how, time_of_day % 60))) {
            ++time;
        } else {
            return time - start;
        }
    }
    return 0;
}

// ---- Time

void CmosRtc::advance() {
    const std::uint64_t seen = state_.chain_seen;
    const std::uint64_t present = chain();
    state_.chain_seen = present;
    if (present <= seen) return;
    auto& memory = state_.memory;
    const std::uint64_t period = periodic_ticks();
    if (period != 0 && present / period != seen / period) memory[register_c] |= periodic_enable;
    const std::uint64_t seconds = present / second - seen / second;
    if (seconds == 0 || (memory[register_b] & set_time) != 0) return;
    // The alarm is compared after each of the updates.
    const std::uint64_t alarm = seconds_to_alarm();
    if (alarm != 0 && alarm <= seconds) memory[register_c] |= alarm_enable;
    advance_calendar(seconds);
    memory[register_c] |= update_enable;
}

void CmosRtc::settle() {
    const std::uint8_t enabled = state_.memory[register_b] & flags;
    const std::uint8_t raised = state_.memory[register_c] & flags;
    const bool asserted = (enabled & raised) != 0;
    state_.memory[register_c] = static_cast<std::uint8_t>(raised | (asserted ? interrupt_request : 0));
    irq8_.set(asserted);

    // An asserted line stays so until register C is read: then this is asked again.
    std::uint64_t wait = Scheduler::never;
    if (!asserted && chain_running()) {
        const std::uint64_t present = state_.chain_seen;
        const std::uint64_t to_second = second - present % second;
        const bool updates = (state_.memory[register_b] & set_time) == 0;
        const std::uint64_t period = periodic_ticks();
        if ((enabled & periodic_enable) != 0 && period != 0) wait = std::min(wait, period - present % period);
        if ((enabled & update_enable) != 0 && updates) wait = std::min(wait, to_second);
        if ((enabled & alarm_enable) != 0 && updates) {
            const std::uint64_t alarm = seconds_to_alarm();
            if (alarm != 0) wait = std::min(wait, to_second + (alarm - 1) * second);
        }
    }
    const std::uint64_t tick = scheduler_.ticks(crystal);
    if (wait >= Scheduler::never - tick) {
        scheduler_.cancel(*this);
    } else {
        scheduler_.at(scheduler_.cycle_of_tick(tick + wait, crystal), *this);
    }
}

void CmosRtc::expired() {
    advance();
    settle();
}

// ---- Ports

std::uint8_t CmosRtc::read_byte(std::uint16_t offset) {
    // The index port cannot be read.
    return offset == 1 ? read_register(state_.index) : std::uint8_t{0xff};
}

void CmosRtc::write_byte(std::uint16_t offset, std::uint8_t value) {
    if (offset == 0) {
        state_.index = value & 0x7f;
        state_.nmi_masked = (value & 0x80) != 0;
    } else if (offset == 1) {
        write_register(state_.index, value);
    }
}

std::uint8_t CmosRtc::read_register(std::uint8_t index) {
    advance();
    const std::uint8_t value = state_.memory[index];
    if (index == register_a) {
        settle();
        return static_cast<std::uint8_t>((value & ~update_in_progress) | (updating() ? update_in_progress : 0));
    }
    settle();
    if (index != register_c) return value;
    // Reading register C clears it, and with it the request. The flags that advance() has just raised are in
    // it.
    const std::uint8_t reported = state_.memory[register_c];
    state_.memory[register_c] = 0;
    settle();
    return reported;
}

void CmosRtc::write_register(std::uint8_t index, std::uint8_t value) {
    advance();
    switch (index) {
        case register_a: write_register_a(value); break;
        case register_b: write_register_b(value); break;
        case register_c:
        case register_d: break;
        default: state_.memory[index] = value; break;
    }
    settle();
}

void CmosRtc::write_register_a(std::uint8_t value) {
    const bool was_running = chain_running();
    state_.memory[register_a] = value & static_cast<std::uint8_t>(~update_in_progress);
    if (!was_running && chain_running()) {
        // Let go, the chain makes its first update half a second later.
        state_.chain_origin = scheduler_.ticks(crystal) - half_second;
        state_.chain_seen = half_second;
    }
}

void CmosRtc::write_register_b(std::uint8_t value) {
    if ((value & set_time) != 0) value &= static_cast<std::uint8_t>(~update_enable);
    state_.memory[register_b] = value;
}

CmosRtc::State CmosRtc::save() {
    advance();
    settle();
    return state_;
}

void CmosRtc::restore(const State& state) {
    if (state.index >= memory_size) throw std::invalid_argument("MC146818A: the saved state is out of range");
    state_ = state;
    advance();
    settle();
}

}  // namespace xenolith::devices
