#pragma once
// Named queues between processes: bounded, many producers and many consumers, at least once (or, if
// made so, at most once).
//
//  N1  A message is built in the queue's own memory and read there.
//  N2  prepare() waits while the queue is full: that is the back-pressure. A queue may be made to
//      refuse instead, or to drop the oldest message or the new one; each is counted.
//  N3  get() leases. ack() ends the message; a lease that is dropped, whose holder dies, or whose
//      time is over, gives it to the next one. What its holder says of it afterwards is refused.
//  N4  What an interrupted greenlet had been handed goes to the next, here or in another process.
//  N5  Greenlets of one process wait in turn; the process sleeps once for all of them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <green/deadline.hpp>
#include <green/fd.hpp>
#include <green/ipc/detail/tokens.hpp>

namespace green::ipc {

class QueueCore;

/// What a producer meets in a full queue: he waits for room; he is refused; what would be delivered
/// next is dropped for the new message, as much as it takes (and he waits, with none dropped, if
/// what consumers have in hand leaves too little even so); or the new one is dropped and he goes on
/// as if it had been put.
enum class WhenFull : std::uint8_t { block, reject, drop_oldest, drop_newest };

/// What a queue is made from in a participant: who hands it over keeps nothing.
struct QueueGrant {
    std::string name;
    std::string path;    // for messages
    std::string schema;  // as configured; "bytes" fits any type
    Fd segment;
    std::vector<Fd> doorbells;
    std::uint32_t owner = 0;  // this process, as the keeper numbers it
    bool produce = true;
    bool consume = true;
    std::function<void()> on_first_next;  // called when this process first asks for a message
    /// Called when this process first puts or asks; what it returns is kept as long as the process
    /// takes part.
    std::function<std::shared_ptr<void>()> on_first_use;
};

/// A full queue refused a message, as it was made to do, or dropped one that had to be put once.
class QueueFull : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// Room in a queue for one message that is being built. Dropping it gives the room back.
class RawDraft {
 public:
    RawDraft() noexcept = default;
    RawDraft(RawDraft&&) noexcept;
    RawDraft& operator=(RawDraft&&) noexcept;
    ~RawDraft();

    /// Zeroed, aligned to 64 bytes. Empty between release() and regrow().
    [[nodiscard]] std::span<std::byte> memory() const noexcept { return reservation_.memory; }
    /// Publishes the first `size` bytes. From here on the message outlives this process; unless it
    /// is one that a full queue drops.
    void put(std::size_t size);
    /// The same, unless a message with this id was put within the queue's dedup window: then this
    /// one is dropped. Either way one with the id has been put. Returns whether it was this one.
    /// Throws QueueFull when it is one that a full queue drops: none with the id may have been put.
    bool put_once(MessageId id, std::size_t size);
    /// Gives the memory back and keeps the place in the queue.
    void release();
    /// Takes memory again, waiting for it, or what else the queue does when it is full. Switches.
    /// Returns false once `deadline` has passed, or when the queue refuses.
    bool regrow(std::size_t bytes, Deadline deadline);

 private:
    friend class QueueCore;
    friend class DraftBuilder;
    RawDraft(std::shared_ptr<QueueCore> core, shm::Reservation reservation) noexcept;

    /// For who knows that he wrote no more than the first `touched` bytes: only those are zeroed
    /// for the next one.
    void put(std::size_t size, std::size_t touched);
    bool put_once(MessageId id, std::size_t size, std::size_t touched);

    struct alignas(64) Block {
        std::byte bytes[64];
    };
    /// Becomes one that put() will drop: in a place of its own.
    void divert(std::size_t bytes);
    /// Whether it was such a one.
    bool drop_aside();

    std::shared_ptr<QueueCore> core_;
    shm::Reservation reservation_;
    std::unique_ptr<Block[]> aside_;  // set: the queue is full and drops what is new
};

/// What is known of a message that died in another queue and was kept in this one.
struct DeadLetter {
    enum class Reason : std::uint8_t { rejected = 1, deliveries = 2, expired = 3 };
    std::string source;  // the queue in which it died
    Reason reason = Reason::rejected;
    std::uint32_t deliveries = 0;  // there; 255 stands for more
    std::vector<int> pids;         // processes that died with it in hand, the last four
    TimePoint put_time{};          // there
    std::uint64_t sequence = 0;    // there
};

/// One message, leased. Dropping it without ack() gives the message to the next one.
class RawLease {
 public:
    RawLease() noexcept = default;
    RawLease(RawLease&&) noexcept;
    RawLease& operator=(RawLease&&) noexcept;
    ~RawLease();

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return lease_.message; }
    /// How often the message was handed out, this time included.
    [[nodiscard]] std::uint32_t deliveries() const noexcept { return lease_.deliveries(); }
    /// The message's number in its queue.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return lease_.sequence; }
    /// Of a message that died in another queue.
    [[nodiscard]] std::optional<DeadLetter> letter() const;
    /// The message is done. Returns false when the lease had been taken away: somebody else has it.
    bool ack();
    /// Gives it back, to stand behind all others: one that always fails holds up nobody. Returns
    /// false when the lease had been taken away.
    bool nack();
    /// The same, and nobody gets it before `delay` has passed; then it comes first.
    bool nack(Duration delay);
    /// Ends the message without anybody getting it again: it goes to the dead letters, where the
    /// queue has them, or is dropped and counted. Returns false when the lease had been taken away.
    bool reject();
    /// Moves the end of the lease to `from_now`, sooner or later than it was. Returns false when
    /// the lease had been taken away.
    bool extend(Duration from_now);

 private:
    friend class QueueCore;
    RawLease(std::shared_ptr<QueueCore> core, const shm::Lease& lease) noexcept;
    /// Throws UsageError when it is over.
    [[nodiscard]] QueueCore* core_of_held() const;

    std::shared_ptr<QueueCore> core_;
    shm::Lease lease_;
};

/// A queue of bytes. Copies share one attachment, which is this process's: in a forked child they,
/// and the drafts and leases that came from them, can only be destroyed, which touches nothing of
/// the queue's. All else that takes part throws WrongProcess there.
class RawQueue {
 public:
    /// Takes part. Throws SegmentError and UsageError for what does not fit together.
    explicit RawQueue(QueueGrant grant);

    /// Room for a message of about `bytes`. Switches while the queue is full.
    /// Returns nothing once `deadline` has passed, or when the queue is full and refuses. Throws
    /// UsageError above max_message, Closed when the queue is closed.
    [[nodiscard]] std::optional<RawDraft> prepare(std::size_t bytes,
                                                  Deadline deadline = Deadline::never());
    /// The next message. Switches, unless there is one.
    /// Returns nothing once `deadline` has passed, when stop() was called, and when the queue is
    /// closed and no message is left, also not with others who may give it back.
    [[nodiscard]] std::optional<RawLease> next(Deadline deadline = Deadline::never());

    /// Ends consuming: whoever waits in next(), now or later, gets nothing. Producing goes on.
    void stop() noexcept;
    /// Whether next() gives nothing any more: stop() was called, or the queue was closed and is
    /// empty.
    [[nodiscard]] bool stopped() const;
    /// Whether the queue was closed: prepare() throws Closed.
    [[nodiscard]] bool closed() const noexcept;

    [[nodiscard]] const std::string& name() const noexcept;
    [[nodiscard]] const std::string& schema() const noexcept;
    [[nodiscard]] std::size_t max_message() const noexcept;
    [[nodiscard]] WhenFull when_full() const noexcept;

 private:
    std::shared_ptr<QueueCore> core_;
};

/// A queue of one's own, without a supervisor: for programs that run alone and for tests. Its
/// segment goes with it. While the process that made it takes part in it, a greenlet there does
/// what time brings about. In a forked child it can only be destroyed: all else throws
/// WrongProcess. A grant may be used there, once, as anywhere.
class LocalQueue {
 public:
    struct Options {
        std::uint32_t capacity = 1024;
        std::uint64_t payload_bytes = 16 << 20;
        std::uint64_t max_message = 1 << 20;
        Duration lease = std::chrono::seconds{30};  // zero: a lease ends with its holder only
        Duration dedup_window = std::chrono::minutes{2};
        WhenFull when_full = WhenFull::block;
        bool at_most_once = false;                 // a message ends when it is handed out
        Duration time_to_live = Duration::zero();  // zero: for ever
    };
    LocalQueue(std::string name, Options options);
    explicit LocalQueue(std::string name) : LocalQueue{std::move(name), Options{}} {}
    LocalQueue(LocalQueue&&) noexcept;
    ~LocalQueue();

    /// What one more participant needs; each gets a number of its own. Throws UsageError when there
    /// are 255.
    [[nodiscard]] QueueGrant grant();
    /// What dies here is moved to `other` from now on: what is rejected, what was delivered so
    /// often and came back, and what nobody got in its time. Both belong to the process that made
    /// them.
    void set_dead_letter(LocalQueue& other, std::uint32_t max_deliveries = 3);
    /// As a supervisor does when a participant has died: what it held comes back.
    void repair(std::uint32_t owner);
    /// Whether no message is there to be got, or in anybody's hands.
    [[nodiscard]] bool empty() const;
    /// Ends putting, for everybody and for good: prepare() throws Closed, and consumers get what is
    /// left and then the end.
    void close();
    /// The same, and waits until the queue is empty. Switches. Returns false once `deadline` has
    /// passed.
    bool drain(Deadline deadline = Deadline::never());
    /// Calls `watcher` when so many percent of the queue are in use (`high`), and when no more than
    /// `low` are any more. In a greenlet of the queue's own; it must not throw.
    void watch(unsigned high, unsigned low, std::function<void(bool is_high)> watcher);

 private:
    struct State;
    class Tender;
    [[nodiscard]] State& state() const;

    std::shared_ptr<State> state_;
};

}  // namespace green::ipc
