#pragma once
// What can be thrown, sorted by what the receiver should do next. docs/explanation/errors.md gives
// the reasons.

#include <cstdint>
#include <stdexcept>
#include <string>

namespace green {

/// Something that arrives from outside at a suspension point: a kill or an expired time limit. Not
/// a std::exception, so that `catch (const std::exception&)` around foreign code cannot eat it. A
/// `catch (...)` that does not rethrow has survived it, and is reported as a survivor.
class Interrupt {
 public:
    virtual ~Interrupt() = default;
    [[nodiscard]] virtual const char* what() const noexcept = 0;

 protected:
    Interrupt() = default;
    Interrupt(const Interrupt&) = default;
    Interrupt& operator=(const Interrupt&) = default;
};

/// Ends a greenlet successfully: nothing is reported, `successful()` is true, `get()` rethrows it.
class GreenletExit final : public Interrupt {
 public:
    [[nodiscard]] const char* what() const noexcept override { return "GreenletExit"; }
};

/// A time limit has passed. Whose? Ask the scope: TimeoutScope::owns(). Identity, never type, tells
/// them apart.
class Timeout final : public Interrupt {
 public:
    explicit Timeout(std::uint64_t identity) noexcept : identity_{identity} {}
    [[nodiscard]] const char* what() const noexcept override { return "Timeout"; }
    [[nodiscard]] std::uint64_t identity() const noexcept { return identity_; }

 private:
    std::uint64_t identity_;
};

/// Nothing can ever wake the main greenlet again. The text lists every greenlet, what it waits on
/// and where it was spawned. Thrown into the main greenlet only; the hub stays usable.
class LoopExit : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// What must end the program unless its main greenlet handles it: when it ends another greenlet, or
/// leaves a hub callback, it is thrown into the main greenlet, at its suspension point, the same
/// object. Derive from it. Who handles it there goes on with everything as it was.
class FatalError : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// The caller's mistake; the state of the object is as before.
class UsageError : public std::logic_error {
 public:
    using std::logic_error::logic_error;
};

/// A waiting call was made where nobody can wait: in a hub callback or inside a NoSwitch fence.
class BlockingInHub final : public UsageError {
 public:
    using UsageError::UsageError;
};

/// A second greenlet wants to wait where only one can. The first is undisturbed.
class ConcurrentUse final : public UsageError {
 public:
    using UsageError::UsageError;
};

/// The object belongs to the process that this one was forked from, which goes on using it.
class WrongProcess final : public UsageError {
 public:
    using UsageError::UsageError;
};

/// The object was closed, or destroyed while somebody waited for it; nothing more comes out of it
/// or goes into it.
class Closed : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// The peer broke the protocol; the connection cannot be used any more.
class ProtocolError : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

}  // namespace green
