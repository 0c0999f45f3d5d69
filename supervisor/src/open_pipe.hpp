// A pipe that the supervisor holds between two pools.
//
// Each process has an end of its own, and the supervisor moves whole messages from the ends of the
// writers to those of the readers (see pipe_flow.hpp). So the death or the replacement of one side
// is nothing that the other one could see.
//
//  O1  Of the processes of one slot only the oldest is read from, and only the oldest is written
//      to: the next one's turn comes when it is gone and its rest is taken care of. Therefore the
//      stream of a slot keeps its order while two generations live side by side.
//  O2  Nothing here waits: everything is done in callbacks of the hub, a portion at a time. Who
//      reads slowly makes his writers wait, and nobody else.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <green/fd.hpp>
#include <green/loop_watchers.hpp>
#include <green/world_watchers.hpp>

#include "pipe_flow.hpp"

namespace greensup {

/// A process at a pipe, or a slot for which nobody reads.
struct EndFigures {
    enum class State {
        open,
        next,    // it has its turn when the one before it in its slot is gone
        held,    // a writer of another type than the one before it
        ended,   // its input has ended, or it writes no more
        closed,  // a reader that has closed its end
        gone     // a writer that has left something behind; a slot without a reader
    };
    int slot = 0;
    int pid = 0;
    State state = State::open;
    std::uint64_t bytes = 0;    // that were taken from it, or sent to it
    std::uint64_t waiting = 0;  // that were not taken from it, or that it has not read
    /// Something waits, and since then nothing of it was taken, or read; as a glance has found it.
    std::optional<green::TimePoint> stands_since;
};
std::string_view to_text(EndFigures::State state);

struct PipeFigures {
    std::uint64_t waiting = 0;  // bytes that were written, and that no reader has read
    std::uint64_t passed = 0;   // bytes that were sent on
    std::uint64_t torn = 0;     // messages whose writer died in the middle
    std::uint64_t refused = 0;  // messages that were too large
    std::uint64_t missed = 0;   // bytes that were not kept for lost readers of a broadcast
    std::vector<EndFigures> writers;
    std::vector<EndFigures> readers;
};

/// What became of the pools at its ends.
struct PipeSides {
    bool writers_over = false;          // nobody writes, and nobody will
    std::set<int> writer_slots_over;    // the same for single slots
    std::set<int> reader_slots_done;    // that have come to their end by themselves
    std::set<int> reader_slots_failed;  // that were given up

    friend bool operator==(const PipeSides&, const PipeSides&) = default;
};

class OpenPipe {
 public:
    /// So many writers of a slot may have died and left something behind that nobody has taken yet.
    static constexpr std::size_t most_left_behind = 8;

    /// `grace`: who has closed its end may be dying, and has so long to do it. `glance`: how often
    /// is looked whether what waits has moved, of which nobody tells us.
    OpenPipe(const PipeConfig& config, int readers,
             std::chrono::nanoseconds grace = std::chrono::seconds{1},
             std::chrono::nanoseconds glance = std::chrono::seconds{1});
    OpenPipe(const OpenPipe&) = delete;
    OpenPipe& operator=(const OpenPipe&) = delete;
    ~OpenPipe();

    [[nodiscard]] const PipeConfig& config() const noexcept { return config_; }
    [[nodiscard]] Cut cut() const noexcept { return flow_.cut(); }
    /// Of a message of a hub worker, in bytes.
    [[nodiscard]] std::uint64_t largest_payload() const;
    /// Takes over what has changed. For a configuration that is cut() alike.
    void apply(const PipeConfig& config, int readers);

    /// An end for a process of that slot; `theirs` is what it gets. Returns its number. Throws
    /// std::system_error: EAGAIN when most_left_behind has been reached.
    [[nodiscard]] int add_writer(int slot, green::Fd& theirs);
    [[nodiscard]] int add_reader(int slot, green::Fd& theirs);
    /// The process that had this end is gone. Of a writer that has left in peace the last line is
    /// whole, whether it has an end or not.
    void remove(int end, bool in_peace);
    /// The process that has it, for what is told of it.
    void belongs_to(int end, int pid);
    /// The reader with this end shall leave: his input ends. With a successor that is as soon as he
    /// has the whole of what he has a part of; without one, when there is nothing left to read.
    /// Returns whether he will hear of it: not if he has closed his end, which is then part of his
    /// leaving.
    bool end_input(int end, bool has_successor);
    /// What has become of both sides.
    void tell(PipeSides sides);

    [[nodiscard]] PipeFigures figures();
    /// A slot of its writers waits until a reader has taken some.
    [[nodiscard]] bool is_behind() const;
    /// Of what waits, the bytes that may still come to the readers of these slots.
    [[nodiscard]] std::uint64_t waiting_for(std::set<int> slots);

 private:
    struct Writer;
    struct Reader;

    [[nodiscard]] std::pair<green::Fd, green::Fd> make_ends() const;
    /// Does what can be done without waiting.
    void look();
    /// Returns whether the writer is through.
    bool serve(Writer& writer, bool may_read);
    bool hand_over(Writer& writer);
    [[nodiscard]] static std::uint64_t left_in(const Writer& writer);
    [[nodiscard]] EndFigures end_of(const Writer& writer) const;
    [[nodiscard]] EndFigures end_of(const Reader& reader);
    [[nodiscard]] std::vector<const Writer*> left_behind(int slot) const;
    void refuse_if_behind(int slot);
    bool read(Writer& writer);
    void serve(Reader& reader);
    bool write(Reader& reader);
    void tell_who_is_lost();
    void tell_what_it_missed(int slot) const;
    [[nodiscard]] std::set<int> deaf_slots() const;
    void give_back(const Reader& reader);
    [[nodiscard]] std::size_t take_back(const Reader& reader);
    void let_go(Reader& reader);
    void has_closed(Reader& reader);
    void note_the_deaf();
    void start(std::unique_ptr<green::IoWatcher>& watcher, int fd, green::IoEvents events,
               std::function<void()> callback);
    void try_again(int error);
    [[nodiscard]] static std::size_t unread_by(const Reader& reader);
    void note_read(Reader& reader);
    void note_what_stands();
    void glance_later();
    void watch(Writer& writer, bool on);
    void watch(Reader& reader, bool on);
    [[nodiscard]] bool tells_its_end(const Reader& reader);
    [[nodiscard]] bool may_carry(const std::string& hello);
    [[nodiscard]] bool is_first(const Writer& writer) const;
    [[nodiscard]] bool is_first(const Reader& reader) const;
    [[nodiscard]] bool others_go_on(const Reader& reader) const;
    [[nodiscard]] bool is_over(int slot) const;
    /// Nobody feeds that slot, and its readers were sent everything.
    [[nodiscard]] bool is_dry(int slot);

    PipeConfig config_;
    PipeFlow flow_;
    PipeSides sides_;
    std::map<int, std::unique_ptr<Writer>> writers_;  // by number: the older come first
    std::map<int, std::unique_ptr<Reader>> readers_;
    std::set<int> behind_;  // slots of writers of which that was told
    int last_end_ = 0;
    int last_read_ = 0;                 // the end of the writer that was read last
    std::optional<std::string> hello_;  // what readers are told first, once a writer has spoken
    PipeFigures counted_;
    green::TimerWatcher later_{std::chrono::seconds{1}};  // when an end could not be watched
    std::chrono::nanoseconds patience_;
    green::TimerWatcher grace_{patience_};  // for those who close their ends and die
    green::TimerWatcher glance_;            // while something waits
    std::vector<char> portion_ = std::vector<char>(PipeFlow::portion);
};

}  // namespace greensup
