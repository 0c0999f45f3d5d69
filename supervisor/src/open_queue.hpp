// The segment of one named queue, kept for the workers that use it: opened and recovered, mended
// after each of their deaths, counted. No message passes through here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <green/event.hpp>
#include <green/greenlet.hpp>

#include "config.hpp"

namespace greensup {

struct QueueFigures {
    std::uint64_t ready = 0;
    std::uint64_t leased = 0;
    std::uint64_t bytes = 0;

    [[nodiscard]] std::uint64_t left() const { return ready + leased; }
};

/// Open while anybody holds it: editions of the configuration do (see edition.hpp). A greenlet of
/// its own does what time brings about meanwhile, and keeps no hub alive. At the end the
/// segment is removed if nothing is in it; else it stays for the next start.
class OpenQueue {
 public:
    /// Participants are numbered 1 to this.
    static constexpr std::uint32_t most_owners = 255;

    /// Makes DIRECTORY/NAME.queue, or takes over the one that is there, with its messages. Nobody
    /// may be attached to it. Throws Refusal.
    static std::shared_ptr<OpenQueue> open(const std::string& directory, const QueueConfig& config);
    OpenQueue(const OpenQueue&) = delete;
    OpenQueue& operator=(const OpenQueue&) = delete;
    ~OpenQueue();

    /// As it is, which is not what the configuration says when messages kept it from being remade.
    [[nodiscard]] const QueueConfig& config() const noexcept;
    [[nodiscard]] const std::string& path() const noexcept;
    /// To be handed to a participant: the segment, then the doorbells. Lent.
    [[nodiscard]] std::vector<int> descriptors() const;

    /// After the end of a participant, however it came: what he held goes to the next one.
    void repair(std::uint32_t owner);

    /// Looks at every slot: 0.2 ms for 65536 of them.
    [[nodiscard]] QueueFigures figures() const;
    [[nodiscard]] bool empty() const;

    /// Sets `changed` now and after messages have left, until it is killed. For a greenlet. One
    /// sleeps in the segment's own table of sleepers for this, and is woken by who frees a slot.
    void follow(green::Event& changed);

 private:
    struct State;
    explicit OpenQueue(std::shared_ptr<State> state);

    std::shared_ptr<State> state_;  // the greenlet that tends the queue shares it, until it ends
    std::optional<green::AnyGreenlet> tender_;
};

}  // namespace greensup
