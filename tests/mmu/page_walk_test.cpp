// The page walk against the manual (Intel SDM vol. 3A, chapter 4), one rule at a time.
#include "mmu/page_walk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <optional>
#include <ostream>

#include "tests/mmu/page_tables.hpp"

namespace xenolith::mmu {
namespace {

using namespace test;
using testing::ElementsAre;
using testing::IsEmpty;

using Result = std::variant<Translation, PageFaultInformation>;

constexpr std::uint32_t P = page_fault_bit::present, W = page_fault_bit::write, U = page_fault_bit::user,
                        R = page_fault_bit::reserved, I = page_fault_bit::instruction;

std::optional<std::uint32_t> error_of(const Result& result) {
    if (const auto* const fault = std::get_if<PageFaultInformation>(&result)) return fault->error_code;
    return std::nullopt;
}

const Translation& translation_of(const Result& result) {
    const auto* const translation = std::get_if<Translation>(&result);
    if (translation == nullptr) throw std::runtime_error("page fault " + std::to_string(*error_of(result)));
    return *translation;
}

constexpr Access every_access[] = {Access::read, Access::write, Access::execute};
constexpr Privilege every_privilege[] = {Privilege::supervisor, Privilege::supervisor_ac,
                                         Privilege::implicit_supervisor, Privilege::user};

class EveryPaging : public testing::TestWithParam<Paging> {
  protected:
    PageTables tables{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(PageWalk, EveryPaging, testing::ValuesIn(every_paging),
                         [](const auto& row) { return name_of(row.param); });

TEST_P(EveryPaging, TranslatesWithTheSizeAndTheCostOfTheMapping) {
    for (const Access access : every_access) {
        for (const Privilege privilege : every_privilege) {
            const auto result = tables.walk_it(access, privilege);
            const Translation& translation = translation_of(result);
            EXPECT_EQ(translation.physical, tables.physical);
            EXPECT_EQ(translation.mapping_size, tables.mapping_size);
            EXPECT_EQ(translation.entries_read, tables.length());
            EXPECT_TRUE(translation.execute_allowed);
            EXPECT_FALSE(translation.global);
        }
    }
}

TEST_P(EveryPaging, TranslatesTheFirstAndTheLastByte) {
    const GuestLinear first{tables.linear.value & ~(tables.mapping_size - 1)};
    const GuestLinear last = first + (tables.mapping_size - 1);
    const auto at = [&](GuestLinear linear) {
        return translation_of(walk(tables.memory, tables.context, linear, Access::read, Privilege::user)).physical;
    };
    EXPECT_EQ(at(first).value, tables.frame);
    EXPECT_EQ(at(last).value, tables.frame + tables.mapping_size - 1);
    EXPECT_TRUE(error_of(walk(tables.memory, tables.context, last + 1, Access::read, Privilege::user)));
}

TEST_P(EveryPaging, QuietTranslationAgreesAndChangesNothing) {
    GuestPhysical physical;
    // Rights are of no interest to it.
    tables.clear(0, entry::user | entry::writable);
    ASSERT_TRUE(translate_quietly(tables.memory, tables.context, tables.linear, physical));
    EXPECT_EQ(physical, tables.physical);
    EXPECT_THAT(tables.memory.take_dirty_pages(), IsEmpty());
    for (std::size_t level = 0; level < tables.length(); ++level) {
        tables.clear(level, entry::present);
        EXPECT_FALSE(translate_quietly(tables.memory, tables.context, tables.linear, physical));
        tables.set(level, entry::present);
    }
}

TEST_P(EveryPaging, AnEntryThatIsNotPresentFaultsAtEveryLevel) {
    for (std::size_t level = 0; level < tables.length(); ++level) {
        SCOPED_TRACE(level);
        // Nothing else in such an entry matters, reserved bits included.
        const std::uint64_t before = tables.get(level);
        tables.put(level, ~entry::present & (is_two_level(GetParam()) ? bits(0, 31) : ~0ull));
        EXPECT_EQ(error_of(tables.walk_it(Access::read, Privilege::supervisor)), 0u);
        EXPECT_EQ(error_of(tables.walk_it(Access::write, Privilege::supervisor_ac)), W);
        EXPECT_EQ(error_of(tables.walk_it(Access::execute, Privilege::implicit_supervisor)), 0u);
        EXPECT_EQ(error_of(tables.walk_it(Access::read, Privilege::user)), U);
        EXPECT_EQ(error_of(tables.walk_it(Access::write, Privilege::user)), W | U);
        tables.put(level, before);
    }
    EXPECT_THAT(tables.memory.take_dirty_pages(), IsEmpty());
}

// The rights of a page are those that all of its entries grant: each row is tried with the lacking right
// withheld by the leaf, by each entry above it alone, and by all.
struct RightsRow {
    const char* name;
    bool user_page, writable, no_execute;
    std::uint64_t controls;  // CR0.WP, CR4.SMEP and CR4.SMAP together: their positions differ
    Privilege privilege;
    Access access;
    std::optional<std::uint32_t> error;  // without the instruction bit, which has a test of its own
};

std::ostream& operator<<(std::ostream& out, const RightsRow& row) { return out << row.name; }

class Rights : public testing::TestWithParam<std::tuple<Paging, RightsRow>> {};

TEST_P(Rights, OfAllEntriesTogether) {
    const auto& [paging, row] = GetParam();
    if (row.no_execute && is_two_level(paging)) return;  // entries of 32 bits have no such bit
    const std::size_t levels = PageTables(paging).length();
    for (std::size_t withheld = 0; withheld <= levels; ++withheld) {
        SCOPED_TRACE(withheld);
        PageTables tables(paging);
        tables.context.cr0 |= row.controls & cr0::wp;
        tables.context.cr4 |= row.controls & (cr4::smep | cr4::smap);
        if (!is_two_level(paging)) tables.context.efer |= efer::nxe;
        for (std::size_t level = 0; level < levels; ++level) {
            if (level != withheld && withheld != levels) continue;
            tables.clear(level, (row.user_page ? 0 : entry::user) | (row.writable ? 0 : entry::writable));
            if (row.no_execute) tables.set(level, entry::no_execute);
        }
        const bool told_fetch =
            row.access == Access::execute && (!is_two_level(paging) || (row.controls & cr4::smep) != 0);
        const auto expected = row.error ? std::optional(*row.error | (told_fetch ? I : 0)) : std::nullopt;
        const auto result = tables.walk_it(row.access, row.privilege);
        EXPECT_EQ(error_of(result), expected);
        if (row.error) {
            EXPECT_THAT(tables.memory.take_dirty_pages(), IsEmpty()) << "a refused access set a bit";
        } else {
            EXPECT_EQ(translation_of(result).physical, tables.physical);
        }
    }
}

constexpr Privilege super = Privilege::supervisor, super_ac = Privilege::supervisor_ac,
                    implicit = Privilege::implicit_supervisor, user = Privilege::user;
constexpr auto granted = std::nullopt;
constexpr std::uint64_t everything = cr0::wp | cr4::smep | cr4::smap;

INSTANTIATE_TEST_SUITE_P(
    PageWalk, Rights,
    testing::Combine(
        testing::ValuesIn(every_paging),
        testing::Values(
            // name, user page, writable, no-execute, controls, who, what, error
            RightsRow{"UserReadsUserPage", true, false, true, everything, user, Access::read, granted},
            RightsRow{"UserWritesUserPage", true, true, true, everything, user, Access::write, granted},
            RightsRow{"UserFetchesUserPage", true, false, false, everything, user, Access::execute, granted},
            RightsRow{"UserReadsSupervisorPage", false, true, false, 0, user, Access::read, P | U},
            RightsRow{"UserWritesSupervisorPage", false, true, false, 0, user, Access::write, P | U | W},
            RightsRow{"UserFetchesSupervisorPage", false, true, false, 0, user, Access::execute, P | U},
            RightsRow{"UserWritesReadOnlyPage", true, false, false, 0, user, Access::write, P | U | W},
            RightsRow{"UserWritesReadOnlyPageWp", true, false, false, cr0::wp, user, Access::write, P | U | W},
            RightsRow{"UserFetchesNoExecutePage", true, true, true, 0, user, Access::execute, P | U},

            RightsRow{"SupervisorReadsItsPage", false, false, true, everything, super, Access::read, granted},
            RightsRow{"SupervisorWritesItsPage", false, true, true, everything, super, Access::write, granted},
            RightsRow{"SupervisorFetchesItsPage", false, false, false, everything, super, Access::execute, granted},
            RightsRow{"SupervisorWritesReadOnly", false, false, false, 0, super, Access::write, granted},
            RightsRow{"SupervisorWritesReadOnlyWp", false, false, false, cr0::wp, super, Access::write, P | W},
            RightsRow{"SupervisorAcWritesReadOnlyWp", false, false, false, cr0::wp, super_ac, Access::write, P | W},
            RightsRow{"ImplicitWritesReadOnlyWp", false, false, false, cr0::wp, implicit, Access::write, P | W},
            RightsRow{"SupervisorFetchesNoExecute", false, true, true, 0, super, Access::execute, P},

            RightsRow{"SupervisorReadsUserPage", true, false, false, cr0::wp, super, Access::read, granted},
            RightsRow{"SupervisorWritesUserPage", true, true, false, cr0::wp, super, Access::write, granted},
            RightsRow{"SupervisorWritesReadOnlyUserPage", true, false, false, 0, super, Access::write, granted},
            RightsRow{"SupervisorWritesReadOnlyUserPageWp", true, false, false, cr0::wp, super, Access::write, P | W},
            RightsRow{"SupervisorFetchesUserPage", true, false, false, cr0::wp, super, Access::execute, granted},
            RightsRow{"SupervisorFetchesNoExecuteUser", true, true, true, 0, super, Access::execute, P},

            RightsRow{"SmepRefusesUserFetch", true, true, false, cr4::smep, super, Access::execute, P},
            RightsRow{"SmepRefusesUserFetchWithAc", true, true, false, cr4::smep, super_ac, Access::execute, P},
            RightsRow{"SmepAllowsUserRead", true, true, false, cr4::smep, super, Access::read, granted},
            RightsRow{"SmepAllowsUserWrite", true, true, false, cr4::smep, super, Access::write, granted},

            RightsRow{"SmapRefusesUserRead", true, true, false, cr4::smap, super, Access::read, P},
            RightsRow{"SmapRefusesUserWrite", true, true, false, cr4::smap, super, Access::write, P | W},
            RightsRow{"SmapRefusesReadOnlyUserWrite", true, false, false, cr4::smap, super, Access::write, P | W},
            RightsRow{"SmapAllowsUserFetch", true, true, false, cr4::smap, super, Access::execute, granted},
            RightsRow{"SmapAllowsReadWithAc", true, true, false, cr4::smap, super_ac, Access::read, granted},
            RightsRow{"SmapAllowsWriteWithAc", true, true, false, cr4::smap, super_ac, Access::write, granted},
            RightsRow{"SmapAcWritesReadOnly", true, false, false, cr4::smap, super_ac, Access::write, granted},
            RightsRow{"SmapAcWritesReadOnlyWp", true, false, false, cr4::smap | cr0::wp, super_ac, Access::write,
                      P | W},
            RightsRow{"SmapRefusesImplicitRead", true, true, false, cr4::smap, implicit, Access::read, P},
            RightsRow{"SmapRefusesImplicitWrite", true, true, false, cr4::smap, implicit, Access::write, P | W},
            RightsRow{"WithoutSmapImplicitReads", true, true, false, 0, implicit, Access::read, granted},
            RightsRow{"SmapAllowsSupervisorPages", false, true, false, cr4::smap, implicit, Access::write, granted})),
    [](const auto& row) { return std::string(name_of(std::get<0>(row.param))) + std::get<1>(row.param).name; });

TEST(PageWalk, TellsAFetchOnlyWhereTheManualSaysSo) {
    struct {
        Paging paging;
        std::uint64_t cr4, efer;
        bool told;
    } const cases[] = {
        {Paging::two_level_4k, 0, 0, false},
        {Paging::two_level_4k, 0, efer::nxe, false},  // NXE counts only with CR4.PAE
        {Paging::two_level_4k, cr4::smep, 0, true},
        {Paging::pae_4k, 0, 0, false},
        {Paging::pae_4k, cr4::smep, 0, true},
        {Paging::pae_4k, 0, efer::nxe, true},
        {Paging::four_level_4k, 0, 0, false},
        {Paging::four_level_4k, cr4::smep, 0, true},
        {Paging::four_level_4k, 0, efer::nxe, true},
        {Paging::four_level_4k, cr4::smep, efer::nxe, true},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(testing::Message() << name_of(row.paging) << std::hex << " " << row.cr4 << " " << row.efer);
        PageTables tables(row.paging);
        tables.context.cr4 |= row.cr4;
        tables.context.efer |= row.efer;
        const std::uint32_t fetch = row.told ? I : 0;
        tables.clear(0, entry::user);
        EXPECT_EQ(error_of(tables.walk_it(Access::execute, user)), P | U | fetch);
        tables.clear(0, entry::present);
        EXPECT_EQ(error_of(tables.walk_it(Access::execute, user)), U | fetch);
        EXPECT_EQ(error_of(tables.walk_it(Access::execute, super)), fetch);
        EXPECT_EQ(error_of(tables.walk_it(Access::read, user)), U);
        EXPECT_EQ(error_of(tables.walk_it(Access::write, user)), U | W);
    }
}

TEST(PageWalk, AnErrorCodeForAReservedBitHasThePresentBit) {
    PageTables tables(Paging::four_level_4k);
    tables.context.efer |= efer::nxe;
    // Even if the rights would not have been enough.
    tables.put(0, (tables.get(0) | bit(51)) & ~(entry::user | entry::writable));
    tables.clear(1, entry::user);
    EXPECT_EQ(error_of(tables.walk_it(Access::read, super)), P | R);
    EXPECT_EQ(error_of(tables.walk_it(Access::write, super)), P | R | W);
    EXPECT_EQ(error_of(tables.walk_it(Access::read, user)), P | R | U);
    EXPECT_EQ(error_of(tables.walk_it(Access::write, user)), P | R | W | U);
    EXPECT_EQ(error_of(tables.walk_it(Access::execute, user)), P | R | U | I);
}

TEST(PageWalk, TheFirstBadEntryFromTheRootDecides) {
    PageTables tables(Paging::four_level_4k);
    tables.set(3, bit(51));
    tables.clear(0, entry::present);
    EXPECT_EQ(error_of(tables.walk_it(Access::read, super)), P | R);
    tables.clear(3, bit(51));
    tables.clear(1, entry::present);
    tables.set(0, bit(51) | entry::present);
    EXPECT_EQ(error_of(tables.walk_it(Access::read, super)), 0u);
    // Missing rights above do not hide an entry that is not present below.
    tables.set(1, entry::present);
    tables.put(0, 0);
    tables.clear(3, entry::user);
    EXPECT_EQ(error_of(tables.walk_it(Access::read, user)), U);
}

// Which bits of an entry are reserved. Every other bit is tried too, apart from those in `skip`.
struct ReservedRow {
    const char* name;
    Paging paging;
    std::size_t above_leaf;
    std::uint64_t reserved;
    std::uint64_t skip;  // bits that would change where the walk goes
    std::uint8_t physical_address_bits = 46;
    bool nxe = true;
    bool gigabyte_pages = true;
    bool pse36 = true;
};

class Reserved : public testing::TestWithParam<ReservedRow> {};

TEST_P(Reserved, BitsAndNoOthers) {
    const ReservedRow& row = GetParam();
    PageTables tables(row.paging);
    tables.context.physical_address_bits = row.physical_address_bits;
    tables.context.gigabyte_pages = row.gigabyte_pages;
    tables.context.pse36 = row.pse36;
    if (row.nxe) tables.context.efer |= efer::nxe;
    const std::uint64_t original = tables.get(row.above_leaf);
    ASSERT_FALSE(error_of(tables.walk_it(Access::read, user)));
    for (unsigned position = 0; position < (is_two_level(row.paging) ? 32 : 64); ++position) {
        if ((bit(position) & (row.skip | entry::present | entry::user)) != 0) continue;
        SCOPED_TRACE(position);
        tables.put(row.above_leaf, original ^ bit(position));
        const auto error = error_of(tables.walk_it(Access::read, user));
        GuestPhysical physical;
        const bool quietly = translate_quietly(tables.memory, tables.context, tables.linear, physical);
        if ((row.reserved & bit(position)) != 0) {
            EXPECT_EQ(error, P | R | U);
            EXPECT_FALSE(quietly);
        } else {
            EXPECT_EQ(error, std::nullopt);
            EXPECT_TRUE(quietly);
        }
    }
}

constexpr std::uint64_t address_bits = bits(12, 45), page_size_bit = entry::page_size;

INSTANTIATE_TEST_SUITE_P(
    PageWalk, Reserved,
    testing::Values(
        // name, paging, entry, reserved, skip, MAXPHYADDR, NXE, 1 GiB pages, PSE-36
        ReservedRow{"TwoLevelPte", Paging::two_level_4k, 0, 0, 0},
        ReservedRow{"TwoLevelPde", Paging::two_level_4k, 1, 0, bits(12, 31) | page_size_bit},
        ReservedRow{"TwoLevelLargePde46", Paging::two_level_4m, 0, bit(21), page_size_bit, 46},
        ReservedRow{"TwoLevelLargePde40", Paging::two_level_4m, 0, bit(21), page_size_bit, 40},
        ReservedRow{"TwoLevelLargePde39", Paging::two_level_4m, 0, bits(20, 21), page_size_bit, 39},
        ReservedRow{"TwoLevelLargePde36", Paging::two_level_4m, 0, bits(17, 21), page_size_bit, 36},
        ReservedRow{"TwoLevelLargePde32", Paging::two_level_4m, 0, bits(13, 21), page_size_bit, 32},
        ReservedRow{"TwoLevelLargePdeNoPse36", Paging::two_level_4m, 0, bits(13, 21), page_size_bit, 46, true, true,
                    false},
        ReservedRow{"PaePte", Paging::pae_4k, 0, bits(46, 62), 0},
        ReservedRow{"PaePte36", Paging::pae_4k, 0, bits(36, 62), 0, 36},
        ReservedRow{"PaePte52", Paging::pae_4k, 0, bits(52, 62), 0, 52},
        ReservedRow{"PaePteNoNxe", Paging::pae_4k, 0, bits(46, 63), 0, 46, false},
        ReservedRow{"PaePde", Paging::pae_4k, 1, bits(46, 62), address_bits | page_size_bit},
        ReservedRow{"PaePdeNoNxe", Paging::pae_4k, 1, bits(46, 63), address_bits | page_size_bit, 46, false},
        ReservedRow{"PaeLargePde", Paging::pae_2m, 0, bits(13, 20) | bits(46, 62), page_size_bit},
        ReservedRow{"PaeLargePde36NoNxe", Paging::pae_2m, 0, bits(13, 20) | bits(36, 63), page_size_bit, 36, false},
        ReservedRow{"Pml4e", Paging::four_level_4k, 3, page_size_bit | bits(46, 51), address_bits},
        ReservedRow{"Pml4eNoNxe", Paging::four_level_4k, 3, page_size_bit | bits(46, 51) | bit(63), address_bits, 46,
                    false},
        ReservedRow{"Pdpte", Paging::four_level_4k, 2, bits(46, 51), address_bits | page_size_bit},
        ReservedRow{"PdpteNoGigabytePages", Paging::four_level_4k, 2, bits(46, 51) | page_size_bit, address_bits, 46,
                    true, false},
        ReservedRow{"Pde", Paging::four_level_4k, 1, bits(46, 51), address_bits | page_size_bit},
        ReservedRow{"Pte", Paging::four_level_4k, 0, bits(46, 51), 0},
        ReservedRow{"PteNoNxe", Paging::four_level_4k, 0, bits(46, 51) | bit(63), 0, 46, false},
        ReservedRow{"Pte36", Paging::four_level_4k, 0, bits(36, 51), 0, 36},
        ReservedRow{"Pte52", Paging::four_level_4k, 0, 0, 0, 52},
        ReservedRow{"LargePde", Paging::four_level_2m, 0, bits(13, 20) | bits(46, 51), page_size_bit},
        ReservedRow{"GigabytePdpte", Paging::four_level_1g, 0, bits(13, 29) | bits(46, 51), page_size_bit},
        ReservedRow{"GigabytePdpteNoNxe", Paging::four_level_1g, 0, bits(13, 29) | bits(40, 51) | bit(63),
                    page_size_bit, 40, false}),
    [](const auto& row) { return row.param.name; });

TEST(PageWalk, AGigabytePageThatIsNotOfferedIsAReservedBit) {
    PageTables tables(Paging::four_level_1g);
    tables.context.gigabyte_pages = false;
    EXPECT_EQ(error_of(tables.walk_it(Access::read, user)), P | R | U);
}

TEST(PageWalk, WithoutPseThePageSizeBitIsIgnored) {
    PageTables tables(Paging::two_level_4k);
    tables.context.cr4 = 0;
    tables.set(1, entry::page_size);
    EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).physical, tables.physical);
    EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).mapping_size, 4096u);
}

TEST(PageWalk, Pse36GivesAddressBits32To39) {
    PageTables tables(Paging::two_level_4m);
    tables.set(0, bits(13, 20));
    EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).physical.value, tables.physical.value | bits(32, 39));
    tables.clear(0, bits(14, 20));
    EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).physical.value, tables.physical.value | bit(32));
}

TEST(PageWalk, ThePatBitOfALargePageIsNoAddressBit) {
    for (const Paging paging : {Paging::two_level_4m, Paging::pae_2m, Paging::four_level_2m, Paging::four_level_1g}) {
        PageTables tables(paging);
        tables.set(0, bit(12));
        EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).physical, tables.physical) << name_of(paging);
    }
}

// Accessed and dirty bits.

TEST_P(EveryPaging, SetsAccessedEverywhereAndDirtyInTheLeafOfAWrite) {
    for (const Access access : every_access) {
        PageTables fresh(GetParam());
        std::vector<std::uint64_t> expected;
        for (std::size_t level = 0; level < fresh.length(); ++level)
            expected.push_back(fresh.get(level) | entry::accessed |
                               (access == Access::write && level == 0 ? entry::dirty : 0));
        EXPECT_EQ(translation_of(fresh.walk_it(access, user)).write_allowed, access == Access::write);
        for (std::size_t level = 0; level < fresh.length(); ++level) EXPECT_EQ(fresh.get(level), expected[level]);
        EXPECT_EQ(fresh.memory.take_dirty_pages().size(), fresh.length()) << "only the entries are written";
        // What is set is not written again.
        EXPECT_FALSE(error_of(fresh.walk_it(access, user)));
        EXPECT_THAT(fresh.memory.take_dirty_pages(), IsEmpty());
    }
}

TEST_P(EveryPaging, WritesOnlyTheEntryThatLacksTheBit) {
    for (std::size_t level = 0; level < tables.length(); ++level) tables.set(level, entry::accessed);
    EXPECT_FALSE(error_of(tables.walk_it(Access::write, super)));
    EXPECT_THAT(tables.memory.take_dirty_pages(), ElementsAre(tables.address_of(0).page_number()));
    EXPECT_EQ(tables.get(0) & entry::dirty, entry::dirty);
}

TEST_P(EveryPaging, AnEntryNextToTheOneUsedIsUntouched) {
    const GuestPhysical leaf = tables.address_of(0);
    const std::uint64_t size = is_two_level(GetParam()) ? 4 : 8;
    const std::vector<std::byte> pattern(size, std::byte{0x81});
    ASSERT_TRUE(tables.memory.write({leaf.value - size}, pattern));
    ASSERT_TRUE(tables.memory.write(leaf + size, pattern));
    EXPECT_FALSE(error_of(tables.walk_it(Access::write, super)));
    std::vector<std::byte> found(size);
    ASSERT_TRUE(tables.memory.read({leaf.value - size}, found));
    EXPECT_EQ(found, pattern);
    ASSERT_TRUE(tables.memory.read(leaf + size, found));
    EXPECT_EQ(found, pattern);
}

class CodeListenerMock : public CodeListener {
  public:
    MOCK_METHOD(void, code_written, (GuestPhysical, std::uint64_t), (override));
    MOCK_METHOD(void, code_page_added, (GuestPhysical), (override));
    MOCK_METHOD(void, remark_code, (GuestPhysical), (override));
};

TEST_P(EveryPaging, TellsWhoDecodedCodeFromAPageTable) {
    testing::StrictMock<CodeListenerMock> listener;
    tables.memory.mark_code(tables.address_of(0), 1);
    tables.memory.add_listener(&listener);
    EXPECT_CALL(listener, code_written(tables.address_of(0), is_two_level(GetParam()) ? 4 : 8)).Times(2);
    EXPECT_FALSE(error_of(tables.walk_it(Access::read, super)));   // accessed
    EXPECT_FALSE(error_of(tables.walk_it(Access::write, super)));  // dirty
    EXPECT_FALSE(error_of(tables.walk_it(Access::write, super)));  // neither
}

TEST(PageWalk, TablesInRomKeepTheirBits) {
    GuestMemory memory;
    std::vector<std::byte> rom(0x2000);
    const std::uint32_t pde = 0x101000 | 7;
    const std::uint32_t pte = 0x5000 | 7;
    std::memcpy(&rom[0], &pde, sizeof pde);
    std::memcpy(&rom[0x1000], &pte, sizeof pte);
    memory.add_rom({0x100000}, rom, "rom");
    PagingContext context;
    context.cr0 = cr0::pg;
    context.cr3 = 0x100000;
    const auto result = walk(memory, context, {0x123}, Access::write, user);
    EXPECT_EQ(translation_of(result).physical.value, 0x5123u);
    EXPECT_TRUE(translation_of(result).write_allowed);
    std::vector<std::byte> after(0x2000);
    ASSERT_TRUE(memory.read({0x100000}, after));
    EXPECT_EQ(after, rom);
    EXPECT_THAT(memory.take_dirty_pages(), IsEmpty());
}

TEST(PageWalk, AnEntryThatMapsItsOwnTableKeepsItsDirtyBit) {
    GuestMemory memory;
    memory.add_ram({0}, 0x10000, "ram");
    // The last entry of the PML4 table refers to the table itself, so every level of this walk is that one
    // entry.
    const std::uint64_t self = 0x1000 | entry::present | entry::writable;
    ASSERT_TRUE(memory.write({0x1ff8}, std::as_bytes(std::span(&self, 1))));
    PagingContext context;
    context.cr0 = cr0::pg;
    context.cr3 = 0x1000;
    context.cr4 = cr4::pae;
    context.efer = efer::lme | efer::lma;
    const auto result = walk(memory, context, {~0ull & ~page_mask}, Access::write, super);
    EXPECT_EQ(translation_of(result).physical.value, 0x1000u);
    std::uint64_t after = 0;
    ASSERT_TRUE(memory.read({0x1ff8}, std::as_writable_bytes(std::span(&after, 1))));
    EXPECT_EQ(after, self | entry::accessed | entry::dirty);
}

// What the translation promises for later accesses without a walk.

TEST_P(EveryPaging, PromisesWritesOnlyWithRightsAndADirtyLeaf) {
    struct {
        const char* what;
        bool writable, dirty, wp;
        Access access;
        Privilege privilege;
        bool promised;
    } const cases[] = {
        {"clean, read", true, false, true, Access::read, user, false},
        {"dirty, read", true, true, true, Access::read, user, true},
        {"dirty, fetch", true, true, true, Access::execute, user, true},
        {"clean, write", true, false, true, Access::write, user, true},
        {"read-only dirty, user", false, true, false, Access::read, user, false},
        {"read-only dirty, supervisor", false, true, false, Access::read, super, true},
        {"read-only clean, supervisor", false, false, false, Access::read, super, false},
        {"read-only dirty, supervisor with WP", false, true, true, Access::read, super, false},
    };
    for (const auto& row : cases) {
        SCOPED_TRACE(row.what);
        PageTables fresh(GetParam());
        if (!row.writable) fresh.clear(0, entry::writable);
        if (row.dirty) fresh.set(0, entry::dirty);
        if (row.wp) fresh.context.cr0 |= cr0::wp;
        EXPECT_EQ(translation_of(fresh.walk_it(row.access, row.privilege)).write_allowed, row.promised);
    }
}

TEST(PageWalk, PromisesFetchesByTheSamePrivilege) {
    struct {
        bool user_page, no_execute, smep;
        Privilege privilege;
        bool promised;
    } const cases[] = {
        {true, false, false, user, true},  {true, true, false, user, false},     {true, false, true, user, true},
        {true, false, false, super, true}, {true, false, true, super, false},    {false, false, true, super, true},
        {false, true, true, super, false}, {true, false, true, implicit, false},
    };
    for (const auto& row : cases) {
        PageTables tables(Paging::four_level_4k);
        tables.context.efer |= efer::nxe;
        if (!row.user_page) tables.clear(2, entry::user);
        if (row.no_execute) tables.set(1, entry::no_execute);
        if (row.smep) tables.context.cr4 |= cr4::smep;
        EXPECT_EQ(translation_of(tables.walk_it(Access::read, row.privilege)).execute_allowed, row.promised)
            << (&row - cases);
    }
}

TEST(PageWalk, SmapWithholdsThePromiseOfWritesFromFetches) {
    PageTables tables(Paging::four_level_4k);
    tables.set(0, entry::dirty);
    tables.context.cr4 |= cr4::smap;
    EXPECT_FALSE(translation_of(tables.walk_it(Access::execute, super)).write_allowed);
    EXPECT_TRUE(translation_of(tables.walk_it(Access::execute, super_ac)).write_allowed);
}

TEST_P(EveryPaging, IsGlobalOnlyByTheLeafAndWithPge) {
    for (std::size_t level = 0; level < tables.length(); ++level) {
        tables.set(level, entry::global);
        EXPECT_FALSE(translation_of(tables.walk_it(Access::read, user)).global);
        tables.context.cr4 |= cr4::pge;
        EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).global, level == 0);
        tables.context.cr4 &= ~cr4::pge;
        tables.clear(level, entry::global);
    }
}

// Where the walk starts, and which linear addresses there are.

TEST(PageWalk, TheLowBitsOfCr3AreNoAddress) {
    for (const Paging paging : {Paging::two_level_4k, Paging::four_level_4k}) {
        for (const std::uint64_t pcide : {std::uint64_t{0}, cr4::pcide}) {
            PageTables tables(paging);
            tables.context.cr3 |= 0xfff;
            tables.context.cr4 |= pcide;
            EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).physical, tables.physical);
        }
    }
    // Outside IA-32e mode only 32 bits of CR3 count; in it, MAXPHYADDR bits do.
    PageTables two_level(Paging::two_level_4k);
    two_level.context.cr3 |= bit(32);
    EXPECT_FALSE(error_of(two_level.walk_it(Access::read, user)));
    PageTables four_level(Paging::four_level_4k);
    four_level.context.cr3 |= bit(63) | bit(46);
    EXPECT_FALSE(error_of(four_level.walk_it(Access::read, user)));
    four_level.context.cr3 |= bit(45);
    EXPECT_EQ(error_of(four_level.walk_it(Access::read, user)), P | R | U);
}

TEST(PageWalk, WideEntriesReachTablesAbove4GiB) {
    constexpr std::uint64_t high = bit(45);  // the highest address bit there is
    for (const bool four_level : {false, true}) {
        GuestMemory memory;
        memory.add_ram({high}, 0x5000, "high");
        memory.add_ram({0}, 0x5000, "a decoy for who drops the high bits");
        for (const std::uint64_t table : {0x1000u, 0x2000u, 0x3000u, 0x4000u}) {
            const std::uint64_t next = high + table + 0x1000 + 7;
            ASSERT_TRUE(memory.write({high + table}, std::as_bytes(std::span(&next, 1))));
        }
        PagingContext context;
        context.cr0 = cr0::pg;
        context.cr4 = cr4::pae;
        context.cr3 = high + 0x1000;
        context.pdpte[0] = high + 0x3000 + 1;
        if (four_level) context.efer = efer::lme | efer::lma;
        const auto result = walk(memory, context, {0x123}, Access::write, user);
        EXPECT_EQ(translation_of(result).physical.value, high + 0x5123);
        EXPECT_EQ(translation_of(result).entries_read, four_level ? 4 : 2);
    }
}

TEST(PageWalk, OutsideIa32eModeLinearAddressesHave32Bits) {
    for (const Paging paging : every_paging) {
        PageTables tables(paging);
        tables.linear = {tables.linear.value ^ bit(40)};
        GuestPhysical physical;
        const bool found = translate_quietly(tables.memory, tables.context, tables.linear, physical);
        EXPECT_EQ(found, !is_four_level(paging)) << name_of(paging);
        EXPECT_EQ(!error_of(tables.walk_it(Access::read, user)), found) << name_of(paging);
    }
}

TEST(PageWalk, WithoutPagingTheLinearAddressIsThePhysicalOne) {
    PageTables tables(Paging::four_level_4k);
    tables.context.cr0 = cr0::wp;
    tables.context.cr4 |= cr4::smep | cr4::smap;
    tables.context.efer = efer::lme | efer::nxe;  // IA-32e mode is asked for but not yet on
    for (const Access access : every_access) {
        for (const Privilege privilege : every_privilege) {
            const auto result = walk(tables.memory, tables.context, {0x1234567887654321}, access, privilege);
            const Translation& translation = translation_of(result);
            EXPECT_EQ(translation.physical.value, 0x87654321u);
            EXPECT_EQ(translation.mapping_size, page_size);
            EXPECT_EQ(translation.entries_read, 0);
            EXPECT_TRUE(translation.write_allowed);
            EXPECT_TRUE(translation.execute_allowed);
            EXPECT_FALSE(translation.global);
        }
    }
    GuestPhysical physical;
    EXPECT_TRUE(translate_quietly(tables.memory, tables.context, {0x1234567887654321}, physical));
    EXPECT_EQ(physical.value, 0x87654321u);
    EXPECT_THAT(tables.memory.take_dirty_pages(), IsEmpty());
}

TEST(PageWalk, TablesOutsideMemoryReadAsOnes) {
    GuestMemory memory;
    memory.add_device({0x1000}, 0x1000, "device");
    PagingContext context;
    context.cr0 = cr0::pg;
    for (const std::uint64_t table : {0x1000u, 0x2000u}) {  // a device, a hole
        context.cr3 = table;
        // In 32-bit paging ones are a valid entry of a valid table at the top of memory, which is ones again.
        context.cr4 = 0;
        const auto result = walk(memory, context, {0x123}, Access::write, user);
        EXPECT_EQ(translation_of(result).physical.value, 0xfffff123u);
        EXPECT_TRUE(translation_of(result).write_allowed);
        // As a 4 MiB page, or in wider entries, they have reserved bits set.
        context.cr4 = cr4::pse;
        EXPECT_EQ(error_of(walk(memory, context, {0x123}, Access::read, user)), P | R | U);
        context.cr4 = cr4::pae;
        context.pdpte = {table | 1, 0, 0, 0};
        EXPECT_EQ(error_of(walk(memory, context, {0x123}, Access::read, user)), P | R | U);
        context.efer = efer::lme | efer::lma;
        EXPECT_EQ(error_of(walk(memory, context, {0x123}, Access::read, user)), P | R | U);
        context.efer = 0;
    }
}

// The PDPTE registers of PAE paging.

TEST(PageWalk, PaePagingUsesTheRegistersAndTheirPresentBits) {
    PageTables tables(Paging::pae_4k);
    const std::size_t used = (tables.linear.value >> 30) & 3;
    tables.context.pdpte[used] |= bits(3, 4) | bits(9, 11);  // cache controls and ignored bits
    EXPECT_EQ(translation_of(tables.walk_it(Access::read, user)).physical, tables.physical);
    for (std::size_t other = 0; other < 4; ++other) {
        if (other == used) continue;
        const GuestLinear elsewhere{(tables.linear.value & bits(0, 29)) | other << 30};
        EXPECT_EQ(error_of(walk(tables.memory, tables.context, elsewhere, Access::write, user)), W | U);
    }
    tables.context.pdpte[used] &= ~entry::present;
    EXPECT_EQ(error_of(tables.walk_it(Access::read, super)), 0u);
}

class LoadPdptes : public testing::Test {
  protected:
    LoadPdptes() { memory.add_ram({0}, 0x10000, "ram"); }

    void put(std::uint64_t address, const std::array<std::uint64_t, 4>& entries) {
        ASSERT_TRUE(memory.write({address}, std::as_bytes(std::span(entries))));
    }

    GuestMemory memory;
    const std::array<std::uint64_t, 4> old{1, 2, 3, 4};
    std::array<std::uint64_t, 4> registers = old;
};

TEST_F(LoadPdptes, TakesFourEntriesFrom32AlignedBytes) {
    put(0x1fe0, {0x3001, 0, 0x5001 | bits(3, 4) | bits(9, 11), 0x45001});
    // CR3: the low five bits and those above bit 31 are not part of the address.
    ASSERT_TRUE(load_pdptes(memory, 0x1fe0 | 0x1f | bit(32), 46, registers));
    EXPECT_THAT(registers, ElementsAre(0x3001, 0, 0x5001 | bits(3, 4) | bits(9, 11), 0x45001));
}

TEST_F(LoadPdptes, RefusesReservedBitsOfPresentEntries) {
    for (const std::uint8_t width : std::initializer_list<std::uint8_t>{36, 46, 52}) {
        const std::uint64_t reserved = bits(1, 2) | bits(5, 8) | bits(width, 63);
        for (std::size_t index = 0; index < 4; ++index) {
            for (unsigned position = 1; position < 64; ++position) {
                std::array<std::uint64_t, 4> entries{};
                entries[index] = bit(position) | entry::present;
                put(0x2000, entries);
                registers = old;
                const bool allowed = (reserved & bit(position)) == 0;
                EXPECT_EQ(load_pdptes(memory, 0x2000, width, registers), allowed) << position;
                EXPECT_EQ(registers, allowed ? entries : old) << position;
                // An entry that is not present may hold anything.
                entries[index] = bit(position);
                put(0x2000, entries);
                EXPECT_TRUE(load_pdptes(memory, 0x2000, width, registers)) << position;
            }
        }
    }
}

TEST_F(LoadPdptes, RefusesWhatCannotBeRead) {
    EXPECT_FALSE(load_pdptes(memory, 0x10000, 46, registers));
    memory.add_device({0x10000}, 0x1000, "device");
    EXPECT_FALSE(load_pdptes(memory, 0x10000, 46, registers));
    EXPECT_EQ(registers, old);
}

}  // namespace
}  // namespace xenolith::mmu
