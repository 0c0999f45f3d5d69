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

std::optional<Inbox::Arrived> Inbox::take() {
    if (partial_) {
        if (partial_->filled < partial_->header.bytes) return std::nullopt;
        Partial whole = std::move(*partial_);
        partial_.reset();
        return finish(whole.header, std::move(whole.payload));
    }
    if (buffered() < FrameHeader::size) return std::nullopt;
    const FrameHeader header = FrameHeader::read(
        std::span<const std::byte, FrameHeader::size>{buffer_.get() + begin_, FrameHeader::size},
        limit_);
    kj::Array<capnp::word> payload = room_for(header.bytes);
    begin_ += FrameHeader::size;
    const std::size_t here = std::min<std::size_t>(header.bytes, buffered());
    if (here > 0) std::memcpy(payload.begin(), buffer_.get() + begin_, here);
    begin_ += here;
    if (here == header.bytes) return finish(header, std::move(payload));
    partial_.emplace(Partial{header, std::move(payload), here});
    return std::nullopt;
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

sys::Outcome Inbox::read_some(int socket) {
    if (!buffer_) buffer_.reset(new std::byte[buffer_size]);
    const std::size_t kept = buffered();
    if (begin_ > 0 && kept > 0) std::memmove(buffer_.get(), buffer_.get() + begin_, kept);
    begin_ = 0;
    end_ = kept;
    const std::span<std::byte> missing = partial_ ? partial_->rest() : std::span<std::byte>{};
    const sys::Outcome got = receive_with(
        socket, std::array{missing, std::span<std::byte>{buffer_.get() + end_, buffer_size - end_}},
        arrived_);
    if (!got.ok()) return got;
    // Those of the frame that has begun, and of the first one behind it.
    if (arrived_.size() > 2 * (FrameStream::most_descriptors + 1))
        throw ProtocolError("descriptors that no frame has announced");
    const auto bytes = static_cast<std::size_t>(got.value);
    const std::size_t first = std::min(bytes, missing.size());
    if (partial_) partial_->filled += first;
    end_ += bytes - first;
    return got;
}

Inbox::Begun Inbox::begun() const noexcept {
    if (partial_) {
        return {FrameHeader::size + partial_->filled + buffered(),
                FrameHeader::size + partial_->header.bytes};
    }
    return {buffered(), FrameHeader::size};
}

std::vector<std::byte> Inbox::bytes() const {
    const std::size_t before = partial_ ? FrameHeader::size + partial_->filled : 0;
    std::vector<std::byte> all(before + buffered());
    if (partial_) {
        partial_->header.write(
            std::span<std::byte, FrameHeader::size>{all.data(), FrameHeader::size});
        std::memcpy(all.data() + FrameHeader::size, partial_->payload.begin(), partial_->filled);
    }
    if (buffered() > 0) std::memcpy(all.data() + before, buffer_.get() + begin_, buffered());
    return all;
}

void Inbox::put_back(std::span<const std::byte> bytes) {
    // What is larger than the buffer is the begin of a large frame.
    if (!buffer_) buffer_.reset(new std::byte[buffer_size]);
    end_ = std::min(bytes.size(), buffer_size);
    if (end_ > 0) std::memcpy(buffer_.get(), bytes.data(), end_);
    bytes = bytes.subspan(end_);
    if (bytes.empty()) return;
    if (take() || !partial_ || partial_->rest().size() < bytes.size())
        throw ProtocolError("a damaged parcel of a pipe's end: more than the begin of a frame");
    std::memcpy(partial_->rest().data(), bytes.data(), bytes.size());
    partial_->filled += bytes.size();
}

}  // namespace green::ipc
