#pragma once
// A world in which a run can be repeated: a hub with a virtual clock, and a network and pipes in
// memory, in which everything that the real world leaves to chance is drawn from a seed.
//
//     TEST_CASE("the proxy survives what a network does") {
//         green::Simulation world{green::Simulation::seed_from_environment()};
//         world.run([&] { ... });          // sockets, sleeps, greenlets, unmodified
//     }
//
// The seed decides how the network delays and cuts up what is sent, how large buffers are, which of
// several descriptors is reported first, how often a call moves less than it could or says EAGAIN
// although it could move something. It never touches what is promised: greenlets that are ready run
// first in, first out.
//
// Time stands still while anybody can run, and leaps when nobody can. A program that waits for what
// cannot happen any more gets LoopExit.
//
// Simulated are stream sockets (TCP, of which every address is one of this machine, and Unix, whose
// names are the simulation's own), pipes, eventfds and signals (raise()). Their descriptor numbers
// begin where the kernel's end by default, at 2^20, so that they are never those of real ones.
// Datagrams and descriptors sent along with bytes are refused (EPROTONOSUPPORT, EOPNOTSUPP); files
// and processes are the real ones, but waiting for a real descriptor is refused (EOPNOTSUPP), and
// other threads cannot be waited for either: a hub that has nothing else left gets LoopExit. A call
// on a simulated descriptor that would block the thread fails with EDEADLK.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>

#include <green/deadline.hpp>
#include <green/endpoint.hpp>

namespace green {

namespace sim {
class Kernel;
}

/// Something was left at the end of a simulation: greenlets, timers, waits, watchers, open
/// descriptors. The text lists them.
class LeftOver final : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

/// What a test may do to the simulated network. TCP connections are meant by the address of either
/// of their ends or of the listener that takes them, those that do not exist yet included. None of
/// these calls switches.
class SimulatedNetwork {
 public:
    /// Whatever is sent over them from now on arrives after a time between the two.
    void delay(const Endpoint& where, Duration least, Duration most);
    /// Nothing arrives any more, in either direction; what is sent waits. As with TCP, connecting
    /// gives up after two minutes, and a connection with bytes on the way after a quarter of an
    /// hour (ETIMEDOUT); one that is silent never notices.
    void cut(const Endpoint& where);
    /// Ends cut() for the same address; what waits is sent again.
    void heal(const Endpoint& where);
    /// Breaks those that exist: both ends get ECONNRESET, what was on the way is lost.
    void reset(const Endpoint& where);

 private:
    friend class Simulation;
    explicit SimulatedNetwork(sim::Kernel& kernel) noexcept : kernel_{&kernel} {}
    sim::Kernel* kernel_;
};

class Simulation {
 public:
    /// What the world is like. Where there are a least and a most the seed chooses between them,
    /// for each delivery, each buffer, each call.
    struct Conditions {
        Duration least_delay{0};  // of a delivery between two ends of a TCP connection
        Duration most_delay{0};
        std::size_t least_buffer = 4096;  // bytes that one direction of a connection holds
        std::size_t most_buffer = std::size_t{64} * 1024;
        unsigned percent_short = 0;     // of calls that move less than they could
        unsigned percent_spurious = 0;  // of calls that say EAGAIN for no reason
        bool shuffles = true;           // the order of what is reported in one turn of the hub
        unsigned least_switches = 1;    // until the hub looks outside
        unsigned most_switches = 64;
        std::size_t most_descriptors = 65'536;  // open at a time, then EMFILE

        /// What a quiet Linux machine does: no delays, nothing short, generous buffers.
        [[nodiscard]] static Conditions calm() noexcept;
        /// Drawn from the seed, from calm to rough.
        [[nodiscard]] static Conditions of(std::uint64_t seed) noexcept;
    };

    /// Makes the world, with a hub that is this thread's until it goes; it is used and ends in this
    /// thread. Throws UsageError when the thread is in a simulation already.
    explicit Simulation(std::uint64_t seed) : Simulation{seed, Conditions::of(seed)} {}
    Simulation(std::uint64_t seed, const Conditions& conditions);
    Simulation(const Simulation&) = delete;
    Simulation& operator=(const Simulation&) = delete;
    /// Ends what still runs, as any hub does. Left by an exception, it says the seed on stderr.
    ~Simulation();

    /// GREENSUP_SEED of the environment; without it `otherwise`; without that a new one each time.
    /// Throws UsageError when it is set to what is no number.
    [[nodiscard]] static std::uint64_t seed_from_environment(
        std::optional<std::uint64_t> otherwise = std::nullopt);

    /// Runs the body as the main greenlet, then lets everybody run who can without time going on.
    /// Returns what the body returns. Throws what it throws, else LeftOver when anything is left;
    /// then the seed is said on stderr. Switches.
    template <std::invocable Body>
    auto run(Body&& body) {
        using Result = std::invoke_result_t<Body>;
        if constexpr (std::is_void_v<Result>) {
            run_checked([&] { std::invoke(std::forward<Body>(body)); });
        } else {
            std::optional<std::decay_t<Result>> result;
            run_checked([&] { result.emplace(std::invoke(std::forward<Body>(body))); });
            return *std::move(result);
        }
    }

    [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }
    [[nodiscard]] SimulatedNetwork network() noexcept;
    /// From now on at most so many descriptors: what would open another one fails with EMFILE.
    void limit_descriptors(std::size_t most) noexcept;
    [[nodiscard]] std::size_t open_descriptors() const noexcept;
    /// A signal arrives, for whoever has a SignalSet for it.
    void raise(int signal);
    /// A digest of every call and report so far, with their times. Two runs of a seed that differ
    /// in it depend on something else than the seed.
    [[nodiscard]] std::uint64_t fingerprint() const noexcept;

 private:
    struct Parts;
    void run_checked(const std::function<void()>& body);
    void check_nothing_left() const;
    void say_seed() noexcept;

    std::uint64_t seed_;
    int exceptions_;  // in flight when it was made
    bool said_ = false;
    std::unique_ptr<Parts> parts_;
};

}  // namespace green
