#include "frames/transport.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

#include <capnp/serialize.h>

#include <green/detail/give_way.hpp>
#include <green/errors.hpp>
#include <green/ipc/message.hpp>

#include "frames/frame_header.hpp"
#include "frames/turn.hpp"

namespace green::ipc {
namespace {

void write(parcel::Directions::Builder into, const Directions& directions) {
    into.setReceives(directions.receives);
    into.setSends(directions.sends);
}
void write(parcel::SchemaName::Builder into, const Schema& schema) {
    into.setId(schema.id);
    into.setName(schema.name.c_str());
}
Schema schema_of(parcel::SchemaName::Reader from) { return {from.getId(), from.getName().cStr()}; }

// What refuses stands apart: it would make each frame that is put save more registers.
[[noreturn]] void refuse_count(std::size_t descriptors) {
    throw UsageError(std::to_string(descriptors) + " descriptors for one frame; it takes " +
                     std::to_string(FrameStream::most_descriptors));
}
void check_count(std::span<const int> descriptors) {
    if (descriptors.size() > FrameStream::most_descriptors) [[unlikely]]
        refuse_count(descriptors.size());
}
[[noreturn]] void refuse_twice() { throw UsageError("this frame was put already"); }
[[noreturn]] void refuse_more_than_prepared(std::size_t size, std::size_t prepared) {
    throw UsageError("a frame of " + std::to_string(size) + " bytes, where " +
                     std::to_string(prepared) + " were prepared");
}

std::string text_of(const Schema& schema) {
    if (schema.id == 0 && schema.name.empty()) return "bytes";
    constexpr const char* digits = "0123456789abcdef";
    std::string text = schema.name + " (0x";
    for (int shift = 60; shift >= 0; shift -= 4) text += digits[(schema.id >> shift) & 15];
    return text + ')';
}

}  // namespace

void FrameTransport::refuse_here() {
    throw WrongProcess(
        "this end of a pipe belongs to the process that was forked: pack() it and unpack it here");
}
void FrameTransport::refuse_size(std::size_t bytes, std::size_t limit) {
    throw UsageError("a frame of " + std::to_string(bytes) + " bytes; the limit is " +
                     std::to_string(limit));
}
void FrameTransport::refuse_to_send() const {
    if (!made_for_.sends) throw UsageError("this end of a pipe only receives");
    throw Closed(is_open() ? "this end of a pipe was closed for sending"
                           : "this end of a pipe is closed");
}
void FrameTransport::refuse_to_receive() const {
    if (!made_for_.receives) throw UsageError("this end of a pipe only sends");
    throw Closed(is_open() ? "this end of a pipe was closed for receiving"
                           : "this end of a pipe is closed");
}

// --- sending ---

FrameTransport::FrameTransport(std::size_t limit, Directions directions)
    : limit_{limit}, made_for_{directions}, open_{directions} {
    constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max();
    if (limit > most) {
        throw UsageError("a limit of " + std::to_string(limit) +
                         " bytes for a frame; the most is " + std::to_string(most));
    }
}

bool FrameTransport::take_turn(Semaphore& semaphore, Deadline deadline) {
    if (semaphore.try_acquire()) return true;
    Semaphore::Acquire turn{semaphore};
    Event::Ready closed{closed_};
    if (!detail::park(std::array<detail::WaitNode*, 2>{&turn, &closed}, deadline)) return false;
    if (!turn.fired()) throw Closed("this end of a pipe was closed");
    return true;
}

bool FrameTransport::begin_turn(std::size_t bytes, Deadline deadline) {
    check_home();
    check_sends();
    if (bytes > limit_) refuse_size(bytes, limit_);
    if (!take_turn(writing_, deadline)) return false;
    Turn turn{writing_};
    check_sends();
    if (hello_is_due_ && !as_sender([&] { return say_hello(deadline); })) return false;
    turn.keep();
    return true;
}

std::byte* FrameTransport::begin(std::size_t bytes, std::size_t room, bool keeps,
                                 Deadline deadline) {
    if (!begin_turn(bytes, deadline)) return nullptr;
    Turn turn{writing_};
    std::byte* const memory = as_sender([&] { return make_room(room, keeps, deadline); });
    if (memory != nullptr) turn.keep();
    return memory;
}

bool FrameTransport::finish(std::size_t bytes, std::span<const int> descriptors,
                            Deadline deadline) {
    const Turn turn{writing_};
    try {
        check_home();
        check_sends();  // it may have been closed since the frame was begun
        return as_sender([&] { return send(FrameKind::message, bytes, descriptors, deadline); });
    } catch (...) {
        give_up_room();
        throw;
    }
}

bool FrameTransport::flush(Deadline) {
    check_home();
    check_sends();
    return true;
}

bool FrameTransport::put(std::span<const std::byte> payload, std::span<const int> descriptors,
                         Deadline deadline) {
    std::byte* const room = begin(payload.size(), payload.size(), false, deadline);
    if (room == nullptr) return false;
    if (!payload.empty()) std::memcpy(room, payload.data(), payload.size());
    return finish(payload.size(), descriptors, deadline);
}

std::optional<FrameDraft> FrameTransport::draft(std::size_t bytes, Fill fill, Deadline deadline) {
    // Rounded up only where it cannot overflow: begin() refuses what is too large.
    const std::size_t room = whole_words(std::min(bytes, limit_));
    std::byte* const memory = begin(bytes, room, true, deadline);
    if (memory == nullptr) return std::nullopt;
    if (fill == Fill::zeros) std::memset(memory, 0, room);
    return drafted({memory, room}, fill);
}

void FrameDraft::give_up() noexcept {
    const detail::CountedPtr<FrameTransport> transport{std::exchange(transport_, nullptr)};
    transport->drop_draft();
}

bool FrameDraft::is_shared() const noexcept {
    return transport_ != nullptr && transport_->shares_memory();
}

bool FrameDraft::put(std::size_t size, std::span<const int> descriptors, Deadline deadline) {
    if (transport_ == nullptr) refuse_twice();
    if (size > memory_.size()) refuse_more_than_prepared(size, memory_.size());
    // Its memory is in whole words.
    if (size > transport_->limit()) FrameTransport::refuse_size(size, transport_->limit());
    check_count(descriptors);
    const detail::CountedPtr<FrameTransport> transport{std::exchange(transport_, nullptr)};
    return transport->finish(size, descriptors, deadline);
}

bool FrameDraft::put_instead(std::span<const std::byte> payload, std::span<const int> descriptors,
                             Deadline deadline) {
    if (transport_ == nullptr) refuse_twice();
    check_count(descriptors);
    const detail::CountedPtr<FrameTransport> transport{std::exchange(transport_, nullptr)};
    transport->drop_draft();
    return transport->put(payload, descriptors, deadline);
}

// --- receiving ---

bool FrameTransport::next(Frame& into, Deadline deadline) {
    check_home();
    check_receives();
    if (!take_turn(reading_, deadline)) return false;
    const Turn turn{reading_};
    if (!broken_.empty()) throw ProtocolError(broken_);
    try {
        std::optional<Frame> frame = receive(deadline);
        if (frame && hello_is_expected_) [[unlikely]] {
            throw ProtocolError("the peer of a pipe sends without saying what; " +
                                text_of(receives_) + " was expected");
        }
        if (frame) into = std::move(*frame);
        return frame.has_value();
    } catch (const std::system_error&) {
        check_receives();  // closed under us: say that
        throw;
    } catch (const ProtocolError& error) {
        broke(error);
        throw;
    }
}

// --- schemas ---

void FrameTransport::expect(const Schema& sends, const Schema& receives) {
    const bool known = sends_.id != 0 || receives_.id != 0;
    if (known) {
        // An end that has travelled: what was said before holds.
        if (made_for_.sends && sends.id != 0 && sends_.id != sends.id) {
            throw ProtocolError("this end of a pipe sends " + text_of(sends_) + ", not " +
                                text_of(sends));
        }
        if (made_for_.receives && receives.id != 0 && receives_.id != receives.id) {
            throw ProtocolError("this end of a pipe receives " + text_of(receives_) + ", not " +
                                text_of(receives));
        }
        return;
    }
    sends_ = sends;
    receives_ = receives;
    hello_is_due_ = made_for_.sends && sends.id != 0;
    hello_is_expected_ = made_for_.receives && receives.id != 0;
}

bool FrameTransport::say_hello(Deadline deadline) {
    const std::string_view name =
        std::string_view{sends_.name}.substr(0, FrameHeader::longest_name);
    const std::size_t size = sizeof sends_.id + name.size();
    std::byte* const room = make_room(size, false, deadline);
    if (room == nullptr) return false;
    std::memcpy(room, &sends_.id, sizeof sends_.id);
    std::memcpy(room + sizeof sends_.id, name.data(), name.size());
    if (!send(FrameKind::hello, size, {}, deadline)) return false;
    hello_is_due_ = false;
    return true;
}

void FrameTransport::hear_hello(std::span<const std::byte> words) {
    Schema theirs;
    if (words.size() < sizeof theirs.id || words.size() > FrameHeader::longest_hello)
        throw ProtocolError("a damaged hello: " + std::to_string(words.size()) + " bytes");
    std::memcpy(&theirs.id, words.data(), sizeof theirs.id);
    const auto name = words.subspan(sizeof theirs.id);
    theirs.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    if (!hello_is_expected_) return;  // who reads bytes takes anything
    if (theirs.id != receives_.id) {
        throw ProtocolError("the peer of a pipe sends " + text_of(theirs) + ", but " +
                            text_of(receives_) + " was expected");
    }
    hello_is_expected_ = false;
}

// --- the end ---

void FrameTransport::close() {
    check_home();
    if (!is_open()) throw Closed("this end of a pipe is closed");
    const bool puts = open_.sends && is_put_into();
    const bool gets = open_.receives && reading_.permits() == 0;
    if (!puts && !gets) {
        shutdown();
        return;
    }
    if (open_.sends && !puts && !closes_as_one()) {
        open_.sends = false;
        end_sending();
    }
    if (open_.receives && !gets && !closes_as_one()) {
        open_.receives = false;
        end_receiving();
    }
    throw ConcurrentUse(puts ? "a greenlet puts into this end of a pipe: it stays open for that"
                             : "a greenlet waits at this end of a pipe: it stays open for that");
}

void FrameTransport::close_write() {
    check_home();
    check_sends();
    if (is_put_into())
        throw ConcurrentUse("a greenlet puts into this end of a pipe: it stays open for that");
    if (!open_.receives) {
        shutdown();
        return;
    }
    open_.sends = false;
    end_sending();
}

void FrameTransport::shutdown() noexcept {
    if (!is_open()) return;
    open_ = {false, false};
    disconnect();
    if (home_.is_here()) closed_.set();
}

Parcel FrameTransport::pack() {
    if (!is_open()) throw Closed("this end of a pipe is closed");
    if (!broken_.empty()) throw ProtocolError(broken_);
    if (home_.is_here() && (is_put_into() || reading_.permits() == 0))
        throw ConcurrentUse("a greenlet uses this end of a pipe: it cannot be packed");
    capnp::MallocMessageBuilder message;
    auto end = message.initRoot<parcel::End>();
    end.setLimit(limit_);
    write(end.initMadeFor(), made_for_);
    write(end.initOpen(), open_);
    end.setAtEnd(end_);
    end.setHelloIsDue(hello_is_due_);
    end.setHelloIsExpected(hello_is_expected_);
    write(end.initSends(), sends_);
    write(end.initReceives(), receives_);
    Parcel packed;
    pack_into(end, packed.descriptors);
    open_ = {false, false};
    const kj::Array<capnp::word> words = capnp::messageToFlatArray(message);
    const auto bytes = std::as_bytes(std::span{words.begin(), words.size()});
    packed.bytes.assign(bytes.begin(), bytes.end());
    return packed;
}

void FrameTransport::resume(parcel::End::Reader end) {
    const Directions open = directions_of(end.getOpen());
    open_ = {made_for_.receives && open.receives, made_for_.sends && open.sends};
    end_ = end.getAtEnd();
    hello_is_due_ = end.getHelloIsDue();
    hello_is_expected_ = end.getHelloIsExpected();
    sends_ = schema_of(end.getSends());
    receives_ = schema_of(end.getReceives());
}

namespace {

const detail::CountedPtr<FrameTransport>& there(const detail::CountedPtr<FrameTransport>& end) {
    if (!end) throw Closed("this end of a pipe was moved away");
    return end;
}
// A copy: the stream may go while one waits in it.
detail::CountedPtr<FrameTransport> kept(const detail::CountedPtr<FrameTransport>& end) {
    return there(end);
}

/// As FrameStream::get_for().
bool get_into(Frame& frame, const detail::CountedPtr<FrameTransport>& end, Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = kept(end);
    detail::give_way_at_times(deadline);
    if (transport->next(frame, deadline)) [[likely]]
        return true;
    if (transport->at_end()) throw Closed("the other end of the stream was closed");
    return false;
}

}  // namespace

FrameStream FrameStream::unpack(Parcel packed) {
    try {
        // Copied: what came in a frame need not be aligned.
        auto words = kj::heapArray<capnp::word>((packed.bytes.size() + sizeof(capnp::word) - 1) /
                                                sizeof(capnp::word));
        if (!packed.bytes.empty())
            std::memcpy(words.begin(), packed.bytes.data(), packed.bytes.size());
        capnp::FlatArrayMessageReader reader{words, reader_limits(words.size())};
        const auto end = reader.getRoot<parcel::End>();
        auto transport = end.getWay().isRing() ? unpack_ring(end, packed.descriptors)
                                               : unpack_stream(end, packed.descriptors);
        transport->resume(end);
        return FrameStream{std::move(transport)};
    } catch (const kj::Exception& error) {
        throw ProtocolError(std::string("a damaged parcel of a pipe's end: ") +
                            error.getDescription().cStr());
    }
}

FrameStream::FrameStream(detail::CountedPtr<FrameTransport> transport) noexcept
    : transport_{std::move(transport)} {}
FrameStream::FrameStream(FrameStream&&) noexcept = default;
FrameStream& FrameStream::operator=(FrameStream&& other) noexcept {
    if (this == &other) return *this;
    shutdown();
    transport_ = std::move(other.transport_);
    return *this;
}
FrameStream::~FrameStream() { shutdown(); }

void FrameStream::expect(const Schema& sends, const Schema& receives) {
    there(transport_)->expect(sends, receives);
}
bool FrameStream::flush(Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = kept(transport_);
    return transport->flush(deadline);
}
void FrameStream::close() {
    const detail::CountedPtr<FrameTransport> transport = kept(transport_);
    transport->close();
}
void FrameStream::close_write() {
    const detail::CountedPtr<FrameTransport> transport = kept(transport_);
    transport->close_write();
}
void FrameStream::shutdown() noexcept {
    if (transport_) transport_->shutdown();
}
Parcel FrameStream::pack() && { return there(transport_)->pack(); }
bool FrameStream::is_open() const noexcept { return transport_ && transport_->is_open(); }
bool FrameStream::at_end() const noexcept { return transport_ && transport_->at_end(); }
std::size_t FrameStream::limit() const { return there(transport_)->limit(); }

bool FrameStream::put(std::span<const std::byte> payload, std::span<const int> descriptors,
                      Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = kept(transport_);
    check_count(descriptors);
    detail::give_way_at_times(deadline);
    return transport->put(payload, descriptors, deadline);
}

std::optional<FrameDraft> FrameStream::prepare(std::size_t bytes, Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = kept(transport_);
    detail::give_way_at_times(deadline);
    return transport->draft(bytes, Fill::left_over, deadline);
}

std::optional<FrameDraft> FrameStream::prepare_zeroed(std::size_t bytes, Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = kept(transport_);
    detail::give_way_at_times(deadline);
    return transport->draft(bytes, Fill::zeros, deadline);
}

std::optional<Frame> FrameStream::next(Deadline deadline) {
    const detail::CountedPtr<FrameTransport> transport = kept(transport_);
    detail::give_way_at_times(deadline);
    std::optional<Frame> frame{std::in_place};
    if (!transport->next(*frame, deadline)) frame.reset();
    return frame;
}

Frame FrameStream::get(Deadline deadline) {
    Frame frame;
    if (!get_into(frame, transport_, deadline)) throw Timeout{0};
    return frame;
}

std::optional<Frame> FrameStream::get_for(Deadline limit) {
    std::optional<Frame> frame{std::in_place};
    if (!get_into(*frame, transport_, limit)) frame.reset();
    return frame;
}

}  // namespace green::ipc
