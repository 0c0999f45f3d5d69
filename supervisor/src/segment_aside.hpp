#pragma once
// Segments of another version of greensup, which make way for ours with what is in them. Nobody
// shall have to get up at night because of an upgrade, and nothing shall be gone in the morning.

#include <cstdint>
#include <string>
#include <vector>

#include "config.hpp"
#include "queue/inspect.hpp"

namespace greensup {

/// Throws Refusal: what is wrong with the queue's files, and what to do.
[[noreturn]] void refuse(const QueueConfig& queue, const std::string& what, std::string hint);

/// What to do for messages in the segment of such a queue.
inline constexpr auto not_in_file =
    "the file has no such queue; give it one to get at the messages, or remove the segment";

/// All that are in it, wherever they stand.
[[nodiscard]] std::uint64_t messages_of(const green::ipc::shm::Status& status);

/// A segment that was renamed to make room for ours. It gets its name back unless it is said that
/// ours is used: else the version that has made it would find nothing, and begin without a word.
class Aside {
 public:
    Aside() = default;
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;
    ~Aside() { put_back(); }

    void set(const std::string& queue, const std::string& path, const std::string& aside) {
        queue_ = queue;
        path_ = path;
        aside_ = aside;
    }
    void keep() noexcept { aside_.clear(); }
    void put_back() noexcept;

 private:
    std::string queue_, path_, aside_;
};

/// Those that were put aside in this start or an earlier one.
[[nodiscard]] std::vector<std::string> asides_of(const std::string& path);
/// What to do for the messages in one of them.
[[nodiscard]] std::string how_to_get_at(const std::string& path);
/// Once at each start: what is in them waits for somebody, and takes up room.
void tell_of_asides(const std::string& path, const QueueConfig& queue);
/// At a start, when all of the configuration are open: removes the segments that it does not name
/// if they are empty for certain, and tells of the others, and of what was put aside of such a
/// queue. Those who use them are gone by then.
void tell_of_the_unnamed(const std::string& directory, const Config& config);
/// Takes one of that version out of the way by another name. False: it is empty for certain, and
/// stands where it stood; ours may replace it. Throws Refusal.
[[nodiscard]] bool set_aside(const std::string& path, const QueueConfig& queue,
                             std::uint32_t version, Aside& into);
/// Says that ours has replaced such an empty one.
void tell_of_replaced(const QueueConfig& queue, std::uint32_t version);

}  // namespace greensup
