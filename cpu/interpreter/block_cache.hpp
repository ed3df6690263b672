// Decoded code, cached by guest-physical address and decode mode, dropped when its bytes are written.
//
// A block is a run of instructions that are executed one after the other: it ends behind an instruction that
// transfers control or changes what decoding or translation depends on, and at the end of its page. An instruction
// that crosses into another page is a block of its own, because that page may be mapped anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cpu/decode/decoder.hpp"
#include "cpu/isa/instruction.hpp"
#include "mmu/guest_memory.hpp"

namespace xenolith::cpu {

struct Block {
    std::unique_ptr<Instruction[]> instructions;
    std::uint32_t count = 0;
    std::uint32_t bytes = 0;  // of all encodings together
    mmu::GuestPhysical start;
    mmu::GuestPhysical second_page;  // of the page a crossing instruction ends in
    bool crosses_page = false;
    bool valid = true;  // false once its bytes were written: it may only be left, never entered
    DecodeMode mode = DecodeMode::real16;
};

class BlockCache {
  public:
    static constexpr unsigned longest_block = 64;  // instructions

    BlockCache(mmu::GuestMemory& memory, const Decoder& decoder);

    // The cached block that starts there, or null.
    Block* find(mmu::GuestPhysical start, DecodeMode mode) const;
    // Decodes one. Null if its first instruction does not end in its page: then use make_crossing.
    Block* make(mmu::GuestPhysical start, DecodeMode mode);
    // The one instruction that starts at `start`, at the end of a page, and goes on in `second_page`.
    Block* make_crossing(mmu::GuestPhysical start, mmu::GuestPhysical second_page, DecodeMode mode);

    // Drops every block that holds one of these bytes. A block being executed ends behind its current instruction.
    void drop(mmu::GuestPhysical start, std::uint64_t size);
    void drop_all();
    // Marks the bytes of this cache's blocks in a page as code, after GuestMemory forgot all marks there.
    void remark(mmu::GuestPhysical page);

    // Dropped blocks stay allocated until the caller holds no pointer to any: it says so here.
    bool has_dropped_many() const { return dropped_.size() > 1000; }
    void free_dropped() { dropped_.clear(); }

  private:
    // A block's bytes in one page: offsets of the first and the last.
    struct Place {
        std::uint64_t block_key;
        std::uint16_t first, last;
    };
    using Page = std::vector<Place>;

    static std::uint64_t key(mmu::GuestPhysical start, DecodeMode mode) {
        return start.value << 3 | static_cast<std::uint64_t>(mode);
    }
    Block* keep(std::unique_ptr<Block> block);
    void drop_block(std::uint64_t block_key);
    void note_place(mmu::GuestPhysical start, std::uint64_t size, std::uint64_t block_key);
    void drop_in_page(mmu::GuestPhysical page, std::uint64_t first, std::uint64_t last);

    mmu::GuestMemory& memory_;
    const Decoder& decoder_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Block>> blocks_;
    std::unordered_map<std::uint64_t, Page> pages_;  // by page number
    std::vector<std::unique_ptr<Block>> dropped_;
};

}  // namespace xenolith::cpu
