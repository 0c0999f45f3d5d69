// Frames over a stream socket, or over pipes with a socket beside them: link.hpp.
//
// put() leaves its frame in the outbox. What is there goes at the end of the hub's turn, all of it
// by one call, or when it has become much; but the first frame of a turn goes at once, so that one
// that comes alone is not held up. A large frame is sent from where its owner has it.
//
// Longer than most files: each way for a frame to leave (at once, at the turn's end, from its
// owner's memory) can be cut off at each point, and the others go on with what it has begun.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <green/context.hpp>
#include <green/detail/poll_node.hpp>
#include <green/detail/turn_end.hpp>
#include <green/greenlet.hpp>
#include <green/ipc/message.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

#include "frames/descriptors.hpp"
#include "frames/frame_header.hpp"
#include "frames/inbox.hpp"
#include "frames/link.hpp"
#include "frames/outbox.hpp"
#include "frames/patience.hpp"
#include "frames/transport.hpp"
#include "frames/turn.hpp"

namespace green::ipc {
namespace {

using detail::Direction;
using detail::FdOperation;

constexpr std::size_t much = 64UL * 1024;  // bytes that wait for the end of the turn

/// Until `send_some` has sent all that `is_done` asks for, each time over `next_over`; who closes
/// the end sets `closed`. Returns false once the deadline has passed.
template <class Done, class NextOver, class SendSome>
bool send_until(Done&& is_done, NextOver&& next_over, SendSome&& send_some, Event* closed,
                Deadline deadline) {
    while (!is_done()) {
        bool moved = false;
        Fd& over = next_over();
        for (FdOperation operation{over, Direction::write, deadline}; operation.go();) {
            // While we waited the end of the turn may have sent on.
            moved = &next_over() != &over;
            if (moved) break;
            const sys::Outcome sent = send_some();
            if (sent.would_block()) {
                operation.blocked();
                continue;
            }
            if (sent.error == ETOOMANYREFS) {
                moved = wait_for_fewer(deadline, closed);
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

/// All of it.
void send_all(Outbox& outbox, Link& link, Event* closed) {
    (void)send_until([&] { return outbox.empty() || !link.socket.is_open(); },
                     [&]() -> Fd& { return outbox.next_over(link); },
                     [&] { return outbox.send_some(link); }, closed, Deadline::never());
}

/// What others see while its owner is at something, however he leaves it.
template <class T>
class Meanwhile {
 public:
    Meanwhile(T& seen, std::type_identity_t<T> value) noexcept : seen_{seen} { seen_ = value; }
    Meanwhile(const Meanwhile&) = delete;
    Meanwhile& operator=(const Meanwhile&) = delete;
    ~Meanwhile() { seen_ = {}; }

 private:
    T& seen_;
};

class StreamTransport final : public FrameTransport, private detail::TurnEnd {
 public:
    StreamTransport(Link link, const StreamOptions& options)
        : FrameTransport{options.limit, {}},
          link_{std::move(link)},
          coalesces_{options.coalesce},
          tells_close_{options.tells_close},
          outbox_{link_.has_pipes},
          inbox_{options.limit, link_.has_pipes} {}
    ~StreamTransport() override { shutdown(); }

    bool put(std::span<const std::byte> payload, std::span<const int> descriptors,
             Deadline deadline) override;
    bool next(Frame& into, Deadline deadline) override;
    bool flush(Deadline deadline) override;
    /// For one that goes on: what had arrived.
    [[nodiscard]] Inbox& inbox() noexcept { return inbox_; }

 private:
    std::byte* make_room(std::size_t bytes, bool keeps, Deadline deadline) override;
    [[nodiscard]] bool finishes_by_itself() const noexcept override {
        return finisher_ == Finisher::sends || (its_turn_ != nullptr && its_turn_->fired());
    }
    [[nodiscard]] bool closes_as_one() const noexcept override { return tells_close_; }
    bool send(FrameKind kind, std::size_t bytes, std::span<const int> descriptors,
              Deadline deadline) override;
    std::optional<Frame> receive(Deadline deadline) override;
    void end_sending() noexcept override;
    void end_receiving() noexcept override { link_.refuse_input(); }
    void disconnect() noexcept override;
    void pack_into(parcel::End::Builder end, std::vector<Fd>& descriptors) override;
    void leave_list() noexcept;
    void turn_ends() noexcept override;

    /// Sends until so little is left. Returns false once the deadline has passed.
    bool push(std::size_t left, Deadline deadline);
    /// As much as goes without a wait.
    void push_some() noexcept;
    void give_up(int error) noexcept;
    /// Calls it. What fails because sending was given up meanwhile says why.
    template <class Call>
    bool unless_given_up(Call&& call) const {
        try {
            return std::forward<Call>(call)();
        } catch (const std::system_error&) {
            check_broken();
            throw;
        }
    }
    void check_broken() const {
        if (broken_ != 0) sys::fail(broken_, "sending a frame");
    }
    void say_end() noexcept;
    /// The finisher's.
    void await_turn();
    /// Sends the rest behind everybody's back.
    void finish_later() noexcept;
    class Finishing;
    void finish();
    /// The same for what a hub that has ended has left.
    void finish_what_was_left() noexcept;
    bool send_large(std::span<const std::byte> payload, std::span<const int> descriptors,
                    Deadline deadline);
    /// A large frame on its way from its owner's memory.
    struct Large {
        std::array<std::span<const std::byte>, 2> rest;  // header and payload, what has not gone
        bool begun = false;                              // its rest has to go
        bool header_waits = false;                       // in the outbox; its payload is all there
    };
    /// The header of a payload that follows over the socket. Returns false once the deadline has
    /// passed; `large` tells then whether it still goes, as when it throws.
    bool send_header(const FrameHeader& header, std::span<const int> descriptors, Large& large,
                     Deadline deadline);
    /// What has begun to go goes on from memory of ours. Gives up where there is none.
    void take_over(const Large& large) noexcept;
    /// The same for who closes the end meanwhile. Its sender is told Closed when he wakes.
    void settle_large() noexcept;
    /// Reads once. Returns false when the deadline came first; throws at an end inside a frame.
    bool fill(Deadline deadline);

    Link link_;
    bool coalesces_;
    bool tells_close_;
    enum class Finisher : std::uint8_t { none, waits, sends };  // for the turn; with the turn
    Finisher finisher_ = Finisher::none;
    const Semaphore::Acquire* its_turn_ = nullptr;  // while it stands in line
    bool ends_sending_ = false;                     // when the outbox is empty
    bool heard_hello_ = false;
    Patience to_read_;
    bool last_waits_ = false;  // the last frame's sender, until it has gone
    int broken_ = 0;           // the error that ended sending where nobody could be told
    Large* large_ = nullptr;   // while somebody sends one
    Outbox outbox_;
    Inbox inbox_;
};

// --- sending ---

bool StreamTransport::push(std::size_t left, Deadline deadline) {
    check_broken();
    if (outbox_.size() <= left) return true;
    return unless_given_up([&] {
        return send_until(
            [&] {
                check_sends();
                return outbox_.size() <= left;
            },
            [this]() -> Fd& { return outbox_.next_over(link_); },
            [this] { return outbox_.send_some(link_); }, &closed(), deadline);
    });
}

void StreamTransport::push_some() noexcept {
    while (!outbox_.empty()) {
        const sys::Outcome sent = outbox_.send_some(link_);
        if (sent.ok()) continue;
        if (sent.would_block() || sent.error == ETOOMANYREFS) return;
        give_up(sent.error);
    }
}

// Whoever uses it next is told by his own call, and the peer by the end.
void StreamTransport::give_up(int error) noexcept {
    broken_ = error;
    outbox_.drop();
    link_.end_output();
}

/// What the finisher does. It may end with its hub, before it ran as well as in the middle: then
/// whoever needs one makes another.
class StreamTransport::Finishing {
 public:
    explicit Finishing(StreamTransport& end) noexcept : end_{&end} {
        end.retain();
        end.finisher_ = Finisher::waits;
    }
    Finishing(Finishing&&) noexcept = default;
    Finishing& operator=(Finishing&&) = delete;
    ~Finishing() {
        if (end_) end_->finisher_ = Finisher::none;
    }
    void operator()() const { end_->finish(); }

 private:
    detail::CountedPtr<StreamTransport> end_;
};

void StreamTransport::finish_later() noexcept {
    if (finisher_ != Finisher::none) return;
    try {
        // The frames are the stream's now: no deadline of the one who left may cut them.
        const Context::Scope nobodys{Context{}};
        spawn(Finishing{*this});
    } catch (...) {
        give_up(ENOMEM);  // no greenlet to be had: better no frame than the begin of one
    }
}

void StreamTransport::await_turn() {
    Semaphore::Acquire turn{writing()};
    // Who gives the turn away may close the end before we know that it is ours.
    const Meanwhile standing{its_turn_, &turn};
    (void)detail::park(turn, Deadline::never());
}

void StreamTransport::finish() {
    await_turn();
    const Turn turn{writing()};
    finisher_ = Finisher::sends;
    try {
        send_all(outbox_, link_, &closed());
        if (ends_sending_ && link_.socket.is_open()) link_.end_output();
    } catch (const std::system_error& error) {
        if (link_.socket.is_open() && broken_ == 0) give_up(error.code().value());
    }
}

void StreamTransport::finish_what_was_left() noexcept {
    const bool is_somebodys = asked() || writing().permits() == 0;
    if (!outbox_.empty() && !is_somebodys) finish_later();
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
    check_broken();  // room was made before it was
    const bool alone = outbox_.empty() && !asked();
    outbox_.add(
        {static_cast<std::uint32_t>(bytes), static_cast<std::uint16_t>(descriptors.size()), kind},
        descriptors);
    // A hello is nobody's: whoever is killed while it waits, it goes, and goes once.
    if (coalesces_ || kind == FrameKind::hello) {
        if (alone) push_some();
        check_broken();
        ask();
        return true;
    }
    try {
        const Meanwhile waiting{last_waits_, true};
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
    if (payload.size() < FrameHeader::large) {
        if (coalesces_ && asked() && descriptors.empty() && payload.size() <= limit() &&
            may_send_now() && broken_ == 0 && outbox_.size() <= much) [[likely]] {
            std::byte* const room = outbox_.make_room(payload.size());
            if (!payload.empty()) std::memcpy(room, payload.data(), payload.size());
            outbox_.add({static_cast<std::uint32_t>(payload.size()), 0, FrameKind::message}, {});
            return true;
        }
        return FrameTransport::put(payload, descriptors, deadline);
    }
    if (!begin_turn(payload.size(), deadline)) return false;
    const Turn turn{writing()};
    return as_sender(
        [&] { return push(0, deadline) && send_large(payload, descriptors, deadline); });
}

bool StreamTransport::send_header(const FrameHeader& header, std::span<const int> descriptors,
                                  Large& large, Deadline deadline) {
    outbox_.add_header(header, descriptors);
    large.header_waits = true;
    const auto leave = [&] {
        large.header_waits = false;
        large.begun = !outbox_.take_back_last();
    };
    try {
        if (!push(0, deadline)) {
            leave();
            return false;
        }
    } catch (...) {
        leave();
        throw;
    }
    large.header_waits = false;
    large.begun = true;
    return true;
}

void StreamTransport::take_over(const Large& large) noexcept {
    try {
        outbox_.add_rest(large.rest[0], large.rest[1]);
    } catch (const std::bad_alloc&) {
        give_up(ENOMEM);  // better no frame than the begin of one
    }
}

void StreamTransport::settle_large() noexcept {
    if (large_ == nullptr || broken_ != 0) return;
    // No header goes alone.
    if (large_->header_waits ? !outbox_.take_back_last() : large_->begun) take_over(*large_);
}

bool StreamTransport::send_large(std::span<const std::byte> payload,
                                 std::span<const int> descriptors, Deadline deadline) {
    const FrameHeader header{static_cast<std::uint32_t>(payload.size()),
                             static_cast<std::uint16_t>(descriptors.size()), FrameKind::message};
    std::array<std::byte, FrameHeader::size> head;
    header.write(head);
    Large large{{head, payload}};
    const Meanwhile sending{large_, &large};
    const auto is_done = [&] {
        check_sends();
        return large.rest[1].empty();
    };
    const auto send_some = [&] {
        const sys::Outcome sent = send_with(link_.socket.number(), large.rest,
                                            large.begun ? std::span<const int>{} : descriptors);
        if (!sent.ok()) return sent;
        large.begun = large.begun || sent.value > 0;
        std::size_t bytes = sent.as_size();
        for (auto& part : large.rest) {
            const std::size_t of_this = std::min(bytes, part.size());
            part = part.subspan(of_this);
            bytes -= of_this;
        }
        return sent;
    };
    const auto leave = [&] {
        if (!large.begun || !is_open() || broken_ != 0) return;
        take_over(large);
        if (broken_ == 0) finish_later();
    };
    bool done = false;
    try {
        if (link_.has_pipes) large.rest[0] = {};
        done = (!link_.has_pipes || send_header(header, descriptors, large, deadline)) &&
               unless_given_up([&] {
                   return send_until(
                       is_done, [this]() -> Fd& { return link_.socket; }, send_some, &closed(),
                       deadline);
               });
    } catch (...) {
        leave();
        throw;
    }
    if (!done) leave();
    return done || large.begun;
}

// --- receiving ---

bool StreamTransport::fill(Deadline deadline) {
    bool has_waited = false;
    std::optional<TimePoint> yielded;
    for (FdOperation operation{inbox_.next_over(link_), Direction::read, deadline};
         operation.go();) {
        const sys::Outcome got = inbox_.read_some(link_);
        if (yielded) {
            const auto worth = std::chrono::nanoseconds{25} * (got.ok() ? got.value : 0);
            to_read_.ended(got.ok(), worth, now() - *std::exchange(yielded, std::nullopt));
        }
        if (got.would_block()) {
            // One that waits in epoll takes the processor from the writer at each message.
            const bool tries = !std::exchange(has_waited, true) && to_read_.tries();
            const TimePoint before = tries ? now() : TimePoint{};
            if (tries && detail::yield_in_place(deadline))
                yielded = before;
            else
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

bool StreamTransport::next(Frame& into, Deadline deadline) {
    if (may_receive_now() && !at_end() && inbox_.take_plain(into)) [[likely]]
        return true;
    return FrameTransport::next(into, deadline);
}

std::optional<Frame> StreamTransport::receive(Deadline deadline) {
    finish_what_was_left();  // the peer may wait for it before he answers
    for (;;) {
        if (at_end()) return std::nullopt;
        if (std::optional<Inbox::Arrived> arrived = inbox_.take(link_)) {
            if (arrived->kind == FrameKind::message) return std::move(arrived->frame);
            if (arrived->kind == FrameKind::end) {
                came_to_end();
                // So that who writes into another copy of the peer's end is told.
                if (link_.has_pipes) link_.in.close();
                continue;
            }
            // One by one they would keep us here, whatever the deadline.
            if (std::exchange(heard_hello_, true)) throw ProtocolError("a second hello");
            hear_hello(arrived->frame.bytes());
            continue;
        }
        check_receives();
        if (!fill(deadline)) return std::nullopt;
    }
}

// --- the end ---

void StreamTransport::end_sending() noexcept {
    say_end();
    if (finisher_ != Finisher::sends) push_some();
    if (outbox_.empty()) {
        link_.end_output();
    } else {
        finish_later();  // what was accepted goes first
    }
}

void StreamTransport::say_end() noexcept {
    ends_sending_ = true;
    // A pipe has no end while anybody has a copy of this one, so it is said.
    if (!link_.has_pipes || broken_ != 0) return;
    try {
        outbox_.add_header({0, 0, FrameKind::end}, {});
    } catch (const std::bad_alloc&) {
        // Then the end comes with the last copy.
    }
}

/// Of what waits for the end of the turn; that of a forked copy is its parent's hub's.
void StreamTransport::leave_list() noexcept { is_at_home() ? unlink() : forget(); }

// What was accepted is still sent, for as long as the hub lives.
void StreamTransport::disconnect() noexcept {
    inbox_.descriptors().clear();
    if (!is_at_home()) {
        leave_list();
        link_.close();  // what a forked copy holds is its parent's to send
        return;
    }
    leave_list();
    settle_large();
    if (last_waits_) (void)outbox_.take_back_last();
    if (tells_close_ && !ends_sending_) say_end();
    push_some();
    if (ends_sending_ && outbox_.empty()) link_.end_output();
    if (outbox_.empty()) {
        link_.close();
        return;
    }
    try {
        const Context::Scope nobodys{Context{}};
        spawn([link = link_.take_to_send(), outbox = outbox_.take_all(),
               ends = ends_sending_]() mutable {
            try {
                send_all(outbox, link, nullptr);
                if (ends) link.end_output();
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
        const bool sends = finisher_ == Finisher::sends;  // it waits for what would go away
        if (!sends) push_some();
        check_broken();
        if (sends || !outbox_.empty())
            throw UsageError("this end of a pipe has not sent all yet: flush() it, then pack it");
    }
    leave_list();
    auto stream = end.getWay().initStream();
    stream.setCoalesces(coalesces_);
    stream.setTellsClose(tells_close_);
    const Inbox::Bytes inbox = inbox_.bytes();
    stream.setInbox(bytes(inbox.all));
    stream.setBegun(static_cast<std::uint32_t>(inbox.begun));
    if (link_.has_pipes) {
        auto pipes = stream.initPipes();
        pipes.setReceives(link_.in.is_open());
        pipes.setSends(link_.out.is_open());
    }
    auto& arrived = inbox_.descriptors();
    end.setArrived(static_cast<std::uint32_t>(arrived.size()));
    descriptors.reserve(3 + arrived.size());
    for (Fd* fd : {&link_.socket, &link_.in, &link_.out}) {
        if (fd->is_open()) descriptors.push_back(std::move(*fd));
    }
    for (Fd& fd : arrived) descriptors.push_back(std::move(fd));
    arrived.clear();
}

}  // namespace

detail::CountedPtr<FrameTransport> unpack_stream(parcel::End::Reader end,
                                                 std::span<Fd> descriptors) {
    const auto stream = end.getWay().getStream();
    const bool has_pipes = stream.hasPipes();
    const Directions pipes =
        has_pipes ? directions_of(stream.getPipes()) : Directions{false, false};
    if (descriptors.size() != 1 + std::size_t{pipes.receives} + std::size_t{pipes.sends} +
                                  std::size_t{end.getArrived()}) {
        throw ProtocolError("a damaged parcel of a pipe's end: " +
                            std::to_string(descriptors.size()) + " descriptors");
    }
    auto next = descriptors.begin();
    Link link{std::move(*next++), {}, {}, has_pipes};
    if (pipes.receives) link.in = std::move(*next++);
    if (pipes.sends) link.out = std::move(*next++);
    const detail::CountedPtr<StreamTransport> transport{new StreamTransport{
        std::move(link), {end.getLimit(), stream.getCoalesces(), stream.getTellsClose()}}};
    for (; next != descriptors.end(); ++next)
        transport->inbox().descriptors().push_back(std::move(*next));
    const auto inbox = std::as_bytes(std::span{stream.getInbox().begin(), stream.getInbox().end()});
    if (stream.getBegun() > inbox.size())
        throw ProtocolError("a damaged parcel of a pipe's end: less than has begun");
    transport->inbox().put_back(inbox.first(stream.getBegun()), inbox.subspan(stream.getBegun()));
    return transport;
}

FrameStream::FrameStream(Fd socket, const StreamOptions& options)
    : transport_{new StreamTransport{Link{std::move(socket), {}, {}, false}, options}} {}

std::pair<FrameStream, FrameStream> frame_pair(const StreamOptions& options) {
    auto [a, b] = make_links();
    const auto end = [&](Link& link) {
        return FrameStream{
            detail::CountedPtr<FrameTransport>{new StreamTransport{std::move(link), options}}};
    };
    return {end(a), end(b)};
}

}  // namespace green::ipc
