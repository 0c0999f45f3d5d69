#pragma once
// What a worker process is made of: its sockets, queues and pipes, and the way it comes and goes.
//
// Under greensup everything comes over the control channel. Alone, the same program serves on
// addresses given by
// --socket NAME=ADDRESS, with queues of its own.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <green/http.hpp>
#include <green/ipc/pipe.hpp>
#include <green/ipc/queue.hpp>
#include <green/server.hpp>
#include <green/socket.hpp>

namespace green::workers {

class Worker {
 public:
    /// Joins the supervisor, if there is one, and takes SIGTERM and SIGINT to mean: drain.
    /// Switches. Throws ProtocolError or std::system_error when the supervisor does not keep to the
    /// protocol, and std::invalid_argument for a --socket that is none.
    Worker(int argc, char** argv);
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker();

    /// The listening socket of that name, once. Throws UsageError for one that this worker was not
    /// given.
    [[nodiscard]] Listener socket(std::string_view name);

    /// The queue of that name. Drain stops its consumers; asking for its first message implies
    /// ready(). Throws UsageError for one that this worker was not given, or that is configured for
    /// another type.
    template <class T>
    [[nodiscard]] ipc::Queue<T> queue(std::string_view name) {
        return ipc::Queue<T>{raw_queue(name)};
    }
    [[nodiscard]] ipc::RawQueue raw_queue(std::string_view name);

    /// The end of the pipe of that name that this worker reads, once: see [pipes.NAME] of
    /// workers.toml. It comes to its end when nobody writes any more and nobody will, and when this
    /// worker is to go: then what is left is for its successor. Say ready() before waiting for the
    /// first message: in a roll none comes before the predecessor has gone. Closing it, or
    /// destroying it, leaves what it has not fetched to others, and holds for each copy of it, in
    /// other processes too. Up to 64 KiB are fetched at once, and go with it. Throws UsageError for
    /// one that this worker does not read, and alone.
    template <ipc::Carried T>
    [[nodiscard]] ipc::Reader<T> reader(std::string_view name) {
        return ipc::Reader<T>{pipe(name, true)};
    }
    /// The end that this worker writes, once. What put() has taken is read, whatever becomes of
    /// this process. Descriptors cannot travel through it. Throws as reader().
    template <ipc::Carried T>
    [[nodiscard]] ipc::Writer<T> writer(std::string_view name) {
        return ipc::Writer<T>{pipe(name, false)};
    }

    /// Tells the supervisor that this worker can serve. Once; later calls are silent. Switches.
    void ready();

    /// Serves until the worker is to go, then drains the server. Implies ready(). Switches.
    /// Returns the exit code: 0, or 1 when connections had to be cut.
    int serve(HttpServer& server);
    int serve(StreamServer& server);
    /// Waits until the worker is to go. For workers without a server. Implies ready(). Switches.
    void wait_for_drain();

    [[nodiscard]] bool draining() const noexcept;
    /// When the drain has to be over; never while there is none.
    [[nodiscard]] Deadline drain_deadline() const noexcept;

    [[nodiscard]] bool supervised() const noexcept;
    /// The pool's name; alone: the program's.
    [[nodiscard]] const std::string& pool() const noexcept;
    /// Which one of `count()` in its pool, counted from 0.
    [[nodiscard]] std::uint32_t slot() const noexcept;
    [[nodiscard]] std::uint32_t count() const noexcept;
    [[nodiscard]] std::uint64_t generation() const noexcept;
    /// Where files that outlive the worker belong. Alone: the working directory.
    [[nodiscard]] const std::string& run_dir() const noexcept;
    /// The arguments that are not this class's own, without the program's name.
    [[nodiscard]] const std::vector<std::string>& arguments() const noexcept;

 private:
    [[nodiscard]] ipc::FrameStream pipe(std::string_view name, bool reads);

    class Core;
    std::unique_ptr<Core> core_;
};

}  // namespace green::workers
