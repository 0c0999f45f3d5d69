#pragma once
// Sleeping and waking across processes. The keeper makes one eventfd per wait slot; every
// participant inherits all of them. Who wants to sleep has a bit per thing it can wait for; who has
// news looks at these bits.
//
//   sleeper  S1  claim a wait slot: swap its owner from 0 to ours (once, for good)
//            S2  arm(): publish how many bytes are wanted, set our bit
//            S3  try once more; if that works, disarm()
//            S4  sleep until the eventfd is readable, then read it
//            S5  disarm(): clear the bit. It was cleared already: a waker has chosen us. Then try
//                again for everybody in this process who waits; and pass_on() if nobody took it:
//                because nobody waits any more, or because what is lacking now is something else
//                (woken for memory, and there is no slot)
//   waker    W1  make the change: publish a message, free a slot, empty a chunk. Its last step, the
//                one that S3 looks at, reads and writes: a cell filled, an entry freed, a bit
//                cleared
//            W2  no bit set: done, and no system call was made
//            W3  choose the next bit behind the last waker's; clear it. Not set any more: another
//                waker has him, back to W2
//            W4  write the eventfd
//
// Q14 No wake-up is lost between the living: W1 and S2 are sequentially consistent changes, W2 and
//     S3 loads likewise; so either S3 sees W1 or W2 sees S2.
// Q15 One piece of news wakes one sleeper, the one whose bit the waker has cleared; he owes the
//     wake-up to others if he leaves without serving it. Memory is the exception: each chunk that
//     became free wakes one of those whom it is enough for, and all of those who want more, since
//     only they can tell whether there is enough in one piece.
// Q16 Who dies between W1 and W4, or between S5 and passing on, takes a wake-up along. The keeper
//     wakes everybody after each death, so every sleeper must bear to be woken for nothing.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "segment.hpp"

namespace green::ipc::shm {

/// `timers` is the keeper's: something falls due earlier than he knows.
enum class Interest : std::uint8_t { items, slots, memory, timers };

class WaitTable {
 public:
    /// Borrows the segment and the eventfds, of which there is one for each wait slot.
    WaitTable(const Segment& segment, std::span<const int> doorbells);

    [[nodiscard]] std::optional<unsigned> claim(Owner owner);
    /// Gives up what the owner has claimed, after its death too. Its sleep, if any, is over.
    void release(Owner owner);

    /// Gives up one place of the owner's.
    void give_up(unsigned index);

    void arm(unsigned index, Interest interest, std::uint64_t bytes = 0);
    /// True if a waker had chosen this sleeper.
    bool disarm(unsigned index, Interest interest);

    /// W2.
    [[nodiscard]] bool has_sleepers(Interest interest) const noexcept;
    /// W3 and W4: wakes one sleeper; for memory, as Q15 says for one chunk.
    void wake(Interest interest);
    /// As Q15 says for so many chunks.
    void wake_for_memory(std::uint64_t chunks);
    /// W2 to W4.
    void announce(Interest interest) {
        if (has_sleepers(interest)) wake(interest);
    }
    /// Rings all doorbells that somebody has claimed, whether he sleeps or not.
    void wake_all();

    [[nodiscard]] int doorbell(unsigned index) const noexcept { return doorbells_[index]; }

 private:
    [[nodiscard]] Sleepers& sleepers(Interest interest) const noexcept {
        return segment_.control().sleepers[static_cast<unsigned>(interest)];
    }
    [[nodiscard]] std::optional<unsigned> next_after(Interest interest,
                                                     std::uint64_t cursor) const noexcept;
    bool choose(Interest interest, unsigned index);
    bool ring(unsigned index) const noexcept;

    const Segment& segment_;
    std::span<const int> doorbells_;
};

}  // namespace green::ipc::shm
