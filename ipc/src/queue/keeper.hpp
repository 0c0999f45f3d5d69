#pragma once
// The supervisor's side of a queue: makes it, mends it after a death, counts. Takes part in no put
// and no get, and holds nothing that anybody waits for.
//
// repair() and recover() may be killed at any instruction; called again they finish. One keeper at
// a time.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <green/fd.hpp>

#include "inspect.hpp"
#include "letter.hpp"
#include "moment.hpp"
#include "segment.hpp"
#include "slots.hpp"
#include "wait_table.hpp"

namespace green::ipc::shm {

/// What a slice of a sweep has left.
struct Sweep {
    bool is_done = true;   // false: go on at once, or soon
    std::int64_t due = 0;  // when the next one is needed; 0: not before somebody asks
};

/// How far a look for READY and FREE slots that no ring lists has come.
struct Refill {
    enum class Stage : std::uint8_t { words, fresh, again, free, missing, ready, done };
    Stage stage = Stage::words;
    std::uint64_t at = 0;
    std::optional<Ring::Walk> walk;
    std::unique_ptr<std::uint64_t[]> words;  // of the slots; without a mark: no cell seen
    std::vector<std::pair<std::uint64_t, std::uint32_t>> ready;  // by sequence number
};

class Keeper {
 public:
    /// Takes a segment and makes one eventfd per wait slot. Throws std::system_error; then nothing
    /// stays open.
    explicit Keeper(Segment segment);
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    ~Keeper();

    /// After create(), and after open() when nobody who took part is alive: everybody is treated as
    /// dead. READY messages stay, in the order of their numbers; leased ones come back; what was
    /// being built is gone; all rings, pins and wait slots are made anew. After another start of
    /// the machine than the last time the segment's clock goes on where it stood still. Throws
    /// SegmentError when the segment contradicts itself.
    void recover(const Moment& moment = Moment::present());
    /// What recover() throws, without any change.
    void check() const;

    /// After the proven death, or the orderly end, of `owner`: what it was building is gone, what
    /// it had leased comes back first, its pins and its wait slot are free, and everybody is woken.
    /// Others go on meanwhile. Throws SegmentError when the segment contradicts itself.
    void repair(Owner owner);

    /// The same in slices, for who turns a loop meanwhile (repair.hpp). Sweeps go on between them.
    /// Ended before it is done it leaves what the next one for the same owner finds.
    class Repair;

    /// What time brings about: takes back leases whose end has come, ends messages whose time is
    /// over and which are the next, lets those go on that were given back for later, moves the
    /// dead. Looks at `budget` places at most, so that whoever turns a loop is not held up; one
    /// pass may take several calls. Throws SegmentError for what contradicts itself; the next call
    /// goes on behind it.
    Sweep sweep(std::int64_t now, std::size_t budget = 4096);
    /// Whether a pass has been begun and not ended.
    [[nodiscard]] bool is_sweeping() const noexcept { return pass_.has_value(); }

    /// Called in sweeps when the queue has become fuller than its high mark (true), and emptier
    /// than its low mark again.
    using Watcher = std::function<void(bool is_high)>;
    void set_watcher(Watcher watcher) { watcher_ = std::move(watcher); }
    /// How many percent of the queue are in use: of its slots or of its memory, whichever is more.
    [[nodiscard]] std::uint64_t level() const noexcept;

    /// Ends putting, until the next recover(): who wants to put is told so, and consumers get what
    /// is left and then the end. Those who have room go on with it.
    void close();

    /// Who takes in what is dead: called in sweeps, with views that are lent. Without one the dead
    /// stay where they are.
    using Mover = std::function<Keeping(const Letter& letter, std::int64_t now)>;
    /// `looked`: called at the end of each pass; `all`: all that are dead were tried in it. Returns
    /// whether to look at all again in a second.
    void set_mover(Mover mover, std::function<bool(bool all)> looked = {}) {
        mover_ = std::move(mover);
        looked_ = std::move(looked);
    }

    /// Changes what may change. It counts for what begins from now on; before recover(), for what
    /// that brings back.
    void configure(const Settings& settings);

    /// Takes a lease away from its holder, who may still read: the memory stays until its pin is
    /// gone. The message comes back first. False: it was not that lease any more. `word`: the
    /// slot's state word.
    bool take_back(std::uint32_t slot, std::uint64_t word);

    /// Frees a DEAD slot whose message is kept elsewhere, or shall not be kept. False: it was not
    /// that one any more.
    bool bury_dead(std::uint32_t slot, std::uint64_t word);
    /// The message of a DEAD slot, lent; nobody but the keeper touches it.
    [[nodiscard]] std::span<const std::byte> dead_message(std::uint32_t slot) const;

    /// Rings every doorbell; healthy members look around and sleep again.
    void wake_all();

    /// The doorbells, to be inherited by every participant, in this order.
    [[nodiscard]] std::span<const int> doorbells() const noexcept { return doorbells_.get(); }
    [[nodiscard]] const Segment& segment() const noexcept { return segment_; }
    [[nodiscard]] Status status() const { return shm::status(segment_); }
    /// Whether no message is left: none ready, none leased, none being put. `breathe`: see
    /// inspect.hpp.
    [[nodiscard]] bool empty(const std::function<void()>& breathe = {}) const {
        return shm::empty(segment_, breathe);
    }

 private:
    /// Eventfds that are closed again.
    class Doorbells {
     public:
        explicit Doorbells(unsigned count);
        [[nodiscard]] std::span<const int> get() const noexcept { return numbers_; }

     private:
        std::vector<Fd> fds_;
        std::vector<int> numbers_;
    };

    /// How far a pass has come.
    struct Pass {
        Pass() noexcept {}  // clang 14 takes it for not constructible otherwise
        Owner owner = 1;
        std::size_t pin = 0;
        bool has_pins = true;  // still to be looked at
        bool has_heads = true;
        bool has_slots = false;
        bool has_come_to_rings = false;
        std::uint32_t empty_to = 0;  // of a closed queue: no slot before it holds a message
        std::uint32_t slot = 0;
        std::uint64_t due = 0;  // the earliest that it has seen
        std::uint64_t slot_due = 0;
        std::size_t no_room_from = ~std::size_t{0};  // dead ones of this size found none
    };

    // sweep.cpp
    Sweep go_on(std::uint64_t now, std::size_t budget);
    [[nodiscard]] std::int64_t next_due() const noexcept;
    void step_over(std::uint64_t now) noexcept;
    [[nodiscard]] bool sweep_pins(std::uint64_t now, std::size_t& budget);
    void sweep_pin(Owner owner, PinRecord& pin, std::uint64_t now);
    [[nodiscard]] bool sweep_heads(std::uint64_t now, std::size_t& budget);
    [[nodiscard]] bool sweep_slots(std::uint64_t now, std::size_t& budget);
    [[nodiscard]] bool sweep_rings(std::uint64_t now, std::size_t& budget);
    bool make_ready(std::uint32_t slot, std::uint64_t seen);
    void sweep_slot(std::uint32_t slot, std::uint64_t now, std::size_t& budget);
    void watch_level(std::uint64_t now);
    [[nodiscard]] bool sweep_end(std::size_t& budget);
    void tell_end();
    void move_dead(std::uint32_t slot, std::uint64_t seen, std::uint64_t now, std::size_t& budget);

    // refill.cpp
    [[nodiscard]] bool refill(Refill& refill, std::size_t& budget);
    [[nodiscard]] bool note_words(Refill& refill, std::size_t& budget);
    [[nodiscard]] bool note_cells(Refill& refill, const Ring& ring, SlotState state,
                                  std::size_t& budget);
    [[nodiscard]] bool list_missing(Refill& refill, std::size_t& budget);
    [[nodiscard]] bool list_ready(Refill& refill, std::size_t& budget);

    // repair.cpp
    void return_slot(std::uint32_t slot, Owner owner);
    void note_killer(std::uint32_t slot, Owner owner);
    void unclaim(std::uint32_t slot, SlotWord draft);
    void drop_unwritten(std::uint64_t bucket, Owner owner);
    void bury_zombie(std::uint32_t slot);
    void mend_chunk(std::uint64_t index, Owner owner);
    void finish_extents(std::uint64_t index, std::uint64_t seen);

    // recover.cpp
    void set_clock(const Moment& moment);
    void reset_members();
    void reset_slots();
    void reset_chunks();
    void reset_chunk(std::uint64_t index);
    void fill_rings();

    std::optional<Pass> pass_;
    std::uint64_t slots_seen_ = 0;  // when the last pass over all slots began
    std::uint64_t rings_seen_ = 0;  // when they were last filled up
    bool has_told_end_ = false;     // that the queue is closed and empty
    bool wants_refill_ = false;
    unsigned repairs_ = 0;               // that go on
    const Refill* refilling_ = nullptr;  // who looks at the rings
    std::optional<Refill> refill_;       // of a pass
    Mover mover_;
    std::function<bool(bool all)> looked_;
    Watcher watcher_;
    std::uint64_t low_ = 0;
    Segment segment_;
    Doorbells doorbells_;
    WaitTable waits_;
    Chunks chunks_;
    Slots slots_;
};

}  // namespace green::ipc::shm
