// Frames over a stream socket.
//
// put() leaves its frame in the outbox. What is there goes at the end of the hub's turn, all of it
// by one call, or when it has become much; but the first frame of a turn goes at once, so that one
// that comes alone is not held up. A large frame is sent from where its owner has it.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include <green/context.hpp>
#include <green/detail/turn_end.hpp>
#include <green/greenlet.hpp>
#include <green/ipc/message.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

#include "frames/descriptors.hpp"
#include "frames/frame_header.hpp"
#include "frames/inbox.hpp"
#include "frames/outbox.hpp"
#include "frames/transport.hpp"
#include "frames/turn.hpp"

namespace green::ipc {
namespace {

using detail::Direction;
using detail::FdOperation;

constexpr std::size_t much = 64UL * 1024;   // bytes that wait for the end of the turn
constexpr std::size_t large = 32UL * 1024;  // bytes of a payload that is not copied

/// Until `send_some` has sent all that `is_done` asks for. Returns false once the deadline has
/// passed.
template <class Done, class SendSome>
bool send_until(Done&& is_done, SendSome&& send_some, Fd& fd, Deadline deadline) {
    while (!is_done()) {
        bool moved = false;
        for (FdOperation operation{fd, Direction::write, deadline}; operation.go();) {
            const sys::Outcome sent = send_some(operation.number());
            if (sent.would_block()) {
                operation.blocked();
                continue;
            }
            if (sent.error == ETOOMANYREFS) {
                moved = wait_for_fewer(deadline);
                break;
            }
            (void)sys::must(sent, "sending a frame");
            moved = true;
            break;
        }
        if (!moved) return false;
    }
    return true;
}

class StreamTransport final : public FrameTransport, private detail::TurnEnd {
 public:
    StreamTransport(Fd socket, const StreamOptions& options)
        : FrameTransport{options.limit, {}},
          fd_{std::move(socket)},
          coalesces_{options.coalesce},
          inbox_{options.limit} {}
    ~StreamTransport() override { shutdown(); }

    bool put(std::span<const std::byte> payload, std::span<const int> descriptors,
             Deadline deadline) override;
    bool flush(Deadline deadline) override;
    void put_back(std::span<const std::byte> bytes, std::span<Fd> descriptors);

 private:
    std::byte* make_room(std::size_t bytes, bool keeps, Deadline deadline) override;
    [[nodiscard]] bool finishes_by_itself() const noexcept override { return finisher_has_turn_; }
    bool send(FrameKind kind, std::size_t bytes, std::span<const int> descriptors,
              Deadline deadline) override;
    std::optional<Frame> receive(Deadline deadline) override;
    void end_sending() noexcept override;
    void end_receiving() noexcept override { refuse_more(fd_.number()); }
    void disconnect() noexcept override;
    void pack_into(parcel::End::Builder end, std::vector<Fd>& descriptors) override;
    void turn_ends() noexcept override;

    /// Sends until so little is left. Returns false once the deadline has passed.
    bool push(std::size_t left, Deadline deadline);
    /// As much as goes without a wait.
    void push_some() noexcept;
    void give_up(int error) noexcept;
    /// Sends the rest behind everybody's back.
    void finish_later() noexcept;
    void finish();
    bool send_large(std::span<const std::byte> payload, std::span<const int> descriptors,
                    Deadline deadline);
    /// Reads once. Returns false when the deadline came first; throws at an end inside a frame.
    bool fill(Deadline deadline);

    Fd fd_;
    bool coalesces_;
    bool is_being_finished_ = false;  // somebody waits for the turn to do it
    bool finisher_has_turn_ = false;
    bool ends_sending_ = false;  // when the outbox is empty
    int broken_ = 0;             // the error that ended sending where nobody could be told
    Outbox outbox_;
    Inbox inbox_;
};

// --- sending ---

bool StreamTransport::push(std::size_t left, Deadline deadline) {
    if (broken_ != 0) sys::fail(broken_, "sending a frame");
    return send_until(
        [&] {
            check_sends();
            return outbox_.size() <= left;
        },
        [this](int socket) { return outbox_.send_some(socket); }, fd_, deadline);
}

void StreamTransport::push_some() noexcept {
    while (!outbox_.empty()) {
        const sys::Outcome sent = outbox_.send_some(fd_.number());
        if (sent.ok()) continue;
        if (sent.would_block() || sent.error == ETOOMANYREFS) return;
        give_up(sent.error);
    }
}

// Whoever uses it next is told by his own call, and the peer by the end.
void StreamTransport::give_up(int error) noexcept {
    broken_ = error;
    outbox_.drop();
    (void)sys::shutdown(fd_.number(), SHUT_WR);
}

void StreamTransport::finish_later() noexcept {
    if (is_being_finished_) return;
    try {
        // The frames are the stream's now: no deadline of the one who left may cut them.
        const Context::Scope nobodys{Context{}};
        retain();
        spawn([self = detail::CountedPtr<StreamTransport>{this}] { self->finish(); });
        is_being_finished_ = true;
    } catch (...) {
        give_up(ENOMEM);  // no greenlet to be had: better no frame than the begin of one
    }
}

void StreamTransport::finish() {
    writing().acquire();
    const Turn turn{writing()};
    is_being_finished_ = false;
    finisher_has_turn_ = true;
    try {
        (void)send_until([this] { return outbox_.empty() || !fd_.is_open(); },
                         [this](int socket) { return outbox_.send_some(socket); }, fd_,
                         Deadline::never());
        if (ends_sending_ && fd_.is_open()) (void)sys::shutdown(fd_.number(), SHUT_WR);
    } catch (const std::system_error& error) {
        if (fd_.is_open()) give_up(error.code().value());
    } catch (...) {
        finisher_has_turn_ = false;
        throw;
    }
    finisher_has_turn_ = false;
}

void StreamTransport::turn_ends() noexcept {
    const detail::CountedPtr<StreamTransport> self = detail::CountedPtr<StreamTransport>{this};
    retain();
    push_some();
    if (!outbox_.empty()) finish_later();
}

std::byte* StreamTransport::make_room(std::size_t bytes, bool keeps, Deadline deadline) {
    // What was put before must not wait for as long as somebody keeps the turn.
    if (!push(coalesces_ && !keeps ? much : 0, deadline)) return nullptr;
    return outbox_.make_room(bytes);
}

bool StreamTransport::send(FrameKind kind, std::size_t bytes, std::span<const int> descriptors,
                           Deadline deadline) {
    if (broken_ != 0) sys::fail(broken_, "sending a frame");  // room was made before it was
    const bool alone = outbox_.empty() && !asked();
    outbox_.add(
        {static_cast<std::uint32_t>(bytes), static_cast<std::uint16_t>(descriptors.size()), kind},
        descriptors);
    if (coalesces_) {
        if (alone) push_some();
        if (broken_ != 0) sys::fail(broken_, "sending a frame");
        ask();
        return true;
    }
    try {
        if (push(0, deadline)) return true;
    } catch (...) {  // an interrupt, a failed call, a kill with a reason of its own
        if (!outbox_.take_back_last() && is_open()) finish_later();
        throw;
    }
    if (outbox_.take_back_last()) return false;
    finish_later();
    return true;
}

bool StreamTransport::flush(Deadline deadline) {
    if (!begin_turn(0, deadline)) return false;
    const Turn turn{writing()};
    return push(0, deadline);
}

bool StreamTransport::put(std::span<const std::byte> payload, std::span<const int> descriptors,
                          Deadline deadline) {
    if (payload.size() < large) return FrameTransport::put(payload, descriptors, deadline);
    if (!begin_turn(payload.size(), deadline)) return false;
    const Turn turn{writing()};
    return as_sender(
        [&] { return push(0, deadline) && send_large(payload, descriptors, deadline); });
}

bool StreamTransport::send_large(std::span<const std::byte> payload,
                                 std::span<const int> descriptors, Deadline deadline) {
    std::array<std::byte, FrameHeader::size> header;
    FrameHeader{static_cast<std::uint32_t>(payload.size()),
                static_cast<std::uint16_t>(descriptors.size()), FrameKind::message}
        .write(header);
    std::array<std::span<const std::byte>, 2> rest{header, payload};
    bool begun = false;
    const auto is_done = [&] {
        check_sends();
        return rest[1].empty();
    };
    const auto send_some = [&](int socket) {
        const sys::Outcome sent =
            send_with(socket, rest, begun ? std::span<const int>{} : descriptors);
        if (!sent.ok()) return sent;
        begun = begun || sent.value > 0;
        auto bytes = static_cast<std::size_t>(sent.value);
        for (auto& part : rest) {
            const std::size_t of_this = std::min(bytes, part.size());
            part = part.subspan(of_this);
            bytes -= of_this;
        }
        return sent;
    };
    const auto leave = [&] {
        if (!begun || !is_open()) return;
        try {
            outbox_.add_rest(rest[0], rest[1]);
        } catch (const std::bad_alloc&) {
            give_up(ENOMEM);
            return;
        }
        finish_later();
    };
    bool done = false;
    try {
        done = send_until(is_done, send_some, fd_, deadline);
    } catch (...) {
        leave();
        throw;
    }
    if (!done) leave();
    return done || begun;
}

// --- receiving ---

bool StreamTransport::fill(Deadline deadline) {
    for (FdOperation operation{fd_, Direction::read, deadline}; operation.go();) {
        const sys::Outcome got = inbox_.read_some(operation.number());
        if (got.would_block()) {
            operation.blocked();
            continue;
        }
        // A peer that died with unread input of ours shows as a reset: an end like any other.
        if (got.error != ECONNRESET && sys::must(got, "reading a frame") > 0) return true;
        if (const Inbox::Begun begun = inbox_.begun(); begun.bytes > 0) {
            throw ProtocolError("the peer left in the middle of a frame, after " +
                                std::to_string(begun.bytes) + " of " + std::to_string(begun.of) +
                                " bytes");
        }
        came_to_end();
        return true;
    }
    return false;
}

std::optional<Frame> StreamTransport::receive(Deadline deadline) {
    for (;;) {
        if (std::optional<Inbox::Arrived> arrived = inbox_.take()) {
            if (arrived->kind == FrameKind::message) return std::move(arrived->frame);
            hear_hello(arrived->frame.bytes());
            continue;
        }
        if (at_end()) return std::nullopt;
        check_receives();
        if (!fill(deadline)) return std::nullopt;
    }
}

// --- the end ---

void StreamTransport::end_sending() noexcept {
    if (!finisher_has_turn_) push_some();
    ends_sending_ = true;
    if (outbox_.empty()) {
        (void)sys::shutdown(fd_.number(), SHUT_WR);
    } else {
        finish_later();  // what was accepted goes first
    }
}

// What was accepted is still sent, for as long as the hub lives.
void StreamTransport::disconnect() noexcept {
    unlink();
    inbox_.descriptors().clear();
    if (is_at_home()) push_some();  // what a forked copy holds is its parent's to send
    if (outbox_.empty() || !is_at_home()) {
        fd_.close();
        return;
    }
    try {
        const Context::Scope nobodys{Context{}};
        spawn([fd = Fd{fd_.release()}, outbox = outbox_.take_all()]() mutable {
            try {
                (void)send_until([&] { return outbox.empty(); },
                                 [&](int socket) { return outbox.send_some(socket); }, fd,
                                 Deadline::never());
            } catch (const std::exception&) {
                // The peer is gone, or has had enough.
            }
        });
    } catch (...) {
        // No memory for a greenlet, or none can be made any more: what waits is lost.
    }
}

void StreamTransport::pack_into(parcel::End::Builder end, std::vector<Fd>& descriptors) {
    if (is_at_home()) {
        push_some();
        if (broken_ != 0) sys::fail(broken_, "sending a frame");
        if (!outbox_.empty())
            throw UsageError("this end of a pipe has not sent all yet: flush() it, then pack it");
    }
    unlink();
    auto stream = end.getWay().initStream();
    stream.setCoalesces(coalesces_);
    const std::vector<std::byte> inbox = inbox_.bytes();
    stream.setInbox(bytes(inbox));
    auto& arrived = inbox_.descriptors();
    end.setArrived(static_cast<std::uint32_t>(arrived.size()));
    descriptors.reserve(1 + arrived.size());
    descriptors.push_back(std::move(fd_));
    for (Fd& fd : arrived) descriptors.push_back(std::move(fd));
    arrived.clear();
}

void StreamTransport::put_back(std::span<const std::byte> bytes, std::span<Fd> descriptors) {
    for (Fd& fd : descriptors) inbox_.descriptors().push_back(std::move(fd));
    inbox_.put_back(bytes);
}

}  // namespace

detail::CountedPtr<FrameTransport> unpack_stream(parcel::End::Reader end,
                                                 std::span<Fd> descriptors) {
    if (descriptors.size() != 1 + std::size_t{end.getArrived()}) {
        throw ProtocolError("a damaged parcel of a pipe's end: " +
                            std::to_string(descriptors.size()) + " descriptors");
    }
    const auto stream = end.getWay().getStream();
    const detail::CountedPtr<StreamTransport> transport{new StreamTransport{
        std::move(descriptors.front()), {end.getLimit(), stream.getCoalesces()}}};
    transport->put_back(
        std::as_bytes(std::span{stream.getInbox().begin(), stream.getInbox().end()}),
        descriptors.subspan(1));
    return transport;
}

FrameStream::FrameStream(Fd socket, const StreamOptions& options)
    : transport_{new StreamTransport{std::move(socket), options}} {}

std::pair<FrameStream, FrameStream> frame_pair(const StreamOptions& options) {
    auto [a, b] = Stream::pair();
    return {FrameStream{std::move(a.fd()), options}, FrameStream{std::move(b.fd()), options}};
}

}  // namespace green::ipc
