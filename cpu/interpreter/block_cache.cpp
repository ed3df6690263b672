#include "cpu/interpreter/block_cache.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace xenolith::cpu {

namespace {

// Bytes of a page that is neither RAM nor ROM read as ones, as from a bus nobody answers.
constexpr std::array<std::byte, mmu::page_size> make_open_bus() {
    std::array<std::byte, mmu::page_size> bytes{};
    bytes.fill(std::byte{0xff});
    return bytes;
}
constexpr std::array<std::byte, mmu::page_size> open_bus = make_open_bus();

std::span<const std::byte> rest_of_page(const mmu::GuestMemory& memory, mmu::GuestPhysical start) {
    const std::byte* const page = memory.readable(start.page());
    return std::span(page != nullptr ? page : open_bus.data(), mmu::page_size).subspan(start.page_offset());
}

// Gives an instruction its place. RIP-relative operands count from the block's start.
void place(Instruction& instruction, std::uint32_t start, unsigned ordinal, std::uint32_t cost_before) {
    instruction.start = static_cast<std::uint16_t>(start);
    instruction.ordinal = static_cast<std::uint8_t>(ordinal);
    instruction.cost_before = cost_before;
    if (instruction.base == CpuState::rip_slot) instruction.displacement += instruction.end();
}

std::uint64_t bytes_in_first_page(const Block& block) {
    return std::min<std::uint64_t>(block.bytes, mmu::page_size - block.start.page_offset());
}

}  // namespace

BlockCache::BlockCache(mmu::GuestMemory& memory, const Decoder& decoder) : memory_(memory), decoder_(decoder) {}

Block* BlockCache::find(mmu::GuestPhysical start, DecodeMode mode) const {
    const auto found = blocks_.find(key(start, mode));
    return found == blocks_.end() ? nullptr : found->second.get();
}

Block* BlockCache::make(mmu::GuestPhysical start, DecodeMode mode) {
    const std::span<const std::byte> bytes = rest_of_page(memory_, start);
    std::array<Instruction, longest_block> decoded;
    unsigned count = 0;
    std::uint32_t at = 0, cost = 0;
    while (count < longest_block && at < bytes.size()) {
        Instruction& instruction = decoded[count];
        const Decoder::Result result = decoder_.decode(bytes.subspan(at), mode, instruction);
        if (result == Decoder::Result::need_more_bytes) break;
        place(instruction, at, count, cost);
        ++count;
        at += instruction.length;
        cost += instruction.cost;
        if (instruction.last) break;
    }
    if (count == 0) return nullptr;
    auto block = std::make_unique<Block>();
    decoded[count - 1].last = true;
    block->instructions = std::make_unique<Instruction[]>(count);
    std::copy_n(decoded.begin(), count, block->instructions.get());
    block->count = count;
    block->bytes = at;
    block->start = start;
    block->mode = mode;
    return keep(std::move(block));
}

Block* BlockCache::make_crossing(mmu::GuestPhysical start, mmu::GuestPhysical second_page, DecodeMode mode) {
    std::array<std::byte, Decoder::longest> bytes{};
    const std::span<const std::byte> first = rest_of_page(memory_, start);
    const std::size_t in_first = std::min(first.size(), bytes.size());
    std::copy_n(first.begin(), in_first, bytes.begin());
    std::copy_n(rest_of_page(memory_, second_page).begin(), bytes.size() - in_first,
                bytes.begin() + static_cast<std::ptrdiff_t>(in_first));
    auto block = std::make_unique<Block>();
    block->instructions = std::make_unique<Instruction[]>(1);
    Instruction& instruction = block->instructions[0];
    decoder_.decode(bytes, mode, instruction);
    place(instruction, 0, 0, 0);
    instruction.last = true;
    block->count = 1;
    block->bytes = instruction.length;
    block->start = start;
    block->second_page = second_page;
    block->crosses_page = true;
    block->mode = mode;
    return keep(std::move(block));
}

Block* BlockCache::keep(std::unique_ptr<Block> block) {
    const std::uint64_t block_key = key(block->start, block->mode);
    drop_block(block_key);
    const std::uint64_t in_first = bytes_in_first_page(*block);
    note_place(block->start, in_first, block_key);
    if (block->crosses_page && block->bytes > in_first)
        note_place(block->second_page, block->bytes - in_first, block_key);
    Block* const kept = block.get();
    blocks_[block_key] = std::move(block);
    return kept;
}

void BlockCache::note_place(mmu::GuestPhysical start, std::uint64_t size, std::uint64_t block_key) {
    const auto first = static_cast<std::uint16_t>(start.page_offset());
    pages_[start.page_number()].push_back({block_key, first, static_cast<std::uint16_t>(first + size - 1)});
    memory_.mark_code(start, size);
}

void BlockCache::drop_block(std::uint64_t block_key) {
    const auto found = blocks_.find(block_key);
    if (found == blocks_.end()) return;
    Block& block = *found->second;
    block.valid = false;
    // If it is being executed, it ends behind the instruction that wrote.
    for (std::uint32_t n = 0; n < block.count; ++n) block.instructions[n].last = true;
    const auto forget = [&](mmu::GuestPhysical page) {
        const auto of_page = pages_.find(page.page_number());
        if (of_page == pages_.end()) return;
        std::erase_if(of_page->second, [&](const Place& place) { return place.block_key == block_key; });
    };
    forget(block.start);
    if (block.crosses_page) forget(block.second_page);
    dropped_.push_back(std::move(found->second));
    blocks_.erase(found);
}

void BlockCache::drop_in_page(mmu::GuestPhysical page, std::uint64_t first, std::uint64_t last) {
    const auto found = pages_.find(page.page_number());
    if (found == pages_.end()) return;
    std::vector<std::uint64_t> written;
    for (const Place& place : found->second)
        if (place.first <= last && first <= place.last) written.push_back(place.block_key);
    for (const std::uint64_t block_key : written) drop_block(block_key);
    if (found->second.empty()) pages_.erase(found);
    // What is still code there is marked again, so that stores elsewhere in the page stay cheap.
    memory_.remark_code(page);
}

void BlockCache::remark(mmu::GuestPhysical page) {
    const auto found = pages_.find(page.page_number());
    if (found == pages_.end()) return;
    std::uint64_t chunks = 0;
    for (const Place& place : found->second) chunks |= mmu::code_chunk_mask(place.first, place.last - place.first + 1u);
    while (chunks != 0) {
        const unsigned first = static_cast<unsigned>(std::countr_zero(chunks));
        const unsigned count = static_cast<unsigned>(std::countr_one(chunks >> first));
        memory_.mark_code(page + first * mmu::code_chunk_size, count * mmu::code_chunk_size);
        chunks &= ~mmu::code_chunk_mask(first * mmu::code_chunk_size, count * mmu::code_chunk_size);
    }
}

void BlockCache::drop(mmu::GuestPhysical start, std::uint64_t size) {
    for (std::uint64_t done = 0; done < size;) {
        const mmu::GuestPhysical at = start + done;
        const std::uint64_t count = std::min(size - done, mmu::page_size - at.page_offset());
        drop_in_page(at.page(), at.page_offset(), at.page_offset() + count - 1);
        done += count;
    }
}

void BlockCache::drop_all() {
    while (!blocks_.empty()) drop_block(blocks_.begin()->first);
    pages_.clear();
}

}  // namespace xenolith::cpu
