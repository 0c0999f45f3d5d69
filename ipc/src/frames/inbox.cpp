#include "frames/inbox.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <green/errors.hpp>

#include "frames/descriptors.hpp"

namespace green::ipc {
namespace {

kj::Array<capnp::word> room_for(std::size_t bytes) {
    auto words =
        kj::heapArray<capnp::word>((bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word));
    if (bytes > 0) std::memset(&words.back(), 0, sizeof(capnp::word));  // of which not all is sent
    return words;
}

}  // namespace

FrameHeader Inbox::header() const {
    return FrameHeader::read(
        std::span<const std::byte, FrameHeader::size>{buffer_.get() + begin_, FrameHeader::size},
        limit_);
}

std::optional<Inbox::Arrived> Inbox::take(Link& link) {
    if (partial_) {
        if (partial_->filled < partial_->header.bytes) return std::nullopt;
        Partial whole = std::move(*partial_);
        partial_.reset();
        return finish(whole.header, std::move(whole.payload));
    }
    if (buffered() < FrameHeader::size) return std::nullopt;
    const FrameHeader header = this->header();
    const bool payload_is_apart = apart_ && header.bytes >= FrameHeader::large;
    if (apart_) {
        // A pipe's frame is no larger than the buffer: it waits there.
        if (!payload_is_apart && buffered() < FrameHeader::size + header.bytes) return std::nullopt;
        fetch_descriptors(link.socket.number(), header.descriptors);
    }
    kj::Array<capnp::word> payload = room_for(header.bytes);
    begin_ += FrameHeader::size;
    const std::size_t here = payload_is_apart ? 0 : std::min<std::size_t>(header.bytes, buffered());
    if (here > 0) std::memcpy(payload.begin(), buffer_.get() + begin_, here);
    begin_ += here;
    if (here == header.bytes) return finish(header, std::move(payload));
    partial_.emplace(Partial{header, std::move(payload), here});
    return std::nullopt;
}

bool Inbox::take_plain(Frame& into) {
    if (partial_ || buffered() < FrameHeader::size) return false;
    const std::byte* const from = buffer_.get() + begin_;
    const auto size =
        FrameHeader::plain(std::span<const std::byte, FrameHeader::size>{from, FrameHeader::size});
    if (!size || *size >= FrameHeader::large || *size > limit_ ||
        buffered() < FrameHeader::size + *size || !arrived_.empty())
        return false;
    into.payload = room_for(*size);
    into.size = *size;
    if (*size > 0) std::memcpy(into.payload.begin(), from + FrameHeader::size, *size);
    begin_ += FrameHeader::size + *size;
    return true;
}

/// Into arrived_, where they stay until the frame is complete.
void Inbox::fetch_descriptors(int socket, std::size_t count) {
    // Once: all of a frame are beside one byte, which was sent before its header. Who looked on
    // would look for as long as a peer sends bytes that bring none.
    if (arrived_.size() < count) {
        std::byte token{};
        const sys::Outcome got = receive_with(socket, {&token, 1}, arrived_);
        if (!got.would_block()) (void)sys::must(got, "taking the descriptors of a frame");
    }
    if (arrived_.size() != count)
        throw ProtocolError("a frame without the descriptors that it announced, or with others");
}

Inbox::Arrived Inbox::finish(const FrameHeader& header, kj::Array<capnp::word> payload) {
    if (arrived_.size() < header.descriptors)
        throw ProtocolError("a frame without the descriptors that it announced");
    Arrived arrived;
    arrived.kind = header.kind;
    arrived.frame.size = header.bytes;
    arrived.frame.payload = std::move(payload);
    arrived.frame.descriptors.reserve(header.descriptors);
    for (std::size_t i = 0; i < header.descriptors; ++i) {
        arrived.frame.descriptors.push_back(std::move(arrived_.front()));
        arrived_.pop_front();
    }
    return arrived;
}

sys::Outcome Inbox::read_some(Link& link) {
    if (!buffer_) buffer_.reset(new std::byte[buffer_size]);
    if (apart_ && partial_) {
        const sys::Outcome got = receive_with(link.socket.number(), partial_->rest(), arrived_);
        if (!got.ok()) return got;
        if (arrived_.size() > partial_->header.descriptors)
            throw ProtocolError("descriptors that no frame has announced");
        partial_->filled += got.as_size();
        return got;
    }
    const std::size_t kept = buffered();
    if (begin_ > 0 && kept > 0) std::memmove(buffer_.get(), buffer_.get() + begin_, kept);
    begin_ = 0;
    end_ = kept;
    if (apart_) {
        const sys::Outcome got =
            sys::read(link.in.number(), buffer_.get() + end_, buffer_size - end_);
        if (got.ok()) end_ += got.as_size();
        return got;
    }
    const std::span<std::byte> missing = partial_ ? partial_->rest() : std::span<std::byte>{};
    const sys::Outcome got = receive_with(
        link.socket.number(),
        std::array{missing, std::span<std::byte>{buffer_.get() + end_, buffer_size - end_}},
        arrived_);
    if (!got.ok()) return got;
    // Those of the frame that has begun, and of the first one behind it.
    if (arrived_.size() > 2 * (FrameStream::most_descriptors + 1))
        throw ProtocolError("descriptors that no frame has announced");
    const std::size_t first = std::min(got.as_size(), missing.size());
    if (partial_) partial_->filled += first;
    end_ += got.as_size() - first;
    return got;
}

Inbox::Begun Inbox::begun() const {
    if (partial_) {
        return {FrameHeader::size + partial_->filled, FrameHeader::size + partial_->header.bytes};
    }
    const std::size_t payload = buffered() < FrameHeader::size ? 0 : header().bytes;
    return {buffered(), FrameHeader::size + payload};
}

Inbox::Bytes Inbox::bytes() const {
    const std::size_t begun = partial_ ? FrameHeader::size + partial_->filled : 0;
    std::vector<std::byte> all(begun + buffered());
    if (partial_) {
        partial_->header.write(
            std::span<std::byte, FrameHeader::size>{all.data(), FrameHeader::size});
        std::memcpy(all.data() + FrameHeader::size, partial_->payload.begin(), partial_->filled);
    }
    if (buffered() > 0) std::memcpy(all.data() + begun, buffer_.get() + begin_, buffered());
    return {std::move(all), begun};
}

void Inbox::put_back(std::span<const std::byte> begun, std::span<const std::byte> behind) {
    const auto refuse = [] {
        throw ProtocolError("a damaged parcel of a pipe's end: more than the begin of a frame");
    };
    if (!begun.empty()) {
        if (begun.size() < FrameHeader::size) refuse();
        const auto header = FrameHeader::read(begun.first<FrameHeader::size>(), limit_);
        const auto payload = begun.subspan(FrameHeader::size);
        if (payload.size() > header.bytes) refuse();
        partial_.emplace(Partial{header, room_for(header.bytes), payload.size()});
        if (!payload.empty())
            std::memcpy(partial_->payload.begin(), payload.data(), payload.size());
    }
    if (behind.size() > buffer_size) refuse();
    buffer_.reset(new std::byte[buffer_size]);
    end_ = behind.size();
    if (end_ > 0) std::memcpy(buffer_.get(), behind.data(), end_);
}

}  // namespace green::ipc
