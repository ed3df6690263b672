// Runs every form of every row with random states on two sides, and reports what differs, as small as it
// gets.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cpu/fuzz/catalogue.hpp"
#include "cpu/fuzz/pair.hpp"

namespace xenolith::cpu::fuzz {

struct Finding {
    DecodeMode mode = DecodeMode::long64;
    std::string form;
    std::string instruction;          // disassembled, with its bytes
    std::vector<std::string> fields;  // what differs, of the smallest state
    std::string line;                 // reproduces it
    std::uint64_t times = 0;          // tests of the form that differed
};

struct FormReport {
    DecodeMode mode = DecodeMode::long64;
    std::string mnemonic, form;
    std::uint64_t tests = 0, differences = 0;
    std::string_view not_judged;  // why; empty if it was
};

struct Report {
    std::vector<FormReport> forms;
    std::vector<Finding> findings;                                   // one for each form that has any
    std::vector<std::pair<const HostQuirk*, std::uint64_t>> quirks;  // and how many tests each accounted for
    std::map<std::string, unsigned, std::less<>> without_a_row;      // mnemonics: forms
    std::uint64_t tests = 0;
    // Differences that were gone when the same test was run again: AMD's CPUs lose the x87 pointers when the host's
    // kernel takes the CPU away in the middle of a test.
    std::uint64_t not_repeated = 0;
    double seconds = 0;

    void count(const HostQuirk& quirk, std::uint64_t times);
    std::uint64_t differences() const;
    std::size_t judged_forms() const;
};

struct Progress {
    std::uint64_t tests = 0, of = 0;
    std::size_t findings = 0;
};

struct FuzzOptions {
    std::uint64_t seed = 0;
    std::uint64_t count = 1'000'000;  // tests, of all modes together
    unsigned shard = 0, shards = 1;   // forms number `shard`, `shard` + `shards`, ... of the whole
    std::string pattern = "*";        // of form names or mnemonics
    bool fail_fast = false;
    std::function<void(const Progress&)> progress = {};  // a few times a second; may be empty
};

// The two sides of one mode.
struct Sides {
    DecodeMode mode = DecodeMode::long64;
    Layout layout;
    const Decoder* decoder = nullptr;  // ours
    Subject *ours = nullptr, *theirs = nullptr;
    Judge judge = Judge::host;
    std::span<const HostQuirk> quirks = host_quirks();  // of `theirs`
};

// Adds one mode's tests to the report. `count` is this mode's share.
void run_fuzz(const Sides& sides, const FuzzOptions& options, std::uint64_t count, Report& report);

struct Reproduction {
    std::string instruction;
    std::vector<std::string> fields;  // what differs; empty if nothing does
    std::string quirk;                // what accounts for it; empty if nothing does
};
// std::invalid_argument if the code is no instruction that has a row, or cannot be judged.
Reproduction reproduce(const Sides& sides, const Reproducer& reproducer);

}  // namespace xenolith::cpu::fuzz
