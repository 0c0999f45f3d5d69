#pragma once
// What a worker was given: by a supervisor, or, when it runs alone, by its command line.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <green/deadline.hpp>
#include <green/fd.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/named_queue.hpp>

namespace green::workers {

struct Surroundings {
    /// An end of a pipe between pools.
    struct Pipe {
        Fd end;
        bool reads = false;
        std::size_t largest = 0;  // bytes of one payload
    };

    std::optional<ipc::FrameStream> control;  // to the supervisor, if there is one
    std::string pool;
    std::uint32_t slot = 0;
    std::uint32_t count = 1;
    std::uint64_t generation = 0;
    std::string run_dir = ".";
    Duration drain_time = std::chrono::seconds(30);
    std::map<std::string, Fd, std::less<>> sockets;
    std::map<std::string, std::string, std::less<>> addresses;  // alone
    std::map<std::string, ipc::QueueGrant, std::less<>> queues;
    std::map<std::string, Pipe, std::less<>> pipes;
    std::vector<std::string> arguments;
};

/// Reads the command line, and says hello to the supervisor if there is one. Switches.
[[nodiscard]] Surroundings look_around(int argc, char** argv);

}  // namespace green::workers
