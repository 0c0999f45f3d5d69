#pragma once
// What all handles of one queue in this process share: the membership, who waits, and the greenlet
// that listens to the doorbell for all of them. A copy in a forked child is none of the members:
// what it holds is the parent's, and the numbers of its doorbells may be anything's.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <green/detail/home.hpp>
#include <green/detail/park.hpp>
#include <green/fd.hpp>
#include <green/greenlet.hpp>
#include <green/ipc/named_queue.hpp>

#include "named/complaints.hpp"
#include "named/headway.hpp"
#include "queue/member.hpp"

namespace green::ipc {

class QueueCore : public std::enable_shared_from_this<QueueCore> {
 public:
    explicit QueueCore(QueueGrant grant);
    QueueCore(const QueueCore&) = delete;
    QueueCore& operator=(const QueueCore&) = delete;
    ~QueueCore();

    std::optional<RawDraft> prepare(std::size_t bytes, Deadline deadline);
    /// What became of a wish for room.
    enum class Room : std::uint8_t { found, none, drop };
    Room regrow(shm::Reservation& reservation, std::size_t bytes, Deadline deadline);
    void release(shm::Reservation& reservation);
    void dropped();
    std::optional<RawLease> next(Deadline deadline);
    void stop() noexcept;

    /// `touched`: how many bytes of the memory may have been written.
    void put(shm::Reservation& reservation, std::size_t size, std::size_t touched);
    bool put_once(shm::Reservation& reservation, MessageId id, std::size_t size,
                  std::size_t touched);
    void abandon(shm::Reservation& reservation) noexcept;
    bool ack(shm::Lease& lease);
    bool give_back(shm::Lease& lease, shm::Turn turn);
    /// Of a lease that nobody wants any more.
    void drop(shm::Lease& lease) noexcept;
    bool give_back_for(shm::Lease& lease, Duration delay);
    bool reject(shm::Lease& lease);
    [[nodiscard]] std::optional<DeadLetter> letter(const shm::Lease& lease) const;
    [[nodiscard]] bool extend(const shm::Lease& lease, Duration delay);

    [[nodiscard]] shm::Member& member() noexcept { return member_; }
    [[nodiscard]] bool stopped() const noexcept { return stopped_; }
    [[nodiscard]] bool over() const { return stopped_ || member_.is_over(); }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& schema() const noexcept { return schema_; }

 private:
    class Getter;
    class Putter;

    /// Throws WrongProcess in a forked child.
    void check_home() const;
    void check_size(std::size_t bytes) const;
    void check_open() const;
    /// Room for a message, or memory for the place it has.
    [[nodiscard]] Room find_room(shm::Reservation& reservation, std::size_t bytes,
                                 Deadline deadline);
    /// The same at once, or what is missing. Drops the oldest for it where that is the rule;
    /// nothing: as many as one turn may, and it has to go on in a later one.
    [[nodiscard]] std::optional<shm::Shortage> attempt(shm::Reservation& reservation,
                                                       std::size_t bytes);
    /// Sees to it that the listener serves those who wait once more, in a later turn.
    void ring_ourselves() noexcept;
    void listen();
    void hear();
    void await_bell();
    /// Gives messages (room) to those who wait, and puts the process to sleep for those who got
    /// none.
    void serve_getters();
    void serve_putters();
    [[nodiscard]] Putter* first_putter() noexcept;
    /// Somebody has stopped waiting: what the process sleeps for may not be wanted any more.
    void lost_getter() noexcept;
    void lost_putter() noexcept;
    void hand_on(shm::Lease& lease) noexcept;
    void lease_ended();
    void first_use();
    [[nodiscard]] shm::Got try_lease(shm::Lease& into);
    /// The same, and with `nothing` the process sleeps for a message. One that holds as many leases
    /// as it can does not: it would be chosen for what others can take. lease_ended() tries again.
    [[nodiscard]] shm::Got lease_or_sleep(shm::Lease& into);

    const detail::Home home_;
    std::string name_;
    std::string schema_;
    bool produce_;
    bool consume_;
    bool stopped_ = false;
    std::function<void()> on_first_next_;
    std::function<std::shared_ptr<void>()> on_first_use_;
    std::shared_ptr<void> in_use_;
    std::vector<Fd> doorbells_;
    std::vector<int> doorbell_numbers_;
    shm::Member member_;
    Complaints complaints_;
    Headway headway_;

    detail::WaitList<Getter> getters_;
    detail::WaitList<Putter> growers_;  // have a place, and want memory for it
    detail::WaitList<Putter> putters_;
    Fd bell_;  // a copy of our doorbell, so that the hub may own its waiting; none: all are taken
    std::optional<AnyGreenlet> listener_;
};

}  // namespace green::ipc
