#pragma once
// Waiting for something that threads share. A greenlet waits in its hub; a thread without a hub
// blocks.
//
//  G1  Everything in a gate is guarded by its owner's mutex.
//  G2  A permit goes to the one who has waited longest, of whatever thread. While it is on its way
//      to a greenlet, nobody else can take it.
//  G3  Who leaves instead of passing, by an interrupt or a deadline, or because another node of the
//      same wait was first, gives the permit to the next one.
//  G4  Who only looks takes no permit. It is told of one that nobody who waits takes, and of the
//      gate's opening.
//  G5  Hubs are told with the mutex held, about waiters that have not left: a greenlet leaves with
//      the mutex held too. One that its hub could not end never leaves: its turn passes to the
//      next.
//  G6  Its owner may go as soon as a wait has ended: the gate that goes waits for who still holds
//      the mutex, such as the one who woke that wait.
//  G7  It may also go before, but for threads without a hub. Every greenlet that has not passed yet
//      knows then, also one that has left and may come again, or found a permit at once: it gets
//      Closed, and it touches neither the gate nor the mutex any more. One that was told of the
//      opening, and wants nothing else, passes.
//  G8  Each waiter has a mutex for that, which is taken before the owner's.
//  G9  In a forked child a gate of its parent's, and a wait in it, can only be destroyed, which
//  takes
//      neither: who holds it is not there.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include <green/deadline.hpp>
#include <green/detail/home.hpp>
#include <green/detail/intrusive.hpp>
#include <green/detail/park.hpp>

namespace green::detail {

/// Lets as many pass as it has permits, or everybody while it is open.
class ThreadGate {
 public:
    /// `what` is for reports, and a constant.
    ThreadGate(std::mutex& owners, std::ptrdiff_t permits, const char* what) noexcept
        : mutex_{&owners}, permits_{permits}, what_{what} {}
    ThreadGate(const ThreadGate&) = delete;
    ThreadGate& operator=(const ThreadGate&) = delete;
    ~ThreadGate() { lose_waiters(); }

    /// Ends all waits of greenlets: nobody is in it, or comes back to its owner, afterwards. For an
    /// owner that must know before it begins to go.
    void lose_waiters() noexcept;

    /// Takes a permit, waiting for one, unless the gate is or becomes open. Switches in a thread
    /// that has a hub, blocks one that has none. `lock` holds the owner's mutex, but not while this
    /// waits, nor when it throws, and perhaps not when it returns false: once `deadline` has
    /// passed. Throws Closed when the gate goes.
    [[nodiscard]] bool pass(std::unique_lock<std::mutex>& lock, Deadline deadline);
    /// The same for who wants nothing of the owner afterwards, which may have gone when it returns.
    [[nodiscard]] bool wait(std::unique_lock<std::mutex>& lock, Deadline deadline);

    // With the mutex held:

    [[nodiscard]] bool try_pass() noexcept;
    /// Adds permits, or takes some away, also such as are not there yet.
    void admit(std::ptrdiff_t permits = 1) noexcept;
    /// All who wait pass, and whoever comes until shut().
    void open() noexcept;
    void shut() noexcept { open_ = false; }
    [[nodiscard]] bool is_open() const noexcept { return open_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    struct HubWaiter;
    struct ThreadWaiter;

 public:
    /// One wait of a greenlet, for a permit or only for the news of one.
    class Node : public WaitNode {
     public:
        enum class Wants : bool { permit, look };
        explicit Node(ThreadGate& gate, Wants wants = Wants::permit) noexcept
            : WaitNode{Reach::outside}, gate_{&gate}, what_{gate.what_}, wants_{wants} {}
        ~Node() override;
        bool arm() override;
        void disarm() noexcept override;
        void abandon() noexcept override { disarm(); }
        void describe(std::string& into) const override { into += what_; }

     protected:
        /// For one that has fired: the owner's mutex, once, for what it waited for. Throws Closed
        /// when the gate has gone since.
        [[nodiscard]] std::unique_lock<std::mutex> enter();

     private:
        friend ThreadGate;

        ThreadGate* gate_;  // perhaps gone: the waiter knows
        const char* what_;
        Wants wants_;
        std::shared_ptr<HubWaiter> waiter_;  // the last one
    };

 private:
    enum class Grant : std::uint8_t { none, permit, open };

    struct Waiter : ListHook {
        /// Returns false when nobody is left there to be woken.
        virtual bool wake() noexcept = 0;
        /// With the mutex held, which it may let go for a while: leaves its list, for good.
        virtual void lose_gate(std::unique_lock<std::mutex>& lock) noexcept = 0;
        Grant grant = Grant::none;

     protected:
        Waiter() = default;
        ~Waiter() = default;
    };

    /// To the first one. Returns false when nobody got it.
    [[nodiscard]] static bool grant(IntrusiveList<Waiter>& waiters, Grant grant) noexcept;
    [[nodiscard]] bool block(std::unique_lock<std::mutex>& lock, Deadline deadline);

    std::mutex* mutex_;
    std::ptrdiff_t permits_;
    const char* what_;
    bool open_ = false;
    const Home home_;
    IntrusiveList<Waiter> waiters_;
    IntrusiveList<Waiter> lookers_;
    // Of hubs:
    IntrusiveList<Waiter> granted_;  // the news is on its way, or they have not run yet
    IntrusiveList<Waiter> aside_;    // they have given up, and their nodes have not gone yet
};

}  // namespace green::detail
