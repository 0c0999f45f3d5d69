// The segment of one named queue, kept for the workers that use it: opened and recovered, mended
// after each of their deaths, counted. No message passes through here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <green/event.hpp>
#include <green/fd.hpp>
#include <green/greenlet.hpp>

#include "config.hpp"

namespace green::ipc::shm {
enum class Kept : std::uint8_t;
class Keeper;
struct Status;
}  // namespace green::ipc::shm

namespace greensup {

struct QueueFigures {
    std::uint64_t ready = 0;
    std::uint64_t leased = 0;
    std::uint64_t delayed = 0;  // given back for later
    std::uint64_t bytes = 0;    // of these three
    std::uint64_t dead = 0;     // not moved yet, or with nowhere to go
    Duration oldest{};          // how long the oldest of the three has been there
    bool is_high = false;
    bool are_letters_full = false;  // there are dead ones that find no room where they belong
    // Since the segment was made; accepted = acked + the three + dead + moved + dropped.
    std::uint64_t accepted = 0, acked = 0, redelivered = 0, moved = 0, duplicates = 0;
    std::uint64_t dropped_oldest = 0, rejected = 0, expired = 0;  // accepted and dropped
    std::uint64_t dropped_newest = 0, turned_away = 0;            // never accepted
    std::uint64_t leases_expired = 0;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> holders;  // owner, leases

    /// All that are in it, wherever they stand.
    [[nodiscard]] std::uint64_t left() const { return ready + leased + delayed + dead; }
};

/// Open while anybody holds it: editions of the configuration do (see edition.hpp). A greenlet of
/// its own does what time brings about meanwhile, and keeps no hub alive. At the end the
/// segment is removed if nothing is in it; else it stays for the next start. To find that out for
/// one that the file has no more takes turns with others.
class OpenQueue {
 public:
    /// Participants are numbered 1 to this.
    static constexpr std::uint32_t most_owners = 255;

    /// What look() has found: all that open() needs to take over what is there.
    class Found {
     public:
        Found() noexcept;
        Found(Found&&) noexcept;
        Found& operator=(Found&&) noexcept;
        ~Found();
        /// Whether a segment is there that will be taken over; else one will be made.
        [[nodiscard]] bool is_there() const noexcept { return keeper_ != nullptr; }

     private:
        friend class OpenQueue;
        std::unique_ptr<green::ipc::shm::Keeper> keeper_;
        green::Fd segment_;
        bool is_to_be_remade_ = false;
        std::optional<std::uint32_t> foreign_version_;
    };

    /// What open() would refuse but for want of room, without any change. Throws Refusal.
    [[nodiscard]] static Found look(const std::string& directory, const QueueConfig& config);

    /// Makes DIRECTORY/NAME.queue, or takes over the one that look() has found there, with its
    /// messages. Nobody may be attached to it. Throws Refusal.
    static std::shared_ptr<OpenQueue> open(const std::string& directory, const QueueConfig& config,
                                           Found found);
    static std::shared_ptr<OpenQueue> open(const std::string& directory,
                                           const QueueConfig& config) {
        return open(directory, config, look(directory, config));
    }
    OpenQueue(const OpenQueue&) = delete;
    OpenQueue& operator=(const OpenQueue&) = delete;
    ~OpenQueue();

    /// As it is, which is not what the configuration says when messages kept it from being remade.
    [[nodiscard]] const QueueConfig& config() const noexcept;
    [[nodiscard]] const std::string& path() const noexcept;
    /// To be handed to a participant: the segment, then the doorbells. Lent.
    [[nodiscard]] std::vector<int> descriptors() const;

    /// It is used from now on. Before that its end gives back its name to the segment of another
    /// version that open() has put aside.
    void confirm() noexcept;

    /// Whether the file that is in force has it: what is left in one that it has not nobody gets.
    void set_in_file(bool is_in_file) noexcept;
    /// The supervisor ends: nothing of the queue's end can be put off, and nobody is held up by it.
    void set_last_turn() noexcept;

    /// Until those that were taken out of the file have found out whether they are empty. Before
    /// the run directory is given away. Switches.
    static void wait_for_ends();

    /// Makes what can be changed while it is in use as the configuration says. What dies in it is
    /// moved to `dead_letter`, which it keeps open; nothing without one.
    void apply(const QueueConfig& config, const std::shared_ptr<OpenQueue>& dead_letter);

    /// After the end of a participant, however it came: what he held goes to the next one. Switches
    /// when there are many slots, or when it is done for somebody else. Throws SegmentError when
    /// the segment contradicts itself. Who is killed in it leaves the rest to the next start, and
    /// the owner's number taken.
    void repair(std::uint32_t owner);

    /// Looks at every slot, a millisecond for 65536 of them. Switches when there are many.
    [[nodiscard]] QueueFigures figures() const;
    /// How many messages somebody may get until then, or is about to put; and how many of those
    /// that were given back are for later. Switches when there are many slots.
    struct Left {
        std::uint64_t soon = 0;
        std::uint64_t later = 0;
    };
    [[nodiscard]] Left left_until(TimePoint deadline) const;

    /// Sets `changed` now and after messages have left, until it is killed. For a greenlet. One
    /// sleeps in the segment's own table of sleepers for this, and is woken by who frees a slot.
    void follow(green::Event& changed);

 private:
    struct State;
    explicit OpenQueue(std::shared_ptr<State> state);
    static void end_in_turns(State& state, std::uint64_t seen);
    static void end(State& state, const green::ipc::shm::Status& status);
    void open_letter_box();
    static void note_refused(State& from, const State& to, green::ipc::shm::Kept kept);
    static bool note_looked(State& from, const State& to, bool all);

    std::shared_ptr<State> state_;  // the greenlet that tends the queue shares it, until it ends
    std::optional<green::AnyGreenlet> tender_;
};

}  // namespace greensup
