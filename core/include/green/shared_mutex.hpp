#pragma once

#include <cstddef>

#include <green/deadline.hpp>
#include <green/detail/owner.hpp>
#include <green/detail/park.hpp>

namespace green {

/// Many readers or one writer. First come, first served: who comes while somebody waits stands
/// behind him, also a reader among readers, and readers that stand together go in together. So
/// neither kind starves the other. Works with std::shared_lock, std::unique_lock and the guards.
///
/// A reader that asks for the writer's lock waits for itself: give up the one before the other. It
/// must not be destroyed while it is held, and who was woken to have it holds it before he runs.
class SharedMutex {
 public:
    SharedMutex() = default;
    SharedMutex(const SharedMutex&) = delete;
    SharedMutex& operator=(const SharedMutex&) = delete;

    /// Takes it alone. Switches, unless it is free. Throws UsageError when the caller holds it
    /// alone already.
    void lock() { (void)lock(Deadline::never()); }
    /// Returns false once `deadline` has passed; it was not taken then, nor when an interrupt is
    /// thrown.
    [[nodiscard]] bool lock(Deadline deadline);
    [[nodiscard]] bool try_lock();
    /// Never switches. Throws UsageError when the caller does not hold it alone; it stays as it is.
    void unlock();

    /// Takes it as one of its readers. As lock() in all else.
    void lock_shared() { (void)lock_shared(Deadline::never()); }
    [[nodiscard]] bool lock_shared(Deadline deadline);
    [[nodiscard]] bool try_lock_shared() noexcept { return try_enter(Mode::shared); }
    /// Never switches. Throws UsageError when it has no reader.
    void unlock_shared();

    /// Somebody holds it alone, or it is on its way to somebody.
    [[nodiscard]] bool locked() const noexcept { return writing_; }
    [[nodiscard]] std::size_t readers() const noexcept { return readers_; }
    [[nodiscard]] std::size_t waiting() const noexcept { return waiters_.size(); }

 private:
    enum class Mode : bool { shared, alone };
    class Waiter;

    bool enter(Mode mode, Deadline deadline);
    bool try_enter(Mode mode) noexcept;
    void leave(Mode mode) noexcept;
    [[nodiscard]] bool admits(Mode mode) const noexcept {
        return !writing_ && (mode == Mode::shared || readers_ == 0);
    }
    void count(Mode mode) noexcept;
    void hand_out() noexcept;

    std::size_t readers_ = 0;
    bool writing_ = false;
    detail::Owner writer_;
    detail::WaitList<Waiter> waiters_;
};

}  // namespace green
