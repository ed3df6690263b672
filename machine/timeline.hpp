// What the guest did about Xen, in order: events as data, as text for people, and as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cpu/environment.hpp"
#include "cpu/timing/timing.hpp"

namespace xenolith::machine {

// A CPUID leaf of the hypervisor range was read.
struct CpuidLeafRead {
    std::uint32_t leaf = 0, subleaf = 0;
    cpu::CpuidLeaf value;
};

// The configured MSR was written.
struct HypercallPageWrite {
    std::uint32_t msr = 0;
    std::uint64_t value = 0;
    std::uint64_t address = 0;  // guest-physical, page-aligned
    std::uint32_t index = 0;    // page of the blob
    unsigned blob = 32;         // 32 or 64: the width that the guest's mode chose
    bool generated = false;     // the page came from INTERCEPT_HCALL and not from a blob
    std::string result;         // "copied", "#GP", or an errno's name
    std::string reason;         // in words
    cpu::TrapCost cost;
    std::vector<std::byte> page_start;  // the first bytes of the page, where it was copied
};

struct HypercallMade {
    std::uint64_t number = 0;
    std::string name;                      // empty if Xen has no such number
    std::vector<std::uint64_t> arguments;  // as the calling convention has them
    std::vector<std::string> argument_texts;
    std::int64_t result = 0;
    std::string result_text;
    bool answered = false;  // false: refused
    std::string through;    // "vmcall", "vmmcall" or "doorbell"
    std::string refusal;    // why, in words, if it was refused
    cpu::TrapCost cost;
};

// Something that belongs between the events and is best said in words.
struct Remark {
    std::string text;
};

struct Event {
    cpu::Moment moment;
    std::string instruction;  // disassembled, at moment.rip
    std::variant<CpuidLeafRead, HypercallPageWrite, HypercallMade, Remark> what;
};

struct Totals {
    std::uint64_t instructions = 0;
    std::uint64_t cycles = 0;
    double seconds = 0;  // of the host's time
    double mips = 0;     // guest instructions per host microsecond
    std::uint64_t traps = 0;
};

class Timeline {
  public:
    using Listener = std::function<void(const Event&)>;

    // Called for each event as it happens; at most one.
    void set_listener(Listener listener) { listener_ = std::move(listener); }
    void add(Event event);
    const std::vector<Event>& events() const { return events_; }

    // Beyond this many events only the count goes on: a guest cannot fill the host's memory.
    static constexpr std::size_t maximum_events = 1'000'000;
    std::uint64_t dropped() const { return dropped_; }

  private:
    std::vector<Event> events_;
    std::uint64_t dropped_ = 0;
    Listener listener_;
};

// "cpuid-leaf", "hypercall-page", "hypercall", "remark".
std::string_view event_kind(const Event& event);
// One or more lines, each ended by a newline, as the run prints them.
std::string format_event(const Event& event);
std::string format_totals(const Totals& totals);

// What the whole run amounts to, in words: how far the guest got with its hypercall set-up, and what stood in its way.
// Whole lines.
std::string diagnose(const Timeline& timeline);

// The timeline as people read it while it grows: a guest's scan for hypervisors, hundreds of leaves that nobody
// answers, becomes one line.
class TimelineText {
  public:
    // The lines to print now; perhaps none yet.
    std::string add(const Event& event);
    // What was held back.
    std::string finish();

  private:
    std::vector<Event> unanswered_;  // the first and the last leaf read in vain since something else happened
    std::uint64_t unanswered_count_ = 0;
};

// {"events": [...], "totals": {...}}, as docs/timeline.md describes it. Addresses are hexadecimal strings.
std::string timeline_json(const Timeline& timeline, const Totals& totals);
// Writes text so that the file is either whole or as it was: to a new file beside it, then renamed. A device or a pipe
// is written straight. std::runtime_error names the file and the reason.
void write_atomically(const std::filesystem::path& file, std::string_view text);

}  // namespace xenolith::machine
