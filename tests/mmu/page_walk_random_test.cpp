// The page walk against a second one, written from the manual without regard to speed and built differently:
// it collects all entries first, asks for every single bit of each whether the manual reserves it, and judges
// rights and updates over the whole list afterwards. Both see the same random tables, registers and accesses.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "tests/mmu/page_tables.hpp"

namespace xenolith::mmu {
namespace {

using namespace test;

enum class Mode { off, two_level, pae, four_level };

Mode mode_of(const PagingContext& context) {
    if ((context.cr0 & cr0::pg) == 0) return Mode::off;
    if ((context.cr4 & cr4::pae) == 0) return Mode::two_level;
    return (context.efer & efer::lma) != 0 ? Mode::four_level : Mode::pae;
}

// Levels are counted as the manual draws them: 4 is the PML4 table, 1 a page table.
struct Seen {
    std::uint64_t address;
    std::uint64_t value;
    int level;
    bool maps_page;
};

struct Verdict {
    std::optional<std::uint32_t> error;
    std::uint64_t physical = 0;
    std::uint64_t size = 0;
    std::size_t entries_read = 0;
    bool global = false;
    bool leaf_dirty = false;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> updates;  // address and new value of entries that change
};

class NaiveWalk {
  public:
    NaiveWalk(const GuestMemory& memory, const PagingContext& context)
        : memory_(memory), context_(context), mode_(mode_of(context)) {}

    Verdict judge(std::uint64_t linear, Access access, Privilege privilege) const {
        Verdict verdict;
        if (mode_ != Mode::four_level) linear %= bit(32);
        if (mode_ == Mode::off) {
            verdict.physical = linear;
            verdict.size = 4096;
            verdict.leaf_dirty = true;
            return verdict;
        }
        const bool fetch_flag =
            (has(context_.cr4, cr4::pae) && has(context_.efer, efer::nxe)) || has(context_.cr4, cr4::smep);
        const std::uint32_t circumstances = (access == Access::write ? 2u : 0u) +
                                            (privilege == Privilege::user ? 4u : 0u) +
                                            (access == Access::execute && fetch_flag ? 16u : 0u);

        if (mode_ == Mode::pae && context_.pdpte[linear / bit(30)] % 2 == 0) {
            verdict.error = circumstances;
            return verdict;
        }
        const std::vector<Seen> chain = collect(linear);
        verdict.entries_read = chain.size();
        for (const Seen& seen : chain) {
            if (seen.value % 2 == 0) {
                verdict.error = circumstances;
                return verdict;
            }
            for (unsigned position = 0; position < 64; ++position) {
                if (has(seen.value, bit(position)) && reserved(seen, position)) {
                    verdict.error = circumstances + 1 + 8;
                    return verdict;
                }
            }
        }
        if (!permitted(chain, access, privilege)) {
            verdict.error = circumstances + 1;
            return verdict;
        }

        const Seen& leaf = chain.back();
        unsigned width = 12;
        if (leaf.level == 2) width = mode_ == Mode::two_level ? 22 : 21;
        if (leaf.level == 3) width = 30;
        verdict.size = bit(width);
        for (unsigned position = 0; position < 52; ++position) {
            const bool from_entry = mode_ == Mode::two_level ? has(leaf.value, bit(position)) && position < 32
                                                             : has(leaf.value, bit(position));
            if (position < width ? has(linear, bit(position)) : from_entry) verdict.physical += bit(position);
        }
        if (mode_ == Mode::two_level && leaf.maps_page && leaf.level == 2)
            verdict.physical += ((leaf.value >> 13) & 0xff) << 32;
        verdict.global = has(leaf.value, entry::global) && has(context_.cr4, cr4::pge);
        verdict.leaf_dirty = has(leaf.value, entry::dirty);
        for (const Seen& seen : chain) {
            std::uint64_t value = seen.value | entry::accessed;
            if (&seen == &leaf && access == Access::write) value |= entry::dirty;
            if (value != seen.value) verdict.updates.emplace_back(seen.address, value);
        }
        return verdict;
    }

    std::uint64_t entry_at(std::uint64_t address) const {
        const std::size_t size = mode_ == Mode::two_level ? 4 : 8;
        std::uint64_t value = 0;
        if (memory_.read({address}, std::as_writable_bytes(std::span(&value, 1)).first(size))) return value;
        return size == 4 ? 0xffffffff : ~std::uint64_t{0};
    }

  private:
    static bool has(std::uint64_t value, std::uint64_t mask) { return (value & mask) == mask; }

    // Goes on behind entries with reserved bits: what it finds there is never looked at.
    std::vector<Seen> collect(std::uint64_t linear) const {
        std::vector<Seen> chain;
        int level = mode_ == Mode::four_level ? 4 : 2;
        std::uint64_t table = context_.cr3;
        if (mode_ == Mode::pae) table = context_.pdpte[linear / bit(30)];
        for (;;) {
            table &= mode_ == Mode::two_level ? 0xfffff000 : 0xffffffffff000;
            if (chain.empty() && mode_ != Mode::two_level) table %= bit(context_.physical_address_bits);
            Seen seen{};
            if (mode_ == Mode::two_level) {
                seen.address = table + 4 * (level == 2 ? linear / bit(22) : linear / bit(12) % 1024);
            } else {
                seen.address = table + 8 * (linear / bit(static_cast<unsigned>(12 + 9 * (level - 1))) % 512);
            }
            seen.value = entry_at(seen.address);
            seen.level = level;
            const bool page_size = has(seen.value, entry::page_size);
            seen.maps_page = level == 1 ||
                             (page_size && level == 2 && (mode_ != Mode::two_level || has(context_.cr4, cr4::pse))) ||
                             (page_size && level == 3 && context_.gigabyte_pages);
            chain.push_back(seen);
            if (seen.maps_page || seen.value % 2 == 0) return chain;
            table = seen.value;
            --level;
        }
    }

    // Tables 4-5 and 4-6, 4-9 to 4-11, 4-15 to 4-20 of the manual.
    bool reserved(const Seen& seen, unsigned position) const {
        const unsigned width = context_.physical_address_bits;
        if (mode_ == Mode::two_level) {
            if (!seen.maps_page || seen.level != 2) return false;
            if (position == 21) return true;
            if (position < 13 || position > 20) return false;
            return !context_.pse36 || position + 19 >= width;
        }
        if (position == 63) return !has(context_.efer, efer::nxe);
        if (position >= 52) return mode_ == Mode::pae;
        if (position >= width) return true;
        if (position == 7) return seen.level == 4 || (seen.level == 3 && !context_.gigabyte_pages);
        if (seen.maps_page && seen.level == 2) return position >= 13 && position <= 20;
        if (seen.maps_page && seen.level == 3) return position >= 13 && position <= 29;
        return false;
    }

    // 4.6.1, sentence by sentence.
    bool permitted(const std::vector<Seen>& chain, Access access, Privilege privilege) const {
        const auto in_all = [&](std::uint64_t mask) {
            return std::all_of(chain.begin(), chain.end(), [&](const Seen& seen) { return has(seen.value, mask); });
        };
        const bool user_address = in_all(entry::user);
        const bool writable = in_all(entry::writable);
        const bool executable = std::none_of(chain.begin(), chain.end(), [&](const Seen& seen) {
            return has(context_.efer, efer::nxe) && has(seen.value, entry::no_execute);
        });

        if (privilege == Privilege::user) {
            if (!user_address) return false;
            if (access == Access::read) return true;
            return access == Access::write ? writable : executable;
        }
        if (access == Access::execute) {
            if (!user_address) return executable;
            return has(context_.cr4, cr4::smep) ? false : executable;
        }
        if (user_address && has(context_.cr4, cr4::smap)) {
            if (privilege == Privilege::implicit_supervisor) return false;
            if (privilege == Privilege::supervisor) return false;
        }
        if (access == Access::read) return true;
        return has(context_.cr0, cr0::wp) ? writable : true;
    }

    const GuestMemory& memory_;
    const PagingContext& context_;
    const Mode mode_;
};

// Random situations that are mostly sound: a walk that always fails in its first entry would test little.
class Situation {
  public:
    explicit Situation(std::uint64_t seed) : random_(seed) {
        memory.add_ram({0}, tables_in_ram * page_size, "ram");
        memory.add_rom({tables_in_ram * page_size}, std::vector<std::byte>(2 * page_size), "rom");
        memory.add_device({(tables_in_ram + 2) * page_size}, page_size, "device");
        // One more page, a hole.
    }

    void draw() {
        mode = static_cast<Mode>(one_in(50) ? 0 : 1 + below(3));
        context = {};
        static constexpr std::uint8_t widths[] = {32, 36, 39, 40, 46, 48, 52};
        context.physical_address_bits = widths[below(std::size(widths))];
        context.gigabyte_pages = !one_in(4);
        context.pse36 = !one_in(4);
        context.cr0 = (mode == Mode::off ? 0 : cr0::pg) | (coin() ? cr0::wp : 0);
        context.cr4 = maybe(cr4::pge) | maybe(cr4::smep) | maybe(cr4::smap) | maybe(cr4::pcide);
        if (!one_in(4)) context.cr4 |= cr4::pse;
        if (mode >= Mode::pae || (mode == Mode::off && coin())) context.cr4 |= cr4::pae;
        context.efer = one_in(3) ? 0 : efer::nxe;
        if (mode == Mode::four_level) context.efer |= efer::lme | efer::lma;
        access = static_cast<Access>(below(3));
        privilege = static_cast<Privilege>(below(4));

        linear = random_();
        if (mode == Mode::four_level) {
            linear = static_cast<std::uint64_t>(static_cast<std::int64_t>(linear << 16) >> 16);
        }
        // A small table of indices makes entries of one walk meet.
        if (one_in(4)) linear = mode == Mode::four_level ? ~page_mask : 0xfffff000 | (linear & page_mask);

        const std::uint64_t root = table();
        context.cr3 = root | below(4096);
        for (auto& pdpte : context.pdpte) pdpte = table() | (one_in(20) ? 0 : 1) | maybe(bits(3, 4));
        lay_entries(mode == Mode::pae ? context.pdpte[(linear >> 30) & 3] & bits(12, 51) : root);
        memory.take_dirty_pages();
    }

    GuestMemory memory;
    Mode mode = Mode::off;
    PagingContext context;
    std::uint64_t linear = 0;
    Access access = Access::read;
    Privilege privilege = Privilege::user;

  private:
    static constexpr std::uint64_t tables_in_ram = 12;

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    bool one_in(std::uint64_t chances) { return below(chances) == 0; }
    bool coin() { return one_in(2); }
    std::uint64_t maybe(std::uint64_t mask) { return coin() ? mask : 0; }

    std::uint64_t table() { return below(one_in(8) ? tables_in_ram + 4 : tables_in_ram) * page_size; }

    // Writes the entries that a walk of `linear` would read, from the root down.
    void lay_entries(std::uint64_t at) {
        const bool narrow = mode == Mode::two_level;
        std::vector<unsigned> shifts = {39, 30, 21, 12};
        if (mode == Mode::pae) shifts = {21, 12};
        if (narrow) shifts = {22, 12};
        for (const unsigned shift : shifts) {
            const std::uint64_t index = (linear >> shift) & (narrow ? 0x3ff : 0x1ff);
            const std::uint64_t next = table();
            const bool large = shift != 12 && shift != 39 && one_in(4);
            std::uint64_t value = next;
            if (shift == 12 || large) value = random_() & (bit(context.physical_address_bits) - bit(shift));
            if (narrow && large && one_in(2)) value |= random_() & bits(13, 20);
            value &= bits(0, 51);
            if (large) value |= entry::page_size;
            if (!one_in(40)) value |= entry::present;
            if (!one_in(6)) value |= entry::writable;
            if (!one_in(6)) value |= entry::user;
            value |= maybe(entry::accessed) | maybe(entry::dirty) | maybe(entry::global) | maybe(bits(3, 4)) |
                     maybe(bits(9, 11)) | maybe(large ? bit(12) : 0) | (shift == 12 ? maybe(bit(7)) : 0);
            if (one_in(12) && (context.efer & efer::nxe) != 0) value |= entry::no_execute;
            if (one_in(25)) value |= bit(static_cast<unsigned>(below(64)));
            if (!narrow && one_in(25)) value |= random_() & bits(52, 62);
            memory.place({at + index * (narrow ? 4 : 8)}, std::as_bytes(std::span(&value, 1)).first(narrow ? 4 : 8));
            if (large) return;
            at = next;
        }
    }

    std::mt19937_64 random_;
};

class RandomWalks : public testing::TestWithParam<int> {};

TEST_P(RandomWalks, AgreeWithTheNaiveWalk) {
    Situation situation(static_cast<std::uint64_t>(GetParam()));
    GuestMemory& memory = situation.memory;
    std::map<std::pair<Mode, std::string>, int> outcomes;

    for (int round = 0; round < 50'000; ++round) {
        situation.draw();
        const PagingContext& context = situation.context;
        const NaiveWalk naive(memory, context);
        const Verdict verdict = naive.judge(situation.linear, situation.access, situation.privilege);
        const bool may_write = !naive.judge(situation.linear, Access::write, situation.privilege).error;
        const bool may_fetch = !naive.judge(situation.linear, Access::execute, situation.privilege).error;

        SCOPED_TRACE(testing::Message() << "round " << round << std::hex << " cr0 " << context.cr0 << " cr3 "
                                        << context.cr3 << " cr4 " << context.cr4 << " efer " << context.efer
                                        << " linear " << situation.linear << " access "
                                        << static_cast<int>(situation.access) << " privilege "
                                        << static_cast<int>(situation.privilege));
        GuestPhysical quiet;
        const bool quietly = translate_quietly(memory, context, {situation.linear}, quiet);
        ASSERT_TRUE(memory.take_dirty_pages().empty());

        const auto result = walk(memory, context, {situation.linear}, situation.access, situation.privilege);
        std::string outcome;
        if (const auto* const fault = std::get_if<PageFaultInformation>(&result)) {
            ASSERT_TRUE(verdict.error.has_value()) << "fault " << fault->error_code << " where none belongs";
            ASSERT_EQ(fault->error_code, *verdict.error);
            ASSERT_EQ(quietly, (*verdict.error & 9) == 1) << "quietly: mapped unless not present or reserved";
            outcome = (*verdict.error & 8) != 0 ? "reserved" : (*verdict.error & 1) != 0 ? "rights" : "not present";
        } else {
            const auto& translation = std::get<Translation>(result);
            ASSERT_FALSE(verdict.error.has_value()) << "no fault where " << *verdict.error << " belongs";
            ASSERT_EQ(translation.physical.value, verdict.physical);
            ASSERT_EQ(translation.mapping_size, verdict.size);
            ASSERT_EQ(translation.entries_read, verdict.entries_read);
            ASSERT_EQ(translation.global, verdict.global);
            ASSERT_EQ(translation.execute_allowed, may_fetch);
            ASSERT_EQ(translation.write_allowed,
                      may_write && (verdict.leaf_dirty || situation.access == Access::write));
            ASSERT_TRUE(quietly);
            ASSERT_EQ(quiet.value, verdict.physical);
            outcome = "mapped " + std::to_string(verdict.size);
        }

        // The updates, and no page besides theirs. Where entries coincide the last update counts.
        std::map<std::uint64_t, std::uint64_t> expected;
        std::map<std::uint64_t, bool> pages;
        for (const auto& [address, value] : verdict.updates) {
            if (!memory.is_ram({address}, 1)) continue;
            expected[address] = value;
            pages[address / page_size] = true;
        }
        const auto dirty = memory.take_dirty_pages();
        ASSERT_EQ(dirty.size(), pages.size());
        for (const std::uint64_t page : dirty) ASSERT_TRUE(pages.count(page) != 0);
        for (const auto& [address, value] : expected) ASSERT_EQ(naive.entry_at(address), value);
        ++outcomes[{situation.mode, outcome}];
    }

    // The comparison is worth something only if every kind of end was reached often.
    for (const Mode mode : {Mode::two_level, Mode::pae, Mode::four_level}) {
        for (const char* outcome : {"not present", "reserved", "rights", "mapped 4096"})
            EXPECT_GT((outcomes[{mode, outcome}]), 300) << outcome << " in mode " << static_cast<int>(mode);
    }
    EXPECT_GT((outcomes[{Mode::two_level, "mapped 4194304"}]), 300);
    EXPECT_GT((outcomes[{Mode::pae, "mapped 2097152"}]), 300);
    EXPECT_GT((outcomes[{Mode::four_level, "mapped 2097152"}]), 300);
    EXPECT_GT((outcomes[{Mode::four_level, "mapped 1073741824"}]), 300);
    EXPECT_GT((outcomes[{Mode::off, "mapped 4096"}]), 300);
}

INSTANTIATE_TEST_SUITE_P(PageWalk, RandomWalks, testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace xenolith::mmu
