#pragma once
// Locks that a greenlet owns. They have the names of the standard library, so that std::lock_guard,
// std::unique_lock and std::scoped_lock work with them. For a limit: lock(deadline), then a guard
// with std::adopt_lock.

#include <cstddef>

#include <green/deadline.hpp>
#include <green/detail/owner.hpp>
#include <green/lock.hpp>

namespace green {

/// One greenlet at a time. First come, first served: unlock() hands it straight to the one who has
/// waited longest, who holds it before he runs. It must not be destroyed while it is held.
class Mutex {
 public:
    Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    /// Switches, unless it is free. Throws UsageError when the caller holds it already.
    void lock() { (void)lock(Deadline::never()); }
    /// Returns false once `deadline` has passed; it was not taken then, nor when an interrupt is
    /// thrown.
    [[nodiscard]] bool lock(Deadline deadline) {
        if (!permit_.try_acquire() && !wait(deadline)) return false;
        owner_.become_current();
        return true;
    }
    [[nodiscard]] bool try_lock() {
        if (!permit_.try_acquire()) return false;
        owner_.become_current();
        return true;
    }
    /// Never switches. Throws UsageError when the caller does not hold it; it stays as it is.
    void unlock() {
        if (!owner_.is_current()) refuse("unlock");
        owner_.clear();
        permit_.release();
    }

    /// Somebody holds it, or it is on its way to somebody.
    [[nodiscard]] bool locked() const noexcept { return permit_.permits() == 0; }
    /// The caller holds it.
    [[nodiscard]] bool owned() const { return owner_.is_current(); }
    [[nodiscard]] std::size_t waiting() const noexcept { return permit_.waiting(); }

 private:
    class Waiter;
    bool wait(Deadline deadline);
    [[noreturn]] void refuse(const char* what) const;

    Semaphore permit_{1};
    detail::Owner owner_;
};

/// A mutex that its owner may lock again; it is free when it was unlocked as often.
class RLock {
 public:
    RLock() = default;
    RLock(const RLock&) = delete;
    RLock& operator=(const RLock&) = delete;

    /// Switches, unless it is free or the caller's.
    void lock() { (void)lock(Deadline::never()); }
    /// Returns false once `deadline` has passed; it was not taken then, nor when an interrupt is
    /// thrown.
    [[nodiscard]] bool lock(Deadline deadline) { return again() || first(mutex_.lock(deadline)); }
    [[nodiscard]] bool try_lock() { return again() || first(mutex_.try_lock()); }
    /// Never switches. Throws UsageError when the caller does not hold it; it stays as it is.
    void unlock() {
        if (depth_ > 1 && mutex_.owned()) {
            --depth_;
        } else {
            mutex_.unlock();
        }
    }

    [[nodiscard]] bool locked() const noexcept { return mutex_.locked(); }
    [[nodiscard]] bool owned() const { return mutex_.owned(); }
    [[nodiscard]] std::size_t waiting() const noexcept { return mutex_.waiting(); }

 private:
    bool again() {
        if (!mutex_.owned()) return false;
        ++depth_;
        return true;
    }
    bool first(bool taken) noexcept {
        if (taken) depth_ = 1;
        return taken;
    }

    Mutex mutex_;
    std::size_t depth_ = 0;  // the owner's
};

}  // namespace green
