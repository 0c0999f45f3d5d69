#include "frames/transport.hpp"

#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include <green/detail/give_way.hpp>
#include <green/errors.hpp>

#include "frames/turn.hpp"

namespace green::ipc {
namespace {

void check_count(std::span<const int> descriptors) {
    if (descriptors.size() <= FrameStream::most_descriptors) return;
    throw UsageError(std::to_string(descriptors.size()) + " descriptors for one frame; it takes " +
                     std::to_string(FrameStream::most_descriptors));
}

}  // namespace

void FrameTransport::throw_closed() { throw Closed("the frame stream is closed"); }

std::byte* FrameTransport::begin(std::size_t bytes, Deadline deadline) {
    check_open();
    if (bytes > limit_) {
        throw UsageError("a frame of " + std::to_string(bytes) + " bytes; the limit is " +
                         std::to_string(limit_));
    }
    detail::give_way_at_times(deadline);
    if (!writing_.acquire(deadline)) return nullptr;
    std::byte* room = nullptr;
    try {
        check_open();
        room = make_room(bytes, deadline);
    } catch (...) {
        writing_.release();
        rethrow();
    }
    if (room == nullptr) writing_.release();
    return room;
}

bool FrameTransport::finish(std::size_t bytes, std::span<const int> descriptors,
                            Deadline deadline) {
    const Turn turn{writing_};
    try {
        return send(bytes, descriptors, deadline);
    } catch (...) {
        rethrow();
    }
}

void FrameTransport::rethrow() const {
    try {
        throw;
    } catch (const std::system_error&) {
        check_open();  // closed under us: say that
        throw;
    }
}

bool FrameTransport::put(std::span<const std::byte> payload, std::span<const int> descriptors,
                         Deadline deadline) {
    check_count(descriptors);
    std::byte* const room = begin(payload.size(), deadline);
    if (room == nullptr) return false;
    if (!payload.empty()) std::memcpy(room, payload.data(), payload.size());
    return finish(payload.size(), descriptors, deadline);
}

std::optional<FrameDraft> FrameTransport::draft(std::size_t bytes, Deadline deadline) {
    const std::size_t whole = (bytes + sizeof(capnp::word) - 1) / sizeof(capnp::word);
    const std::size_t size = whole * sizeof(capnp::word);
    std::byte* const room = begin(size, deadline);
    if (room == nullptr) return std::nullopt;
    retain();
    return FrameDraft{detail::CountedPtr<FrameTransport>{this}, {room, size}};
}

FrameDraft::FrameDraft(detail::CountedPtr<FrameTransport> transport,
                       std::span<std::byte> memory) noexcept
    : transport_{std::move(transport)}, memory_{memory} {}
FrameDraft::FrameDraft(FrameDraft&& other) noexcept = default;
FrameDraft::~FrameDraft() {
    if (!transport_) return;
    transport_->give_up_room();
    transport_->writing_.release();
}

bool FrameDraft::put(std::size_t size, std::span<const int> descriptors, Deadline deadline) {
    if (!transport_) throw UsageError("this frame was put already");
    if (size > memory_.size()) {
        throw UsageError("a frame of " + std::to_string(size) + " bytes, where " +
                         std::to_string(memory_.size()) + " were prepared");
    }
    check_count(descriptors);
    const detail::CountedPtr<FrameTransport> transport = std::move(transport_);
    return transport->finish(size, descriptors, deadline);
}

std::optional<Frame> FrameTransport::next(Deadline deadline) {
    detail::give_way_at_times(deadline);
    if (!reading_.acquire(deadline)) return std::nullopt;
    const Turn turn{reading_};
    try {
        return receive(deadline);
    } catch (...) {
        rethrow();
    }
}

FrameStream::FrameStream(detail::CountedPtr<FrameTransport> transport) noexcept
    : transport_{std::move(transport)} {}
FrameStream::FrameStream(FrameStream&&) noexcept = default;
FrameStream& FrameStream::operator=(FrameStream&& other) noexcept {
    close();
    transport_ = std::move(other.transport_);
    return *this;
}
FrameStream::~FrameStream() { close(); }

void FrameStream::close() noexcept {
    if (transport_) transport_->close();
}
bool FrameStream::is_open() const noexcept { return transport_ && transport_->is_open(); }
bool FrameStream::at_end() const noexcept { return transport_->at_end(); }

bool FrameStream::put(std::span<const std::byte> payload, std::span<const int> descriptors,
                      Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = transport_;  // it may be closed meanwhile
    return transport->put(payload, descriptors, deadline);
}

std::optional<FrameDraft> FrameStream::prepare(std::size_t bytes, Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = transport_;
    return transport->draft(bytes, deadline);
}

std::optional<Frame> FrameStream::next(Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = transport_;
    return transport->next(deadline);
}

Frame FrameStream::get(Deadline deadline) {
    std::optional<Frame> frame = get_for(deadline);
    if (!frame) throw Timeout{0};
    return std::move(*frame);
}

std::optional<Frame> FrameStream::get_for(Deadline limit) {
    const detail::CountedPtr<FrameTransport> transport = transport_;
    std::optional<Frame> frame = transport->next(limit);
    if (!frame && transport->at_end()) throw Closed("the other end of the stream was closed");
    return frame;
}

}  // namespace green::ipc
