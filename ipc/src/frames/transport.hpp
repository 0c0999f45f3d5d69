#pragma once
// How frames get from one end to the other. Where there is a choice of ways, what differs is here.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/counted.hpp>
#include <green/detail/home.hpp>
#include <green/errors.hpp>
#include <green/event.hpp>
#include <green/ipc/frame_stream.hpp>
#include <green/ipc/parcel.capnp.h>
#include <green/lock.hpp>

namespace green::ipc {

/// What an end does, or did before it was closed.
struct Directions {
    bool receives = true;
    bool sends = true;
};

/// What a draft's memory holds: what others have left, or zeros. Then, what stands behind the bytes
/// that are put has to be zero still.
enum class Fill : std::uint8_t { left_over, zeros };

class FrameTransport : public detail::Counted {
 public:
    /// Throws UsageError for a limit that no header can hold.
    FrameTransport(std::size_t limit, Directions directions);

    // As FrameStream's. Virtual so that a way can have a short one for what needs no wait.
    virtual bool put(std::span<const std::byte> payload, std::span<const int> descriptors,
                     Deadline deadline);
    [[nodiscard]] virtual std::optional<FrameDraft> draft(std::size_t bytes, Fill fill,
                                                          Deadline deadline);
    /// Sends what is in it, and ends its turn.
    virtual bool finish(std::size_t bytes, std::span<const int> descriptors, Deadline deadline);
    /// Returns false where FrameStream's returns nothing.
    [[nodiscard]] virtual bool next(Frame& into, Deadline deadline);
    virtual bool flush(Deadline deadline);
    void close();
    void close_write();
    void shutdown() noexcept;
    [[nodiscard]] bool is_open() const noexcept { return open_.sends || open_.receives; }
    [[nodiscard]] bool at_end() const noexcept { return end_; }
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    void expect(const Schema& sends, const Schema& receives);
    [[nodiscard]] Parcel pack();
    /// Goes on where the one that was packed had stopped.
    void resume(parcel::End::Reader end);

 protected:
    // Called by whoever has the turn to write.

    /// Memory for a payload of up to so many bytes; nullptr once the deadline has passed. `keeps`:
    /// it will be kept across other waits.
    virtual std::byte* make_room(std::size_t bytes, bool keeps, Deadline deadline) = 0;
    /// The peer has the memory of the frames anyhow, with what is left over in it.
    [[nodiscard]] virtual bool shares_memory() const noexcept { return false; }
    /// Somebody who is no user has the turn to write, perhaps without knowing it yet, and sends
    /// what is left.
    [[nodiscard]] virtual bool finishes_by_itself() const noexcept { return false; }
    /// The peer would take the end of one direction for that of both.
    [[nodiscard]] virtual bool closes_as_one() const noexcept { return false; }
    /// Nobody will send what is in it.
    virtual void give_up_room() noexcept {}
    /// Sends what is in it. Whether or not it does, that memory is gone.
    virtual bool send(FrameKind kind, std::size_t bytes, std::span<const int> descriptors,
                      Deadline deadline) = 0;

    /// Called by whoever has the turn to read. Nothing at the deadline or at the end, which it
    /// notes by came_to_end(). What is no frame of the peer's user it gives to hear_hello().
    virtual std::optional<Frame> receive(Deadline deadline) = 0;

    /// Nothing will be sent any more, or received: tells the peer, and wakes who waits.
    virtual void end_sending() noexcept = 0;
    virtual void end_receiving() noexcept = 0;
    /// Both, for good.
    virtual void disconnect() noexcept = 0;
    /// All that the end is. It is gone then, without a word to the peer.
    virtual void pack_into(parcel::End::Builder end, std::vector<Fd>& descriptors) = 0;

    /// Throws Closed unless that direction is open.
    void check_sends() const {
        if (!open_.sends) [[unlikely]]
            refuse_to_send();
    }
    void check_receives() const {
        if (!open_.receives) [[unlikely]]
            refuse_to_receive();
    }
    void came_to_end() noexcept { end_ = true; }
    /// For good: nobody knows where the next frame begins.
    void broke(const ProtocolError& error) { broken_ = error.what(); }
    /// Waits for the turn to write so much, and says hello if that is due. Returns false once the
    /// deadline has passed, and has no turn then.
    bool begin_turn(std::size_t bytes, Deadline deadline);
    /// Calls it. What fails because the end was closed meanwhile says so: Closed.
    template <class Call>
    auto as_sender(Call&& call) const {
        try {
            return std::forward<Call>(call)();
        } catch (const std::system_error&) {
            check_sends();
            throw;
        }
    }
    /// The first word of the peer. Throws ProtocolError when it sends another schema than we read.
    void hear_hello(std::span<const std::byte> words);

    /// Nothing stands in the way of a frame, unless there is no room. Nothing may switch before it
    /// is sent.
    [[nodiscard]] bool may_send_now() const noexcept {
        return home_.is_here() && open_.sends && !hello_is_due_ && writing_.permits() > 0;
    }
    /// Nor of a look whether there is a frame.
    [[nodiscard]] bool may_receive_now() const noexcept {
        return home_.is_here() && open_.receives && !hello_is_expected_ && reading_.permits() > 0 &&
               broken_.empty();
    }

    /// Nor of sending a draft.
    [[nodiscard]] bool may_finish_now() const noexcept { return home_.is_here() && open_.sends; }
    /// Of the memory that whoever has the turn to write was given.
    [[nodiscard]] FrameDraft drafted(std::span<std::byte> memory, Fill fill) noexcept {
        retain();
        return {*this, memory, fill == Fill::zeros};
    }
    [[nodiscard]] static constexpr std::size_t whole_words(std::size_t bytes) noexcept {
        return (bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word) * sizeof(capnp::word);
    }

    [[nodiscard]] bool is_at_home() const noexcept { return home_.is_here(); }
    [[nodiscard]] Semaphore& writing() noexcept { return writing_; }
    /// A user has the turn to write, or stands in line for it.
    [[nodiscard]] bool is_put_into() const noexcept {
        return writing_.permits() == 0 && !(finishes_by_itself() && writing_.waiting() == 0);
    }
    /// Set by shutdown().
    [[nodiscard]] Event& closed() noexcept { return closed_; }

 private:
    friend class FrameDraft;

    /// One that will not be sent: whoever has it had the turn to write.
    void drop_draft() noexcept {
        give_up_room();
        writing_.release();
    }
    [[noreturn]] void refuse_to_send() const;
    [[noreturn]] void refuse_to_receive() const;
    void check_home() const {
        if (!home_.is_here()) [[unlikely]]
            refuse_here();
    }
    [[noreturn]] static void refuse_here();
    [[noreturn]] static void refuse_size(std::size_t bytes, std::size_t limit);
    /// Returns false once the deadline has passed. Throws Closed when the end is closed meanwhile.
    bool take_turn(Semaphore& semaphore, Deadline deadline);
    /// Waits for the turn to write, and for room. Returns nullptr once the deadline has passed, and
    /// has no turn then.
    std::byte* begin(std::size_t bytes, std::size_t room, bool keeps, Deadline deadline);
    bool say_hello(Deadline deadline);
    void check_schema(const Schema& theirs) const;

    std::size_t limit_;
    Directions made_for_;
    Directions open_;
    bool end_ = false;
    bool hello_is_due_ = false;       // before the first frame that is sent
    bool hello_is_expected_ = false;  // before the first one that is received
    detail::Home home_;
    Semaphore writing_{1};
    Semaphore reading_{1};
    Event closed_;
    std::string broken_;  // why nothing can be received any more
    Schema sends_;
    Schema receives_;
};

[[nodiscard]] inline Directions directions_of(parcel::Directions::Reader from) {
    return {from.getReceives(), from.getSends()};
}
// What pack_into() has written. They throw ProtocolError, std::system_error.
[[nodiscard]] detail::CountedPtr<FrameTransport> unpack_stream(parcel::End::Reader end,
                                                               std::span<Fd> descriptors);
[[nodiscard]] detail::CountedPtr<FrameTransport> unpack_ring(parcel::End::Reader end,
                                                             std::span<Fd> descriptors);

}  // namespace green::ipc
