// Frames in memory that both ends share. See ring/ring_layout.hpp for the protocol of the memory.
//
// Beside the two rings there is a socket. It carries descriptors, those of large payloads too, and
// it tells of a peer that is gone, which memory cannot. What is sent over it is sent when the
// record's room is already ours, and the record is published without another wait: so whoever is
// interrupted has sent both or nothing, and the descriptors never fall out of step with the
// records.

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <green/fd.hpp>
#include <green/socket.hpp>
#include <green/sys.hpp>

#include "frames/descriptors.hpp"
#include "frames/memory_file.hpp"
#include "frames/payload_owner.hpp"
#include "frames/transport.hpp"
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

void ring_bell(const Fd& bell) noexcept {
    const std::uint64_t one = 1;
    (void)sys::write(bell.number(), &one, sizeof one);  // full: it is rung already
}

class RingTransport final : public FrameTransport, private PayloadOwner {
 public:
    /// At least one of the two ways.
    RingTransport(std::optional<Way> in, std::optional<Way> out, Fd socket, std::size_t limit)
        : FrameTransport{limit},
          in_{std::move(in)},
          out_{std::move(out)},
          socket_{std::move(socket)} {
        if (in_) reader_.emplace(in_->memory);
        if (out_) writer_.emplace(out_->memory);
    }
    ~RingTransport() override { close(); }

    void close() noexcept override;
    [[nodiscard]] bool is_open() const noexcept override { return socket_.is_open(); }

 private:
    std::byte* make_room(std::size_t bytes, Deadline deadline) override;
    void give_up_room() noexcept override { large_.reset(); }
    bool send(std::size_t bytes, std::span<const int> descriptors, Deadline deadline) override;
    std::optional<Frame> receive(Deadline deadline) override;

    /// Room for so much in the ring; nullptr once the deadline has passed.
    std::byte* wait_for_room(std::size_t payload, Deadline deadline);
    bool send_descriptors(std::span<const int> descriptors, Deadline deadline);
    [[nodiscard]] Frame take(const RingReader::Record& record);
    void fetch_descriptors(std::size_t count);

    /// Until the bell rings or the peer is gone. Returns false once the deadline has passed.
    bool sleep(Fd& bell, Direction side, Deadline deadline);
    /// `closes` is how often the peer has closed a copy of its side.
    [[nodiscard]] bool peer_is_gone(std::uint64_t closes, std::uint64_t& seen);
    void look_for_peer();

    void payload_gone(void* first, std::size_t bytes) const noexcept override;
    void let_go(std::span<const std::byte> payload) noexcept;

    std::optional<Way> in_;
    std::optional<Way> out_;
    Fd socket_;
    std::optional<RingReader> reader_;
    std::optional<RingWriter> writer_;
    std::unique_ptr<MemoryFile> large_;  // that is being built
    std::deque<Fd> arrived_;
    bool peer_is_gone_ = false;
    std::uint64_t seen_reader_closes_ = 0;
    std::uint64_t seen_writer_closes_ = 0;
};

/// Takes a flag back when its owner does not sleep any more, however he was woken.
template <class Side>
class Raised {
 public:
    explicit Raised(Side& side) noexcept : side_{side} { side.raise_flag(); }
    Raised(const Raised&) = delete;
    Raised& operator=(const Raised&) = delete;
    ~Raised() { side_.lower_flag(); }

 private:
    Side& side_;
};

void RingTransport::close() noexcept {
    if (!is_open()) return;
    socket_.close();
    for (auto* way : {&in_, &out_}) {
        if (!*way) continue;
        (*way)->data.close();
        (*way)->room.close();
    }
    // Whether another process has a copy of this end only the socket knows. A peer that sleeps is
    // woken by it, and one that is busy is told to look.
    if (reader_) reader_->note_close();
    if (writer_) writer_->note_close();
}

void RingTransport::look_for_peer() {
    pollfd asked{socket_.number(), POLLRDHUP, 0};
    (void)sys::must(sys::poll(&asked, 1, 0), "looking for the peer of a ring");
    peer_is_gone_ = (asked.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

bool RingTransport::peer_is_gone(std::uint64_t closes, std::uint64_t& seen) {
    if (std::exchange(seen, closes) != closes) look_for_peer();
    return peer_is_gone_;
}

bool RingTransport::sleep(Fd& bell, Direction side, Deadline deadline) {
    if (deadline == Deadline::passed()) return false;  // also where nobody can wait
    detail::FdReport rung{bell, Direction::read};
    detail::FdReport peer{socket_, side};
    rung.blocked();  // what was reported before the flag was raised says nothing
    if (!detail::park(std::array<detail::WaitNode*, 2>{&rung, &peer}, deadline)) return false;
    check_open();
    if (!peer.fired()) return true;
    look_for_peer();
    if (!peer_is_gone_) peer.blocked();
    return true;
}

std::byte* RingTransport::wait_for_room(std::size_t payload, Deadline deadline) {
    for (;;) {
        if (peer_is_gone(writer_->reader_closes(), seen_reader_closes_))
            sys::fail(EPIPE, "sending a frame");
        if (std::byte* room = writer_->room(payload)) return room;
        const Raised flag{*writer_};
        if (writer_->room(payload) != nullptr) continue;
        if (!sleep(out_->room, Direction::write, deadline)) return nullptr;
    }
}

bool RingTransport::send_descriptors(std::span<const int> descriptors, Deadline deadline) {
    const std::byte token{};
    for (detail::FdOperation operation{socket_, Direction::write, deadline}; operation.go();) {
        const sys::Outcome sent = send_with(operation.number(), {&token, 1}, descriptors);
        if (!sent.would_block()) {
            (void)sys::must(sent, "sending the descriptors of a frame");
            return true;
        }
        operation.blocked();
    }
    return false;
}

std::byte* RingTransport::make_room(std::size_t bytes, Deadline deadline) {
    if (!writer_) throw UsageError("this end of a pipe only receives");
    if (ring::footprint(bytes) <= out_->memory.capacity() / 2)
        return wait_for_room(bytes, deadline);
    // The reference first: who has built a large frame need not wait to get rid of it.
    if (wait_for_room(0, deadline) == nullptr) return nullptr;
    large_ = std::make_unique<MemoryFile>(bytes);
    return large_->memory();
}

bool RingTransport::send(std::size_t bytes, std::span<const int> descriptors, Deadline deadline) {
    RecordHeader header{static_cast<std::uint32_t>(bytes), Kind::here,
                        static_cast<std::uint16_t>(descriptors.size())};
    std::optional<Fd> file;
    std::vector<int> all;
    if (const std::unique_ptr<MemoryFile> large = std::move(large_)) {
        file = std::move(*large).seal();
        header.kind = Kind::elsewhere;
        ++header.descriptors;
        all.push_back(file->number());
        all.insert(all.end(), descriptors.begin(), descriptors.end());
        descriptors = all;
    }
    if (!descriptors.empty() && !send_descriptors(descriptors, deadline)) return false;
    if (writer_->publish(header, file ? 0 : bytes)) ring_bell(out_->data);
    return true;
}

std::optional<Frame> RingTransport::receive(Deadline deadline) {
    if (!reader_) throw UsageError("this end of a pipe only sends");
    for (;;) {
        check_open();
        if (const auto record = reader_->front()) return take(*record);
        if (reader_->tell_room()) ring_bell(in_->room);
        if (peer_is_gone(reader_->writer_closes(), seen_writer_closes_)) {
            if (reader_->front()) continue;  // it came before the end did
            came_to_end();
            return std::nullopt;
        }
        const Raised flag{*reader_};
        if (reader_->front()) continue;
        if (!sleep(in_->data, Direction::read, deadline)) return std::nullopt;
    }
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
    fetch_descriptors(header.descriptors);
    Frame frame;
    frame.size = header.bytes;
    std::size_t first = 0;
    if (header.kind == Kind::elsewhere) {
        if (header.descriptors == 0) throw ProtocolError("a large frame without its memory");
        frame.payload = map_sealed(arrived_.front(), header.bytes);
        first = 1;
    }
    frame.descriptors.reserve(header.descriptors - first);
    for (std::size_t i = 0; i < header.descriptors; ++i) {
        if (i >= first) frame.descriptors.push_back(std::move(arrived_.front()));
        arrived_.pop_front();
    }
    reader_->take(record);
    if (record.payload.empty()) {
        let_go(record.payload);
        return frame;
    }
    retain();  // until payload_gone()
    frame.payload = kj::Array<capnp::word>{
        reinterpret_cast<capnp::word*>(record.payload.data()),
        (record.payload.size() + sizeof(capnp::word) - 1) / sizeof(capnp::word), *this};
    return frame;
}

void RingTransport::let_go(std::span<const std::byte> payload) noexcept {
    if (reader_->release(payload) && is_open()) ring_bell(in_->room);
}

void RingTransport::payload_gone(void* first, std::size_t bytes) const noexcept {
    auto& self = const_cast<RingTransport&>(*this);  // what kj hands out is constant, not we
    self.let_go({static_cast<const std::byte*>(first), bytes});
    FrameTransport::release();
}

Way copy_of(Way& way) {
    const auto again = [](const Fd& fd) {
        return Fd{static_cast<int>(sys::must(sys::dup(fd.number()), "dup for a ring"))};
    };
    return {RingMemory::adopt(again(way.memory.fd())), again(way.data), again(way.room)};
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
