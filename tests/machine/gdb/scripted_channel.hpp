// The debugger's side of a session, written down beforehand: what it sends, and what came back.
#pragma once

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "machine/gdb/byte_channel.hpp"
#include "machine/gdb/packet.hpp"
#include "machine/gdb/session.hpp"

namespace xenolith::machine::gdb::test {

class ScriptedChannel final : public ByteChannel {
  public:
    void add(std::string_view bytes) { script_.push_back({std::string(bytes), false}); }
    // Arrives once the guest runs, and not before.
    void add_while_running(std::string_view bytes) { script_.push_back({std::string(bytes), true}); }

    // At the end of the script the debugger is gone.
    std::size_t read(std::span<char> to, Wait wait) override {
        if (script_.empty()) {
            open_ = open_ && wait == Wait::no;
            return 0;
        }
        Piece& piece = script_.front();
        // The first look comes before the guest runs.
        if (piece.waits_for_run && std::exchange(piece.waits_for_run, wait == Wait::yes)) return 0;
        if (wait == Wait::no && !piece.during_run) return 0;
        const std::size_t count = std::min(to.size(), piece.bytes.size());
        std::copy_n(piece.bytes.begin(), count, to.begin());
        piece.bytes.erase(0, count);
        if (piece.bytes.empty()) script_.pop_front();
        return count;
    }
    void write(std::string_view bytes) override { sent_ += bytes; }
    bool is_open() const override { return open_; }

    // Everything that the session sent, as bytes.
    const std::string& sent() const { return sent_; }
    // The packets among it.
    std::vector<std::string> packets() const {
        std::vector<std::string> found;
        PacketReader reader;
        for (const char byte : sent_) {
            auto arrival = reader.take(byte);
            if (arrival && arrival->kind == Arrival::Kind::packet) found.push_back(std::move(arrival->content));
        }
        return found;
    }

  private:
    struct Piece {
        Piece(std::string text, bool running) : bytes(std::move(text)), waits_for_run(running), during_run(running) {}
        std::string bytes;
        bool waits_for_run, during_run;
    };
    std::deque<Piece> script_;
    std::string sent_;
    bool open_ = true;
};

// What a session without acknowledgements answers to each packet, one after the other: `answers` has one entry per
// packet, and `texts` what was printed meanwhile.
struct Conversation {
    std::vector<std::string> answers;
    std::string texts;
    SessionEnd end = SessionEnd::disconnected;
    RunResult result;
};

inline Conversation converse(Machine& machine, const std::vector<std::string>& packets, SessionOptions options = {}) {
    ScriptedChannel channel;
    channel.add(frame("QStartNoAckMode"));
    for (const std::string& packet : packets) channel.add(frame(packet));
    Session session(machine, channel, std::move(options));
    Conversation talk;
    talk.end = session.serve();
    talk.result = session.result();
    for (std::string& answer : channel.packets()) {
        const auto text = answer.starts_with("O") && answer != "OK" ? from_hex(answer.substr(1)) : std::nullopt;
        if (text)
            talk.texts += *text;
        else
            talk.answers.push_back(std::move(answer));
    }
    if (!talk.answers.empty()) talk.answers.erase(talk.answers.begin());  // of QStartNoAckMode
    return talk;
}

// The answer to the last of the packets.
inline std::string last_answer(Machine& machine, const std::vector<std::string>& packets) {
    Conversation talk = converse(machine, packets);
    return talk.answers.empty() ? "(none)" : talk.answers.back();
}

}  // namespace xenolith::machine::gdb::test
