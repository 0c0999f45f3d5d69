#include "crash_drill.hpp"

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <unistd.h>

#include <green/errors.hpp>
#include <green/sys.hpp>

#include "crash_point.hpp"

namespace green::ipc::shm {
namespace {

std::array<std::uint64_t, crash_point_count> chances{};  // one in so many; 0: never

void maybe_die(CrashPoint point) {
    const auto index = static_cast<std::size_t>(point);
    if (chances[index] == 0) return;
    thread_local std::mt19937_64 random{std::random_device{}()};
    if (random() % chances[index] != 0) return;
    if (const char* path = std::getenv("GREEN_CRASH_LOG")) {
        const sys::Outcome file = sys::open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
        const std::string line =
            std::string(crash_point_names[index]) + " " + std::to_string(::getpid()) + "\n";
        if (file.ok()) (void)sys::write(file.as_int(), line.data(), line.size());
    }
    (void)sys::kill(::getpid(), SIGKILL);
}

void arm(std::string_view entry) {
    const std::size_t equals = entry.find('=');
    const std::string_view name = entry.substr(0, equals);
    const std::uint64_t chance =
        equals == std::string_view::npos
            ? 1
            : std::strtoull(std::string(entry.substr(equals + 1)).c_str(), nullptr, 10);
    for (std::size_t i = 0; i < crash_point_count; ++i) {
        if (name == crash_point_names[i]) {
            chances[i] = chance;
            return;
        }
    }
    throw UsageError("GREEN_CRASH_POINTS: there is no crash point \"" + std::string(name) + "\"");
}

}  // namespace

void arm_drill() {
    const char* text = std::getenv("GREEN_CRASH_POINTS");
    if (text == nullptr || crash_hook.load() != nullptr) return;
    std::string_view rest{text};
    while (!rest.empty()) {
        const std::size_t comma = rest.find(',');
        arm(rest.substr(0, comma));
        rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    }
    crash_hook.store(&maybe_die);
}

}  // namespace green::ipc::shm
