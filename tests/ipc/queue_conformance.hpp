#pragma once
// What a named queue promises, whatever carries it. The cases (queue_conformance_test.cpp) know a
// queue only by what stands here; a new backend adds itself to backends() and nothing else.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <green/ipc/named_queue.hpp>

namespace queue_conformance {

struct Wish {
    std::uint32_t capacity = 64;
    green::Duration lease = std::chrono::seconds{30};
    green::Duration dedup_window = std::chrono::minutes{2};
    green::Duration time_to_live = green::Duration::zero();
    green::ipc::WhenFull when_full = green::ipc::WhenFull::block;
    bool at_most_once = false;
};

/// A queue of its own, gone with this object.
class UnderTest {
 public:
    virtual ~UnderTest() = default;
    /// One more participant, here in this process.
    virtual green::ipc::RawQueue join() = 0;
    /// A participant, a process of its own, takes the next message and is killed. Returns its pid,
    /// when the queue knows of its death.
    virtual int die_with_a_message() = 0;
    virtual void set_dead_letter(UnderTest& other, std::uint32_t max_deliveries) = 0;
    virtual void close() = 0;
    virtual bool drain(green::Deadline deadline) = 0;
    [[nodiscard]] virtual bool empty() = 0;
};

struct Backend {
    std::string name;
    std::function<std::unique_ptr<UnderTest>(const std::string& queue, const Wish& wish)> make;
};

/// Those that there are on this machine.
const std::vector<Backend>& backends();

}  // namespace queue_conformance
