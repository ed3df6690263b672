// Tests go in series: one encoding, many states. All randomness of a series comes from the seed, the form and
// the series' number, so that it does not matter which shard runs it, and a difference can be found again by
// running the series up to it. That is also how the memory before a difference is had, which nothing keeps a
// copy of.
#include "cpu/fuzz/fuzzer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "cpu/host_limit.hpp"

namespace xenolith::cpu::fuzz {

namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned longest_series = 64;
// An encoding that always faults has shown all it can after a while, and a fault costs the host dear.
constexpr std::uint64_t faults_enough = 192;
constexpr std::uint64_t differences_enough = 64;  // of one form

std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
    return hash;
}

struct Tally {
    const Form* form = nullptr;
    std::uint64_t tests = 0, differences = 0, faults = 0;
    std::size_t finding = 0;  // index + 1; 0 for none
    bool host_cannot = false;

    bool is_exhausted() const {
        return host_cannot || differences >= differences_enough || (tests >= faults_enough && faults == tests);
    }
};

class ModeRun {
  public:
    ModeRun(const Sides& sides, const FuzzOptions& options, Report& report)
        : sides_(sides),
          options_(options),
          report_(report),
          reader_(*sides.decoder, sides.mode),
          maker_(reader_, sides.layout),
          pair_(*sides.ours, *sides.theirs, sides.quirks) {
        Random random(derive_seed(options.seed, 3));
        for (std::byte& byte : background_) byte = static_cast<std::byte>(random());
    }

    void run(std::uint64_t count) {
        Catalogue catalogue =
            make_catalogue(reader_, {.seed = options_.seed, .pattern = options_.pattern, .judge = sides_.judge});
        if (options_.shard == 0)
            for (const auto& [mnemonic, forms] : catalogue.without_a_row) report_.without_a_row[mnemonic] += forms;
        for (std::size_t n = options_.shard; n < catalogue.forms.size(); n += options_.shards)
            tallies_.push_back({.form = &catalogue.forms[n]});
        const auto judged = static_cast<std::uint64_t>(
            std::ranges::count_if(tallies_, [](const Tally& tally) { return tally.form->not_judged.empty(); }));
        if (judged != 0) rounds(count, judged);
        for (const Tally& tally : tallies_)
            report_.forms.push_back({sides_.mode, std::string(mnemonic_of(*tally.form)), tally.form->name, tally.tests,
                                     tally.differences, why_not(tally)});
        for (const Tally& tally : tallies_)
            if (tally.finding != 0) report_.findings[tally.finding - 1].times = tally.differences;
        for (std::size_t n = 0; n < sides_.quirks.size(); ++n) report_.count(sides_.quirks[n], pair_.quirk_counts()[n]);
    }

  private:
    static std::string_view mnemonic_of(const Form& form) {
        return mnemonic_name(static_cast<ZydisMnemonic>(form.key.mnemonic));
    }

    static std::string_view why_not(const Tally& tally) {
        return tally.host_cannot ? "the engine that judges cannot execute it" : tally.form->not_judged;
    }
    // A series of each form, again and again, until the count is reached.
    void rounds(std::uint64_t count, std::uint64_t judged) {
        const std::uint64_t wanted = std::clamp<std::uint64_t>(count / judged / 4, 1, longest_series);
        const std::uint64_t first = report_.tests, end = first + count;
        for (std::uint64_t round = 0; report_.tests < end; ++round) {
            const std::uint64_t before = report_.tests;
            for (Tally& tally : tallies_) {
                if (!tally.form->not_judged.empty() || tally.is_exhausted()) continue;
                if (report_.tests >= end || should_stop()) return;
                try_series(tally, round, static_cast<unsigned>(std::min(wanted, end - report_.tests)));
                show_progress(end);
            }
            // Every form is exhausted, or none of its samples can be completed.
            if (report_.tests == before && round > 16) return;
        }
    }
    bool should_stop() const { return options_.fail_fast && !report_.findings.empty(); }

    std::uint64_t series_seed(const Form& form, std::uint64_t round) const {
        return derive_seed(options_.seed ^ hash_of(form.name) ^ static_cast<std::uint64_t>(form.mode), round);
    }
    bool start_series(const Form& form, Random& random, Encoding& encoding) {
        const auto& sample = form.samples[random.pick(form.samples.size())];
        if (!maker_.complete(sample, random, encoding)) return false;
        pair_.set_memory(background_);
        pair_.prepare(encoding);
        maker_.begin(encoding, random);
        return true;
    }

    void try_series(Tally& tally, std::uint64_t round, unsigned length) {
        try {
            series(tally, round, length);
        } catch (const HostLimit&) {
            tally.host_cannot = true;
        }
    }
    void series(Tally& tally, std::uint64_t round, unsigned length) {
        const std::uint64_t seed = series_seed(*tally.form, round);
        Random random(seed);
        Encoding& encoding = encoding_;
        if (!start_series(*tally.form, random, encoding)) return;
        for (unsigned n = 0; n < length; ++n) {
            const State& state = maker_.next(random);
            const bool differs = pair_.run(state, maker_.patches());
            ++tally.tests;
            ++report_.tests;
            if (pair_.theirs().cpu.fault) ++tally.faults;
            if (!differs) continue;
            if (tally.finding == 0) {
                // Before it is reported it has to happen again.
                if (std::optional<Finding> finding = find_out(*tally.form, seed, n)) {
                    report_.findings.push_back(std::move(*finding));
                    tally.finding = report_.findings.size();
                    ++tally.differences;
                } else {
                    ++report_.not_repeated;
                }
                return;  // the pair has been used for other things
            }
            ++tally.differences;
        }
    }

    // Runs the series again up to the test that differed, and makes it small.
    std::optional<Finding> find_out(const Form& form, std::uint64_t seed, unsigned number) {
        Random random(seed);
        Encoding encoding;
        start_series(form, random, encoding);
        for (unsigned n = 0; n < number; ++n) {
            const State& state = maker_.next(random);
            pair_.run(state, maker_.patches());
        }
        auto reproducer = std::make_unique<Reproducer>();
        reproducer->mode = sides_.mode;
        reproducer->code.assign(encoding.code.begin(), encoding.code.begin() + encoding.decoded.length);
        reproducer->state = maker_.next(random);
        std::ranges::copy(pair_.memory(), reproducer->memory.begin());
        for (const Patch& patch : maker_.patches())
            std::memcpy(reproducer->memory.data() + patch.offset, patch.value.data(), patch.size);
        if (!encoding.uses_floating_point())
            reproducer->state.floating_point = Reproducer::blank().state.floating_point;
        // The mnemonic must stay, and some part that differs, lest another difference is found. A branch must
        // go on leading to where it does.
        parts_ = 0;
        if (!fails(*reproducer, encoding)) return std::nullopt;
        for (const Field& field : pair_.fields()) parts_ |= bit_of(field);
        const auto still_fails = [&](const Reproducer& smaller) { return fails(smaller, encoding); };
        const bool is_relative =
            std::ranges::any_of(encoding.visible_operands(), [](const ZydisDecodedOperand& operand) {
                return operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand.imm.is_relative != 0;
            });
        if (encoding.is_branch() && !is_relative) {
            forget_background(*reproducer, sides_.layout, still_fails);
        } else {
            shrink(*reproducer, sides_.layout,
                   {.addresses = encoding.touches_memory(), .number = bit_offset_register(encoding)}, still_fails);
        }
        Finding finding;
        finding.mode = sides_.mode;
        finding.form = form.name;
        fails(*reproducer, encoding);
        finding.instruction = shrunk_.text();
        for (const Field& field : pair_.fields()) finding.fields.push_back(field.text());
        finding.line = to_line(*reproducer);
        return finding;
    }

    bool fails(const Reproducer& reproducer, const Encoding& original) {
        if (original.uses_floating_point() && !is_consistent(reproducer.state.floating_point)) return false;
        if (!reader_.read(reproducer.code, shrunk_) || !shrunk_.has_row ||
            shrunk_.decoded.length != reproducer.code.size() || shrunk_.decoded.mnemonic != original.decoded.mnemonic ||
            !why_not_judged(shrunk_, sides_.judge).empty() || !can_be_placed(shrunk_))
            return false;
        pair_.set_memory(reproducer.memory);
        pair_.prepare(shrunk_);
        if (!pair_.run(reproducer.state, {})) return false;
        return parts_ == 0 ||
               std::ranges::any_of(pair_.fields(), [&](const Field& field) { return (bit_of(field) & parts_) != 0; });
    }
    static std::uint32_t bit_of(const Field& field) { return 1u << static_cast<unsigned>(field.part); }

    void show_progress(std::uint64_t of) {
        if (!options_.progress) return;
        constexpr auto interval = std::chrono::milliseconds(250);
        const Clock::time_point now = Clock::now();
        if (now - shown_ < interval) return;
        shown_ = now;
        options_.progress({report_.tests, of, report_.findings.size()});
    }

    const Sides& sides_;
    const FuzzOptions& options_;
    Report& report_;
    EncodingReader reader_;
    StateMaker maker_;
    Pair pair_;
    Encoding encoding_, shrunk_;
    std::array<std::byte, memory_size> background_;
    std::uint32_t parts_ = 0;  // that differ, of the difference being made small; 0 for any
    std::vector<Tally> tallies_;
    Clock::time_point shown_;
};

}  // namespace

void Report::count(const HostQuirk& quirk, std::uint64_t times) {
    const auto found = std::ranges::find(quirks, &quirk, &std::pair<const HostQuirk*, std::uint64_t>::first);
    if (found != quirks.end()) {
        found->second += times;
    } else {
        quirks.emplace_back(&quirk, times);
    }
}

std::uint64_t Report::differences() const {
    std::uint64_t sum = 0;
    for (const FormReport& form : forms) sum += form.differences;
    return sum;
}

std::size_t Report::judged_forms() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(forms, [](const FormReport& form) { return form.tests != 0; }));
}

void run_fuzz(const Sides& sides, const FuzzOptions& options, std::uint64_t count, Report& report) {
    const Clock::time_point start = Clock::now();
    auto run = std::make_unique<ModeRun>(sides, options, report);
    run->run(count);
    report.seconds += std::chrono::duration<double>(Clock::now() - start).count();
}

Reproduction reproduce(const Sides& sides, const Reproducer& reproducer) {
    const EncodingReader reader(*sides.decoder, sides.mode);
    Encoding encoding;
    if (!reader.read(reproducer.code, encoding)) throw std::invalid_argument("code: no instruction");
    if (encoding.decoded.length != reproducer.code.size())
        throw std::invalid_argument(fmt::format("code: the instruction is {} bytes long", encoding.decoded.length));
    if (!encoding.has_row) throw std::invalid_argument("code: the instruction has no row");
    if (const std::string_view reason = why_not_judged(encoding, sides.judge); !reason.empty())
        throw std::invalid_argument(fmt::format("code: it cannot be judged: {}", reason));
    Pair pair(*sides.ours, *sides.theirs, sides.quirks);
    pair.set_memory(reproducer.memory);
    pair.prepare(encoding);
    Reproduction result;
    result.instruction = encoding.text();
    pair.run(reproducer.state, {});
    for (const Field& field : pair.fields()) result.fields.push_back(field.text());
    for (std::size_t n = 0; n < pair.quirk_counts().size(); ++n)
        if (pair.quirk_counts()[n] != 0) result.quirk = sides.quirks[n].reason;
    return result;
}

}  // namespace xenolith::cpu::fuzz
