/// What the benchmark programs share: their arguments, a calibrated measurement, and the line they
/// print.
///
/// A program is called as
/// `PROGRAM [--count N] CASE [--seconds S] [--cores A,B] [--at-most N] [-- SERVER...]` and prints
/// one line of JSON, {"value": X} in the unit that cases.toml gives for CASE, or {"value": null,
/// "note": "why not"}. One call is one run; repeating, interleaving and medians are the business of
/// run.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

/// A case as the command line names it. `queue_put_get_ack_100B_2core` is the operation
/// `queue_put_get_ack` with a payload of 100 bytes, `sleepers_1M_wake` is `sleepers_wake` with a
/// count of a million; every other word of a name belongs to its operation.
struct Options {
    std::string operation;
    std::size_t count = 0;    // of the name, or --count; else 0. Never more than at_most
    std::size_t payload = 0;  // bytes; 0 where the name has none
    double seconds = 0.3;     // how long the measured part shall take
    int consumer_core = -1;   // server, receiver, and everything with one process; -1: not pinned
    int producer_core = -1;   // client, sender
    // Bounds every number of greenlets, connections and timers. A case that was cut by it is no
    // measurement any more: it is for tests.
    std::size_t at_most = std::numeric_limits<std::size_t>::max();
    std::vector<std::string> server;  // the command of the side, where the case has a driver
};

/// Throw it when this side cannot run the case here; the row gets null and the note.
class Unavailable : public std::runtime_error {
 public:
    using std::runtime_error::runtime_error;
};

struct Operation {
    std::string_view name;
    double (*run)(const Options& options);  // one run; its result in the unit of the case
};

/// The main() of every benchmark program. Returns the exit status.
int run(int argc, char** argv, std::initializer_list<Operation> operations);

/// Nanoseconds on the monotonic clock.
std::uint64_t now();

/// Stops the calling thread until now() has come to this.
void wait_until(std::uint64_t time);

/// Ties the calling thread, and what it will start, to one core; -1 leaves it alone.
void pin(int core);

/// Nanoseconds per operation. `body(n)` does at least n of them and returns how many it has
/// counted. It is called with growing n, which warms up and calibrates, then once for
/// options.seconds.
double ns_per_operation(const Options& options,
                        const std::function<std::uint64_t(std::uint64_t n)>& body);

}  // namespace bench
