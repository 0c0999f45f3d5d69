#pragma once
// Descriptors that greenlets wait for.

#include <cstdint>
#include <optional>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/fd_wait.hpp>
#include <green/detail/tenure.hpp>
#include <green/sys.hpp>

namespace green {

class FdReadiness;
namespace detail {
class FdOperation;
class FdReport;
}  // namespace detail

/// Owns a descriptor number. Waiting needs a hub and enters the descriptor there, once, and so may
/// a call that gives way to others; everything else does not. It belongs to the hub it was entered
/// in: to hand it to another thread, release() it there.
///
/// Closing is safe while greenlets wait for it: they get EBADF, also when the number is given out
/// again at once.
///
/// In a forked child that keeps a list of descriptors, those of its parent's that are not listed
/// are closed: what refers to them there does not touch what has got their numbers since.
class Fd {
 public:
    Fd() noexcept = default;
    /// Takes the descriptor over. Waiting expects it to be non-blocking.
    explicit Fd(int number) noexcept : number_{number} {}
    Fd(Fd&& other) noexcept : number_{other.number()}, hub_{std::exchange(other.hub_, 0)} {
        other.number_ = -1;
    }
    Fd& operator=(Fd&& other) noexcept;
    ~Fd() { close(); }

    /// The number, lent; -1 when closed.
    [[nodiscard]] int number() const noexcept { return tenure_.holds(number_) ? number_ : -1; }
    [[nodiscard]] bool is_open() const noexcept { return number() >= 0; }

    /// Wakes who waits for it, with EBADF, and closes it. Silent when it is closed. Never switches.
    void close() noexcept;
    /// Gives the number away, open. Who waits for it gets EBADF.
    [[nodiscard]] int release() noexcept;

    /// Waits until a read (a write) would not block: bytes, the end, or an error. Switches, unless
    /// it is so; with Deadline::passed() never, so that hub callbacks may ask. Returns false once
    /// `deadline` has passed. Throws ConcurrentUse when another greenlet waits for the same
    /// direction, std::system_error (EBADF) when it is closed.
    bool wait_readable(Deadline deadline = Deadline::never());
    bool wait_writable(Deadline deadline = Deadline::never());

 private:
    friend class detail::FdOperation;
    friend class detail::FdReport;
    friend class FdReadiness;
    void forget() noexcept;
    /// Whether the hub of this thread knows it, after entering it there when `make` is given.
    [[nodiscard]] bool entered(bool make);
    /// Of one that is entered now. Throws std::system_error (EBADF) when it is closed.
    [[nodiscard]] int entered_number();

    int number_ = -1;
    detail::Tenure tenure_;
    std::uint32_t hub_ = 0;  // the number of the one where it was entered
};

namespace detail {

/// One call on a descriptor, made until it does anything but block:
///
///     for (FdOperation operation{fd, Direction::read, deadline}; operation.go();) {
///         const sys::Outcome got = sys::recv(operation.number(), ...);
///         if (!got.would_block()) return got;
///         operation.blocked();
///     }
///     // here the deadline has passed
///
/// The call comes first and the waiting second; a call that is known to block is not made. Once one
/// has waited the direction is its own until it ends: another greenlet's call is made as long as it
/// need not wait, and refused then, though the first may have been woken and found nothing. The
/// descriptor itself is not touched after a wait that ended in an exception: it may be gone.
class FdOperation {
 public:
    /// Now and then gives way, so that a descriptor that is always ready starves nobody: before the
    /// call, so that a kill that arrives there finds nothing half done. With Deadline::passed() it
    /// never switches, and needs no hub: the call is made once, also where nobody can wait.
    FdOperation(Fd& fd, Direction direction, Deadline deadline, Reach reach = Reach::outside);

    /// Whether to make the call, now. Switches where the last one would have blocked.
    /// Returns false once the deadline has passed and the call was made at least once. Throws
    /// ConcurrentUse in place of waiting, or of a try, when another one has waited and goes on.
    [[nodiscard]] bool go();
    [[nodiscard]] int number() const noexcept { return number_; }
    void blocked() { blocked_ = true; }
    /// The call moved less than was asked for, so the next one would block, unless a hang-up or
    /// urgent data was reported. Only for what guarantees that: TCP.
    void drained() noexcept;

 private:
    Fd* fd_;
    Direction direction_;
    Reach reach_;
    Deadline deadline_;
    int number_;
    bool blocked_ = false;
    bool tried_ = false;
    std::optional<FdNode> node_;  // once it is entered: before the first switch
};

/// What the reactor reports of a descriptor, without a look of one's own: for those who learn
/// elsewhere what is there. blocked() drops what was reported before.
class FdReport final : public FdNode {
 public:
    /// Throws std::system_error (EBADF) when the descriptor is closed.
    FdReport(Fd& fd, Direction direction);
};

}  // namespace detail

/// A direction of a descriptor, as something to wait for beside other things (wait.hpp). Borrows
/// the descriptor.
class FdReadiness {
 public:
    class Ready final : public detail::FdNode {
     public:
        /// Throws std::system_error (EBADF) when the descriptor is closed.
        explicit Ready(const FdReadiness& readiness);
        bool arm() override;
    };

    FdReadiness(Fd& fd, detail::Direction direction) noexcept : fd_{&fd}, direction_{direction} {}

 private:
    Fd* fd_;
    detail::Direction direction_;
};
/// Bytes, the end, or an error.
[[nodiscard]] inline FdReadiness readable(Fd& fd) noexcept { return {fd, detail::Direction::read}; }
[[nodiscard]] inline FdReadiness writable(Fd& fd) noexcept {
    return {fd, detail::Direction::write};
}

}  // namespace green
