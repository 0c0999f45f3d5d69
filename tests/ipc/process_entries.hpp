#pragma once
// Entries of this program, and what tests of them have in common.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <green/errors.hpp>
#include <green/fd.hpp>
#include <green/ipc/process.hpp>
#include <green/sys.hpp>

namespace tests {

inline void write_to(const green::Fd& to, std::string_view text) {
    green::sys::must(green::sys::write(to.number(), text.data(), text.size()), "write");
}

/// Whether they hold 1, 2, 3, ..., and nothing that is started here would inherit them.
inline int read_counters(const std::vector<green::Fd>& counters) {
    for (std::uint64_t i = 0; i < counters.size(); ++i) {
        const int number = counters[i].number();
        std::uint64_t value = 0;
        if (green::sys::read(number, &value, sizeof value).value != sizeof value) return 1;
        if (value != i + 1) return 2;
        if (number <= 2 || green::sys::fcntl(number, F_GETFD).value != FD_CLOEXEC) return 3;
    }
    return static_cast<int>(counters.size() % 100) + 100;
}

inline std::vector<green::Fd> make_counters(unsigned count) {
    std::vector<green::Fd> counters;
    for (unsigned i = 1; i <= count; ++i)
        counters.emplace_back(
            static_cast<int>(green::sys::must(green::sys::eventfd(i), "eventfd")));
    return counters;
}

inline const green::ipc::Entry gives{"gives", [](int code) { return code; }};

inline std::string thrown_by(const std::function<void()>& call) {
    try {
        call();
    } catch (const green::UsageError& error) {
        return error.what();
    }
    return "nothing";
}

/// The two ways to start the same.
template <class E, class... Arguments>
green::ipc::Process start_way(int way, const E& entry, Arguments&&... arguments) {
    if (way == 0) return green::ipc::start_process(entry, std::forward<Arguments>(arguments)...);
    return green::ipc::start_process(entry.name(), std::forward<Arguments>(arguments)...);
}

}  // namespace tests
