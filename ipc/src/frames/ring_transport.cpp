// Frames in memory that both ends share. See ring/ring_layout.hpp for the protocol of the memory.
//
// Beside the two rings there is a socket. It carries descriptors, those of large payloads too, and
// it tells of a peer that is gone, which memory cannot. What is sent over it is sent when the
// record's room is already ours, and the record is published without another wait: so whoever is
// interrupted has sent both or nothing, and the descriptors never fall out of step with the
// records.
//
// Longer than most files: both directions share the socket, and each look at the other side serves
// both.

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <green/detail/poll_node.hpp>
#include <green/fd.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

#include "frames/descriptors.hpp"
#include "frames/lent_file.hpp"
#include "frames/memory_file.hpp"
#include "frames/patience.hpp"
#include "frames/payload_owner.hpp"
#include "frames/transport.hpp"
#include "frames/turn.hpp"
#include "ring/ring_reader.hpp"
#include "ring/ring_writer.hpp"

namespace green::ipc {
namespace {

using detail::Direction;
using ring::Kind;
using ring::RecordHeader;
using ring::RingMemory;
using ring::RingReader;
using ring::RingWriter;

/// One way. Each side holds both bells: it waits at one of them and rings the other.
struct Way {
    RingMemory memory;
    Fd data;  // rung by the writer for a reader that sleeps
    Fd room;  // rung by the reader for a writer that sleeps
};

Fd copy_of(const Fd& fd) {
    return Fd{static_cast<int>(sys::must(sys::dup(fd.number()), "dup for a ring"))};
}

void ring_bell(const Fd& bell) noexcept {
    const std::uint64_t one = 1;
    (void)sys::write(bell.number(), &one, sizeof one);  // full: it is rung already
}

class RingTransport final : public FrameTransport,
                            private PayloadOwner<RingTransport>,
                            private Borrower {
 public:
    /// At least one of the two ways.
    RingTransport(std::optional<Way> in, std::optional<Way> out, Fd socket, std::size_t limit)
        : FrameTransport{limit, {.receives = in.has_value(), .sends = out.has_value()}},
          in_{std::move(in)},
          out_{std::move(out)},
          socket_{std::move(socket)} {
        if (in_) reader_.emplace(in_->memory);
        if (!out_) return;
        writer_.emplace(out_->memory);
        most_inside_ = out_->memory.capacity() / 2 - sizeof(RecordHeader);
        most_at_once_ = std::min(limit, most_inside_);
    }
    ~RingTransport() override { shutdown(); }

    bool put(std::span<const std::byte> payload, std::span<const int> descriptors,
             Deadline deadline) override;
    std::optional<FrameDraft> draft(std::size_t bytes, Fill fill, Deadline deadline) override;
    bool finish(std::size_t bytes, std::span<const int> descriptors, Deadline deadline) override;
    bool next(Frame& into, Deadline deadline) override;
    /// For one that goes on: a descriptor of a frame that was not received yet.
    void has_arrived(Fd fd) { arrived_.push_back(std::move(fd)); }
    /// And a file of that place. Throws std::system_error, ProtocolError.
    void keep_file(std::size_t place, Fd fd) {
        kept_files_.at(place) = LentFile::adopt(fd, Depot::largest);
        kept_files_[place]->own(std::move(fd));
    }

 private:
    std::byte* make_room(std::size_t bytes, bool keeps, Deadline deadline) override;
    void give_up_room() noexcept override;
    bool send(FrameKind kind, std::size_t bytes, std::span<const int> descriptors,
              Deadline deadline) override;
    std::optional<Frame> receive(Deadline deadline) override;
    void end_sending() noexcept override;
    void end_receiving() noexcept override;
    void disconnect() noexcept override;
    [[nodiscard]] bool shares_memory() const noexcept override { return true; }
    void pack_into(parcel::End::Builder end, std::vector<Fd>& descriptors) override;

    /// Room for so much in the ring; nullptr once the deadline has passed.
    std::byte* wait_for_room(std::size_t payload, Deadline deadline);
    /// What was written to the room becomes a record.
    void publish(RecordHeader header, std::size_t payload) noexcept {
        if (const std::uint64_t sleep = writer_->publish(header, payload)) [[unlikely]] {
            ring_bell(out_->data);
            writer_->reader_was_rung(sleep);
        }
        if (reader_) reader_->expect_one();
    }
    void wake_writer(std::uint64_t sleep) noexcept {
        if (sleep == 0) return;
        ring_bell(in_->room);
        reader_->writer_was_rung(sleep);
    }
    bool send_descriptors(std::span<const int> descriptors, Deadline deadline);
    /// The same, with a file before them.
    bool send_descriptors(const Fd& file, std::span<const int> descriptors, Deadline deadline);
    bool send_beside(std::size_t bytes, std::span<const int> descriptors, Deadline deadline);
    [[nodiscard]] Frame take(const RingReader::Record& record);
    /// Where a record's payload is that lies in one that is kept; nothing of the end is changed.
    [[nodiscard]] detail::CountedPtr<LentFile> file_of(const RecordHeader& header);
    /// The frame lies in the ring, until it goes.
    [[nodiscard]] kj::Array<capnp::word> lend(std::span<std::byte> payload) noexcept {
        retain();  // until payload_gone()
        return {reinterpret_cast<capnp::word*>(payload.data()),
                (payload.size() + sizeof(capnp::word) - 1) / sizeof(capnp::word), *this};
    }
    void fetch_descriptors(std::size_t count);

    /// Outside of receive(): what is no record is an error for good here, too.
    [[nodiscard]] std::optional<RingReader::Record> look_at_front() {
        try {
            return reader_->front();
        } catch (const ProtocolError& error) {
            broke(error);
            throw;
        }
    }

    class Watch;
    /// Until something has changed in the ring, or at the socket, which is then looked at. Returns
    /// false once the deadline has passed. Throws Closed when that direction was closed meanwhile.
    bool sleep(Watch& watch, Deadline deadline);
    [[nodiscard]] bool writer_is_gone();
    [[nodiscard]] bool reader_is_gone();
    void look_for_writer();
    void look_for_reader();

    friend PayloadOwner<RingTransport>;
    void payload_gone(void* first, std::size_t bytes) const noexcept;
    void file_came_free() noexcept override;
    /// What the peer says first.
    void hear(const RingReader::Record& record);
    /// Until there may be a record, or the end. Returns false once the deadline has passed.
    bool wait_for_record(Deadline deadline);
    void let_go(std::span<const std::byte> payload) noexcept {
        // The ring may be another process's by now: the memory of a closed end, or of a forked
        // copy, is only looked at.
        if (is_open() && is_at_home()) wake_writer(reader_->release(payload));
    }

    std::optional<Way> in_;
    std::optional<Way> out_;
    Fd socket_;
    std::optional<RingReader> reader_;
    std::optional<RingWriter> writer_;
    std::size_t most_inside_ = 0;  // bytes of a payload that goes through the ring
    std::size_t most_at_once_ = 0;
    // Where a frame is being built that is too large for the ring: in a file that is kept, or else
    // in one of its own.
    std::optional<std::uint8_t> lent_;
    std::unique_ptr<MemoryFile> large_;
    Depot depot_;
    std::array<detail::CountedPtr<LentFile>, Depot::places> kept_files_;  // the other end's
    std::deque<Fd> arrived_;
    Patience to_read_;
    Patience to_write_;
    bool writer_is_gone_ = false;
    bool reader_is_gone_ = false;
    std::uint64_t seen_reader_closes_ = 0;
    std::uint64_t seen_writer_closes_ = 0;
};

/// What a side waits for in the memory.
class RingTransport::Watch final : public detail::PollNode {
 public:
    Watch(RingTransport& end, Direction side) noexcept
        : end_{&end}, side_{side}, patience_{reads() ? &end.to_read_ : &end.to_write_} {}
    /// Of a writer who waits for a file, not for room, since they were in those states.
    Watch(RingTransport& end, Direction side, std::uint64_t states) noexcept : Watch{end, side} {
        states_ = states;
    }
    ~Watch() override {
        if (asked()) reads() ? end_->reader_->lower_flag() : end_->writer_->lower_flag();
    }
    [[nodiscard]] bool reads() const noexcept { return side_ == Direction::read; }
    [[nodiscard]] Direction side() const noexcept { return side_; }
    [[nodiscard]] Fd& bell() const noexcept { return reads() ? end_->in_->data : end_->out_->room; }

    bool look() noexcept override {
        if (states_) return end_->depot_.states() != *states_;
        return news() != 0;
    }
    bool ask_to_be_woken() noexcept override {
        reads() ? end_->reader_->raise_flag() : end_->writer_->raise_flag();
        return look();
    }
    detail::Linger lingers() noexcept override {  // once in each wait
        if (std::exchange(has_lingered_, true)) return detail::Linger::none;
        // In any case: it tells the peer where we are.
        const bool is_here =
            reads() ? end_->reader_->peer_is_here() : end_->writer_->peer_is_here();
        if (!patience_->tries()) return detail::Linger::none;
        // While we spin on its processor it cannot do what we wait for.
        return is_here ? detail::Linger::yield : detail::Linger::spin;
    }
    void lingered(bool found, Duration took) noexcept override {
        const std::uint64_t bytes = states_ ? 0 : news();
        patience_->ended(found, std::chrono::nanoseconds(bytes), took);
    }
    void describe(std::string& into) const override {
        into += reads() ? "a frame in a ring" : "room in a ring";
    }

 private:
    [[nodiscard]] std::uint64_t news() const noexcept {
        return reads() ? end_->reader_->news() : end_->writer_->news();
    }

    RingTransport* end_;
    Direction side_;
    Patience* patience_;
    bool has_lingered_ = false;
    std::optional<std::uint64_t> states_;
};

// Whether another process has a copy of an end only the socket knows. A peer that sleeps is woken
// by it, and one that is busy is told by a count that it has to look.

void RingTransport::disconnect() noexcept {
    socket_.close();
    arrived_.clear();
    if (writing().permits() > 0) {  // else somebody writes there still
        large_.reset();
        depot_.clear();
    }
    kept_files_ = {};
    for (auto* way : {&in_, &out_}) {
        if (!*way) continue;
        (*way)->memory.fd().close();  // the mapping stays, for frames that lie in it
        (*way)->data.close();
        (*way)->room.close();
    }
    if (reader_) reader_->note_close();
    if (writer_) writer_->note_close();
}

void RingTransport::end_sending() noexcept {
    (void)sys::shutdown(socket_.number(), SHUT_WR);
    writer_->note_close();
}

void RingTransport::end_receiving() noexcept {
    refuse_more(socket_.number());
    reader_->note_close();
}

bool RingTransport::writer_is_gone() {
    if (const std::uint64_t closes = reader_->writer_closes(); closes != seen_writer_closes_) {
        look_for_writer();
        seen_writer_closes_ = closes;  // only now: a look that fails is made again
    }
    return writer_is_gone_;
}

bool RingTransport::reader_is_gone() {
    if (const std::uint64_t closes = writer_->reader_closes(); closes != seen_reader_closes_) {
        look_for_reader();
        seen_reader_closes_ = closes;
    }
    return reader_is_gone_;
}

void RingTransport::look_for_writer() {
    pollfd asked{socket_.number(), POLLRDHUP, 0};
    (void)sys::must(sys::poll(&asked, 1, 0), "looking for the peer of a ring");
    writer_is_gone_ = (asked.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    // One that has ended both.
    reader_is_gone_ = reader_is_gone_ || (asked.revents & (POLLHUP | POLLERR)) != 0;
}

// Nothing that poll(2) tells is about a peer that has ended its receiving only; sending nothing is
// refused then.
void RingTransport::look_for_reader() {
    const sys::Outcome sent = send_with(socket_.number(), std::span<const std::byte>{}, {});
    if (sent.ok() || sent.would_block()) return;
    if (sent.error != EPIPE && sent.error != ECONNRESET)
        sys::fail(sent.error, "looking for the peer of a ring");
    reader_is_gone_ = true;
}

bool RingTransport::sleep(Watch& watch, Deadline deadline) {
    const auto look_for_peer = [&] {
        watch.reads() ? look_for_writer() : look_for_reader();
        return watch.reads() ? writer_is_gone_ : reader_is_gone_;
    };
    // Nobody can wait, perhaps; but who only ever asks must hear of a peer that was killed.
    if (deadline == Deadline::passed()) return look_for_peer();
    detail::FdReport rung{watch.bell(), Direction::read};
    detail::FdReport peer{socket_, watch.side()};
    rung.blocked();  // what was reported before says nothing
    if (!detail::park(std::array<detail::WaitNode*, 3>{&rung, &peer, &watch}, deadline))
        return false;
    watch.reads() ? check_receives() : check_sends();
    if (!peer.fired()) return true;
    peer.blocked();  // first: what happens after the look is reported anew
    (void)look_for_peer();
    return true;
}

std::byte* RingTransport::wait_for_room(std::size_t payload, Deadline deadline) {
    for (;;) {
        if (reader_is_gone()) sys::fail(EPIPE, "sending a frame");
        if (std::byte* room = writer_->room(payload)) return room;
        Watch watch{*this, Direction::write};
        if (detail::look_in_place(watch, deadline)) continue;
        if (!sleep(watch, deadline)) return nullptr;
    }
}

bool RingTransport::send_descriptors(std::span<const int> descriptors, Deadline deadline) {
    const std::byte token{};
    const auto send = [&] { return send_with(socket_.number(), {&token, 1}, descriptors); };
    sys::Outcome sent = send();
    while (sent.error == ETOOMANYREFS) {
        if (!wait_for_fewer(deadline, &closed())) return false;
        check_sends();
        sent = send();
    }
    // Only now: sleep() has kept it from the hub that the socket can be written to.
    if (sent.would_block()) {
        for (detail::FdOperation operation{socket_, Direction::write, deadline}; operation.go();) {
            sent = send();
            if (!sent.would_block()) break;
            operation.blocked();
        }
        if (sent.would_block()) return false;
    }
    (void)sys::must(sent, "sending the descriptors of a frame");
    return true;
}

std::byte* RingTransport::make_room(std::size_t bytes, bool /*keeps*/, Deadline deadline) {
    writer_->was_soiled();  // nobody says what will be written there, and how much of it will go
    if (bytes <= most_inside_) return wait_for_room(bytes, deadline);
    // The reference first: who has built a large frame need not wait to get rid of it.
    if (wait_for_room(0, deadline) == nullptr) return nullptr;
    while (bytes <= Depot::largest) {
        if (reader_is_gone()) sys::fail(EPIPE, "sending a frame");
        const std::uint64_t states = depot_.states();
        lent_ = depot_.take(bytes);
        if (lent_) return depot_.at(*lent_).memory();
        Watch watch{*this, Direction::write, states};
        if (!sleep(watch, deadline)) return nullptr;
    }
    large_ = std::make_unique<MemoryFile>(bytes);
    return large_->memory();
}

void RingTransport::give_up_room() noexcept {
    writer_->was_soiled();  // whatever was written to room
    large_.reset();
    // In a forked child it is the parent's still.
    if (lent_ && is_at_home()) depot_.at(*lent_).give_back();
    lent_.reset();
}

bool RingTransport::put(std::span<const std::byte> payload, std::span<const int> descriptors,
                        Deadline deadline) {
    if (descriptors.empty() && payload.size() <= most_at_once_ && may_send_now() &&
        !reader_is_gone()) [[likely]] {
        if (std::byte* room = writer_->room(payload.size())) [[likely]] {
            if (!payload.empty()) std::memcpy(room, payload.data(), payload.size());
            publish({static_cast<std::uint32_t>(payload.size()), Kind::here, 0}, payload.size());
            return true;
        }
    }
    return FrameTransport::put(payload, descriptors, deadline);
}

std::optional<FrameDraft> RingTransport::draft(std::size_t bytes, Fill fill, Deadline deadline) {
    if (bytes <= most_at_once_ && may_send_now() && !reader_is_gone()) [[likely]] {
        const std::size_t size = whole_words(bytes);
        const bool zeroed = fill == Fill::zeros;
        if (std::byte* room = zeroed ? writer_->zeroed_room(size) : writer_->room(size))
            [[likely]] {
            if (!zeroed) writer_->was_soiled();
            (void)writing().try_acquire();
            return drafted({room, size}, fill);
        }
    }
    return FrameTransport::draft(bytes, fill, deadline);
}

bool RingTransport::finish(std::size_t bytes, std::span<const int> descriptors, Deadline deadline) {
    if (descriptors.empty() && !lent_ && !large_ && may_finish_now()) [[likely]] {
        Turn turn{writing()};
        if (!reader_is_gone()) [[likely]] {
            publish({static_cast<std::uint32_t>(bytes), Kind::here, 0}, bytes);
            return true;
        }
        turn.keep();
    }
    return FrameTransport::finish(bytes, descriptors, deadline);
}

bool RingTransport::send(FrameKind kind, std::size_t bytes, std::span<const int> descriptors,
                         Deadline deadline) {
    if ((lent_ || large_) && bytes > 0) return send_beside(bytes, descriptors, deadline);
    give_up_room();
    if (reader_is_gone()) sys::fail(EPIPE, "sending a frame");
    if (!descriptors.empty() && !send_descriptors(descriptors, deadline)) return false;
    publish({static_cast<std::uint32_t>(bytes), kind == FrameKind::hello ? Kind::hello : Kind::here,
             0, static_cast<std::uint16_t>(descriptors.size())},
            bytes);
    return true;
}

bool RingTransport::send_beside(std::size_t bytes, std::span<const int> descriptors,
                                Deadline deadline) {
    struct GivesUpRoom {
        ~GivesUpRoom() { transport.give_up_room(); }
        RingTransport& transport;
    } const at_end{*this};
    RecordHeader header{static_cast<std::uint32_t>(bytes), Kind::again, lent_.value_or(0),
                        static_cast<std::uint16_t>(descriptors.size())};
    if (reader_is_gone()) sys::fail(EPIPE, "sending a frame");
    if (lent_ && !depot_.is_new(*lent_)) {
        if (!descriptors.empty() && !send_descriptors(descriptors, deadline)) return false;
    } else {
        header.kind = lent_ ? Kind::lent : Kind::elsewhere;
        ++header.descriptors;
        const Fd sealed = lent_ ? Fd{} : std::move(*large_).seal();
        if (!send_descriptors(lent_ ? depot_.at(*lent_).fd() : sealed, descriptors, deadline))
            return false;
    }
    publish(header, 0);
    if (lent_) depot_.note_sent(*std::exchange(lent_, std::nullopt));  // the reader's to give back
    return true;
}

bool RingTransport::send_descriptors(const Fd& file, std::span<const int> descriptors,
                                     Deadline deadline) {
    std::vector<int> all{file.number()};
    all.insert(all.end(), descriptors.begin(), descriptors.end());
    return send_descriptors(all, deadline);
}

bool RingTransport::next(Frame& into, Deadline deadline) {
    if (may_receive_now()) [[likely]] {
        const auto record = look_at_front();
        if (record && record->header.kind == Kind::here && record->header.descriptors == 0 &&
            record->header.bytes <= limit() && !record->payload.empty()) [[likely]] {
            reader_->take(*record);
            into.payload = lend(record->payload);
            into.size = record->payload.size();
            return true;
        }
    }
    return FrameTransport::next(into, deadline);
}

std::optional<Frame> RingTransport::receive(Deadline deadline) {
    for (;;) {
        check_receives();
        if (at_end()) return std::nullopt;
        if (const auto record = reader_->front()) {
            if (record->header.kind == Kind::hello) [[unlikely]] {
                hear(*record);
                continue;
            }
            return take(*record);
        }
        wake_writer(reader_->tell_room());
        if (writer_is_gone()) {
            if (reader_->front()) continue;  // it came before the end did
            came_to_end();
            return std::nullopt;
        }
        if (!wait_for_record(deadline)) return std::nullopt;
    }
}

void RingTransport::hear(const RingReader::Record& record) {
    std::byte copy[ring::smallest];  // the peer may still change what is in the ring
    const std::size_t bytes = std::min(record.payload.size(), sizeof copy);
    std::memcpy(copy, record.payload.data(), bytes);
    reader_->take(record);
    let_go(record.payload);
    hear_hello({copy, bytes});
}

bool RingTransport::wait_for_record(Deadline deadline) {
    Watch watch{*this, Direction::read};
    return detail::look_in_place(watch, deadline) || sleep(watch, deadline);
}

/// Into arrived_, where they stay until the frame is complete.
void RingTransport::fetch_descriptors(std::size_t count) {
    while (arrived_.size() < count) {
        std::byte token{};
        const sys::Outcome got = receive_with(socket_.number(), {&token, 1}, arrived_);
        // They were sent before the record was published.
        if (got.would_block() || (got.ok() && got.value == 0))
            throw ProtocolError("a frame without the descriptors that it announced");
        (void)sys::must(got, "taking the descriptors of a frame");
    }
}

Frame RingTransport::take(const RingReader::Record& record) {
    const RecordHeader& header = record.header;
    if (header.bytes > limit()) {
        throw ProtocolError("a frame of " + std::to_string(header.bytes) + " bytes; the limit is " +
                            std::to_string(limit()));
    }
    const std::size_t files = header.kind == Kind::elsewhere || header.kind == Kind::lent ? 1 : 0;
    if (header.descriptors > FrameStream::most_descriptors + files) {
        throw ProtocolError("a frame with " + std::to_string(header.descriptors) +
                            " descriptors; it takes " +
                            std::to_string(FrameStream::most_descriptors));
    }
    if (header.descriptors < files || (is_beside(header.kind) && header.bytes == 0))
        throw ProtocolError("a large frame without its memory");
    fetch_descriptors(header.descriptors);
    Frame frame;
    frame.size = header.bytes;
    frame.descriptors.reserve(header.descriptors - files);
    detail::CountedPtr<LentFile> file;
    if (header.kind == Kind::elsewhere) {
        frame.payload = map_sealed(arrived_.front(), header.bytes);
    } else if (is_beside(header.kind)) {
        file = file_of(header);
    }
    reader_->take(record);  // from here on nothing fails
    if (file) {
        retain();  // until file_came_free()
        frame.payload = file->lend(header.bytes, *this);
        wake_writer(reader_->sleeping_writer());  // who waits for a file can make another one now
        if (header.kind == Kind::lent) file->own(std::move(arrived_.front()));
        kept_files_[header.place] = std::move(file);
    }
    for (std::size_t i = 0; i < header.descriptors; ++i) {
        if (i >= files) frame.descriptors.push_back(std::move(arrived_.front()));
        arrived_.pop_front();
    }
    if (record.payload.empty()) {
        let_go(record.payload);
        return frame;
    }
    frame.payload = lend(record.payload);
    return frame;
}

detail::CountedPtr<LentFile> RingTransport::file_of(const RecordHeader& header) {
    if (header.place >= kept_files_.size() ||
        (header.kind == Kind::again && !kept_files_[header.place]))
        throw ProtocolError("a large frame in a file that was not sent");
    detail::CountedPtr<LentFile> file = header.kind == Kind::lent
                                            ? LentFile::adopt(arrived_.front(), Depot::largest)
                                            : kept_files_[header.place];
    if (header.bytes > file->size()) {
        throw ProtocolError("a large frame of " + std::to_string(header.bytes) +
                            " bytes in a file of " + std::to_string(file->size()));
    }
    return file;
}

void RingTransport::payload_gone(void* first, std::size_t bytes) const noexcept {
    auto& self = const_cast<RingTransport&>(*this);  // what kj hands out is constant, not we
    self.let_go({static_cast<const std::byte*>(first), bytes});
    FrameTransport::release();
}

void RingTransport::file_came_free() noexcept {
    if (is_open() && is_at_home()) wake_writer(reader_->sleeping_writer());
    FrameTransport::release();
}

Way copy_of(Way& way) {
    return {RingMemory::adopt(copy_of(way.memory.fd())), copy_of(way.data), copy_of(way.room)};
}

Way make_way(std::size_t capacity) {
    const auto bell = [] {
        return Fd{static_cast<int>(sys::must(sys::eventfd(0), "eventfd for a ring"))};
    };
    return {RingMemory::create(capacity), bell(), bell()};
}

FrameStream ring_end(std::optional<Way> in, std::optional<Way> out, Stream socket,
                     const RingOptions& options) {
    return FrameStream{detail::CountedPtr<FrameTransport>{
        new RingTransport{std::move(in), std::move(out), std::move(socket.fd()), options.limit}}};
}

}  // namespace

void RingTransport::pack_into(parcel::End::Builder end, std::vector<Fd>& descriptors) {
    if (reader_ && reader_->holds()) {
        throw UsageError(
            "a frame that was received still lies in this end of a pipe: it cannot be packed");
    }
    descriptors.reserve(1 + 6 + kept_files_.size() + arrived_.size());
    if (reader_) wake_writer(reader_->tell_room());
    end.getWay().setRing();
    end.setArrived(static_cast<std::uint32_t>(arrived_.size()));
    descriptors.push_back(std::move(socket_));
    for (auto* way : {&in_, &out_}) {
        if (!*way) continue;
        descriptors.push_back(std::move((*way)->memory.fd()));
        descriptors.push_back(std::move((*way)->data));
        descriptors.push_back(std::move((*way)->room));
    }
    std::uint8_t places = 0;
    for (std::size_t place = 0; place < kept_files_.size(); ++place) {
        if (!kept_files_[place]) continue;
        places |= static_cast<std::uint8_t>(1U << place);
        descriptors.push_back(std::move(kept_files_[place]->fd()));
    }
    end.setFiles(places);
    kept_files_ = {};
    depot_.clear();
    for (Fd& fd : arrived_) descriptors.push_back(std::move(fd));
    arrived_.clear();
}

detail::CountedPtr<FrameTransport> unpack_ring(parcel::End::Reader end, std::span<Fd> descriptors) {
    const Directions made_for = directions_of(end.getMadeFor());
    const std::size_t ways = std::size_t{made_for.receives} + std::size_t{made_for.sends};
    const std::uint8_t files = end.getFiles();
    const auto count = static_cast<std::size_t>(std::popcount(files));
    if (ways == 0 || files >> Depot::places != 0 ||
        descriptors.size() != 1 + 3 * ways + count + end.getArrived()) {
        throw ProtocolError("a damaged parcel of a pipe's end: " +
                            std::to_string(descriptors.size()) + " descriptors");
    }
    std::size_t at = 1;
    const auto way = [&](bool is_there) -> std::optional<Way> {
        if (!is_there) return std::nullopt;
        at += 3;
        return Way{RingMemory::adopt(std::move(descriptors[at - 3])),
                   std::move(descriptors[at - 2]), std::move(descriptors[at - 1])};
    };
    std::optional<Way> in = way(made_for.receives);
    std::optional<Way> out = way(made_for.sends);
    detail::CountedPtr<RingTransport> transport{new RingTransport{
        std::move(in), std::move(out), std::move(descriptors.front()), end.getLimit()}};
    for (std::size_t place = 0; place < Depot::places; ++place) {
        if ((files >> place & 1) != 0) transport->keep_file(place, std::move(descriptors[at++]));
    }
    for (Fd& fd : descriptors.subspan(at)) transport->has_arrived(std::move(fd));
    return transport;
}

std::pair<FrameStream, FrameStream> ring_pipe(const RingOptions& options) {
    auto [a, b] = Stream::pair();
    Way way = make_way(options.capacity);
    Way again = copy_of(way);
    return {ring_end(std::move(way), std::nullopt, std::move(a), options),
            ring_end(std::nullopt, std::move(again), std::move(b), options)};
}

std::pair<FrameStream, FrameStream> ring_pair(const RingOptions& options) {
    auto [a, b] = Stream::pair();
    Way there = make_way(options.capacity);
    Way back = make_way(options.capacity);
    Way there_again = copy_of(there);
    Way back_again = copy_of(back);
    return {ring_end(std::move(back), std::move(there), std::move(a), options),
            ring_end(std::move(there_again), std::move(back_again), std::move(b), options)};
}

}  // namespace green::ipc
