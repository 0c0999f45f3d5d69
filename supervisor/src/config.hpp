// workers.toml as values: what the file says, checked and complete, with all defaults filled in.
//
// Plain data without behaviour; the defaults below are the defaults of the reference page. How a
// key is read, shown and what a change of it does stands in config_schema.*, one row per key.
#pragma once

#include <csignal>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "clock.hpp"
#include "result.hpp"

namespace greensup {

using namespace std::chrono_literals;

enum class Kind { exec, hub };
enum class RestartWhen { always, on_failure, on_abnormal, never };
enum class TooOften { slow, fail };
enum class OnHup { all, changed };

/// Where a socket listens: tcp host and port, a path, or an abstract unix name (without the @).
struct Endpoint {
    enum class Family { tcp, unix_path, unix_abstract };
    Family family = Family::tcp;
    std::string host;
    std::uint16_t port = 0;
    std::string path;

    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// "tcp://127.0.0.1:8080", "tcp://[::1]:80", "unix:/run/x.sock", "unix:@name".
std::string to_text(const Endpoint& endpoint);

struct SocketConfig {
    std::string name;
    Endpoint listen;
    int backlog = 4096;
};

enum class WhenFull { block, reject, drop_oldest, drop_newest };
enum class Delivery { at_least_once, at_most_once };

struct QueueConfig {
    std::string name;
    std::string schema = "bytes";
    std::uint64_t capacity = 65536;
    std::uint64_t max_bytes = 64ULL << 20;
    std::uint64_t max_message = 1ULL << 20;
    WhenFull when_full = WhenFull::block;
    Delivery delivery = Delivery::at_least_once;
    Duration lease = 30s;    // zero: as long as its holder lives
    int max_deliveries = 3;  // zero: no limit; counts only with a dead letter
    std::string dead_letter;
    Duration ttl{};  // zero: for ever
    double high_percent = 80.0;
    double low_percent = 50.0;
    std::vector<std::string> producers = {"*"};
    std::vector<std::string> consumers = {"*"};
    std::string ignored;  // keys that were written and mean nothing here
};

/// How the ends of a pipe are joined, slot by slot.
enum class PipeShape { pair, spread, broadcast, merge };
std::string to_text(PipeShape shape);
/// Where a stream may be cut between two writers, or two readers.
enum class Framing { bytes, lines, capnp };

struct PipeConfig {
    std::string name;
    std::string from;  // "a.stdout", or "a" for a hub worker
    std::string to;    // "b.stdin", or "b"
    PipeShape shape = PipeShape::pair;
    Framing framing = Framing::bytes;
    std::uint64_t capacity = 1ULL << 20;
};

/// One end of a pipe: whose it is, and whether it is his standard stream or a pipe that he opens.
struct PipeEnd {
    std::string worker;
    std::string stream;  // "stdout", "stdin"; empty: opened by the pipe's name
};
PipeEnd pipe_end(const std::string& text);

struct BackoffConfig {
    Duration initial = 200ms;  // zero: restart at once, always
    double factor = 2.0;
    Duration max = 30s;
    double jitter_percent = 20.0;
    Duration reset = 60s;  // zero: never
};

struct IntensityConfig {
    int max = 5;  // zero: no limit
    Duration period = 60s;
    TooOften then = TooOften::slow;
};

struct StopConfig {
    int signal = SIGTERM;
    Duration timeout = 10s;
    Duration drain = 30s;  // zero: not asked to drain, the default for kind = "exec"
};

/// A number of instances, or a percentage of the pool.
struct Amount {
    double value = 1;
    bool percent = false;

    friend bool operator==(const Amount&, const Amount&) = default;
};

/// How many of `count` it is: percents are rounded up, never below one.
int resolve(const Amount& amount, int count);

struct RollConfig {
    Duration min_ready = 2s;
    Duration deadline = 5min;  // zero: as long as it takes
    Amount max_surge;
};

struct WorkerConfig {
    std::string name;
    std::vector<std::string> command;  // may still hold ${instance.…}, see variables.hpp
    Kind kind = Kind::exec;
    int count = 1;  // "auto" is resolved
    std::vector<std::string> sockets;
    std::string cwd;  // absolute
    std::map<std::string, std::string> env;
    std::vector<std::string> env_pass = {"PATH", "HOME", "LANG", "LC_*", "TZ"};
    std::vector<std::string> after;
    Duration start_timeout = 30s;
    Duration min_uptime = 1s;
    Duration ready_delay = 1s;  // kind = "exec" only
    RestartWhen restart = RestartWhen::always;
    std::vector<std::string> success_codes = {"0"};  // exit codes and signal names
    BackoffConfig backoff;
    IntensityConfig intensity;
    StopConfig stop;
    RollConfig roll;
};

struct SupervisorConfig {
    std::string name;
    std::string run_dir;  // absolute
    Duration shutdown_timeout = 60s;
    int control_mode = 0600;
    int spawn_concurrency = 0;  // filled in: 2 × CPUs
    OnHup hup = OnHup::all;
};

/// All sections in the order of the file.
struct Config {
    std::string file;       // absolute
    std::string directory;  // absolute; what relative paths in the file start from
    SupervisorConfig supervisor;
    std::vector<SocketConfig> sockets;
    std::vector<QueueConfig> queues;
    std::vector<PipeConfig> pipes;
    std::vector<WorkerConfig> workers;
    Places places;

    /// The section of that name, or null. Borrowed from this Config.
    [[nodiscard]] const SocketConfig* socket(std::string_view name) const;
    [[nodiscard]] const QueueConfig* queue(std::string_view name) const;
    [[nodiscard]] const PipeConfig* pipe(std::string_view name) const;
    [[nodiscard]] const WorkerConfig* worker(std::string_view name) const;
};

/// What the file's meaning depends on besides its text; a value, so that tests can choose it.
struct Environment {
    std::map<std::string, std::string> variables;
    std::string working_directory = "/";   // what a relative file name starts from
    int cpus = 1;                          // usable ones, for "auto"
    unsigned uid = 0;                      // for the default run directory
    std::uint64_t largest_pipe = 1 << 20;  // fs.pipe-max-size
};

/// Reads and checks the text of a file. All mistakes are reported at once, in file order.
Result<Config> read_config(std::string_view text, const std::string& filename,
                           const Environment& environment);

/// The same for a file on disk; one that cannot be read is an E011.
Result<Config> read_config_file(const std::string& filename, const Environment& environment);

}  // namespace greensup
