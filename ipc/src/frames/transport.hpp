#pragma once
// How frames get from one end to the other. Where there is a choice of ways, what differs is here.

#include <cstddef>
#include <optional>
#include <span>

#include <green/deadline.hpp>
#include <green/detail/counted.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/lock.hpp>

namespace green::ipc {

class FrameTransport : public detail::Counted {
 public:
    explicit FrameTransport(std::size_t limit) noexcept : limit_{limit} {}

    // As FrameStream's.
    bool put(std::span<const std::byte> payload, std::span<const int> descriptors,
             Deadline deadline);
    [[nodiscard]] std::optional<FrameDraft> draft(std::size_t bytes, Deadline deadline);
    [[nodiscard]] std::optional<Frame> next(Deadline deadline);
    virtual void close() noexcept = 0;
    [[nodiscard]] virtual bool is_open() const noexcept = 0;
    [[nodiscard]] bool at_end() const noexcept { return end_; }

 protected:
    // Called by whoever has the turn to write.

    /// Memory for a payload of up to so many bytes; nullptr once the deadline has passed.
    virtual std::byte* make_room(std::size_t bytes, Deadline deadline) = 0;
    /// Nobody will send what is in it.
    virtual void give_up_room() noexcept {}
    /// Sends what is in it. Whether or not it does, that memory is gone.
    virtual bool send(std::size_t bytes, std::span<const int> descriptors, Deadline deadline) = 0;

    /// Called by whoever has the turn to read. Nothing at the deadline or at the end, which it
    /// notes by came_to_end().
    virtual std::optional<Frame> receive(Deadline deadline) = 0;

    void check_open() const {
        if (!is_open()) [[unlikely]]
            throw_closed();
    }
    [[noreturn]] static void throw_closed();
    /// The present exception; Closed in place of a failed call if that is the reason.
    [[noreturn]] void rethrow() const;
    void came_to_end() noexcept { end_ = true; }
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    [[nodiscard]] Semaphore& writing() noexcept { return writing_; }

 private:
    friend class FrameDraft;

    /// Waits for the turn to write, and for room. Returns nullptr once the deadline has passed, and
    /// has no turn then.
    std::byte* begin(std::size_t bytes, Deadline deadline);
    /// Sends, and ends the turn.
    bool finish(std::size_t bytes, std::span<const int> descriptors, Deadline deadline);

    std::size_t limit_;
    Semaphore writing_{1};
    Semaphore reading_{1};
    bool end_ = false;
};

}  // namespace green::ipc
