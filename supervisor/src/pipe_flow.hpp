// What is between the writers and the readers of a pipe, as data: which reader gets what, how much
// may wait, and what the next reader of a slot gets when one has died. Nothing here knows of
// descriptors or processes.
//
//  P1  Whole messages come in and whole messages go out, in the order of their writer.
//  P2  What a reader has not read is kept until he has, so that his successor gets it. A message of
//      which he has read a part is given to the successor from its beginning; bytes, which have no
//      parts, go on where he stopped.
//  P3  What everybody hears is heard by somebody: who comes begins with what nobody has read yet.
//  P4  Of what was not sent yet only about a portion waits for each reader: then the writers wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "pipe_frames.hpp"

namespace greensup {

/// What is on its way to the readers of one slot, one after the other.
class Outlet {
 public:
    /// What is to be sent to the present reader, in one piece.
    [[nodiscard]] std::string_view to_send() const {
        return std::string_view{bytes_}.substr(begin_ + sent_);
    }
    /// How much of that belongs to a message that he has a part of.
    [[nodiscard]] std::size_t due(Cut cut) const;
    [[nodiscard]] std::size_t unsent() const { return size() - sent_; }
    /// All that he has not read, as far as is known.
    [[nodiscard]] std::size_t size() const { return bytes_.size() - begin_; }
    [[nodiscard]] bool was_begun() const { return sent_ > 0; }

    void add(std::string_view messages) { bytes_ += messages; }
    void sent(std::size_t count) { sent_ += count; }
    /// So many of the bytes that were sent are still to be read.
    void unread(Cut cut, std::size_t count);
    /// The reader is gone, and has left so many unread: the next one begins with them.
    void rewind(Cut cut, std::size_t count);
    /// The first so many bytes, of which nobody was sent any, went to somebody else.
    void passed_on(std::size_t count);
    /// Takes all that is there, for somebody else.
    [[nodiscard]] std::string take_all();
    /// All that he has not read, from where a message begins.
    [[nodiscard]] std::string_view text() const { return std::string_view{bytes_}.substr(begin_); }

 private:
    void trim();

    std::string bytes_;
    std::size_t begin_ = 0;  // of what is kept: where a message begins
    std::size_t sent_ = 0;   // of that, to the present reader
};

class PipeFlow {
 public:
    static constexpr std::size_t portion = 64 << 10;

    /// `readers`: how many slots they have. What is there goes on its way, as there is no
    /// obstacle().
    void configure(PipeShape shape, Cut cut, int readers);

    [[nodiscard]] Cut cut() const noexcept { return cut_; }
    [[nodiscard]] PipeShape shape() const noexcept { return shape_; }
    /// How many slots may get something.
    [[nodiscard]] int readers() const noexcept { return shape_ == PipeShape::merge ? 1 : readers_; }
    /// Whether what this writer sends goes to this reader, or may.
    [[nodiscard]] bool feeds(int writer, int reader) const {
        if (shape_ == PipeShape::pair) return writer == reader;
        return shape_ != PipeShape::merge || reader == 0;
    }

    [[nodiscard]] Outlet& outlet(int slot) { return outlets_[slot]; }
    /// Bytes that nobody has read.
    [[nodiscard]] std::uint64_t waiting() const;
    /// The part of them that the readers of these slots may get.
    [[nodiscard]] std::uint64_t waiting_for(const std::set<int>& slots) const;

    /// Whether the writer of that slot may send more.
    [[nodiscard]] bool has_room(int writer) const;
    /// Sends whole messages of his on their way.
    void put(int writer, std::string_view messages);

    /// A reader came to the slot.
    void reader_came(int slot) { present_.insert(slot); }
    /// He left so many bytes unread.
    void reader_left(int slot, std::size_t unread);
    /// Slots whose readers have come to their end, and slots whose readers are lost: where others
    /// do the same work, or hear the same, nothing waits for either of them, as long as anybody is
    /// left. What everybody hears is counted for those that are lost.
    void set_over(std::set<int> done, std::set<int> lost);
    [[nodiscard]] const std::set<int>& lost() const noexcept { return lost_; }
    /// Bytes that this slot has not heard, and will not.
    [[nodiscard]] std::uint64_t missed_by(int slot) const;
    [[nodiscard]] std::uint64_t missed() const;
    /// Where others do the same work, what waits for somebody who is away goes to those who are
    /// there, as far as they have room. Returns whether some of it still waits.
    bool pass_on();

 private:
    [[nodiscard]] bool has_room_at(int slot) const;
    /// Somebody who is there has room.
    [[nodiscard]] bool has_room_now() const;
    [[nodiscard]] bool takes(int slot) const {
        return slot < readers_ && !done_.contains(slot) && !lost_.contains(slot);
    }
    void share_out(std::string_view messages);
    [[nodiscard]] int next_in_turn();
    void welcome_the_new();
    void drop_the_gone();

    PipeShape shape_ = PipeShape::pair;
    Cut cut_ = Cut::bytes;
    int readers_ = 1;
    int turn_ = 0;  // who had the last one, where they are shared out
    std::map<int, Outlet> outlets_;
    std::set<int> present_;
    std::set<int> done_;
    std::set<int> lost_;
    std::map<int, std::uint64_t> missed_;
    std::set<int> hearers_;  // of a broadcast, now or when there were any the last time
};

}  // namespace greensup
