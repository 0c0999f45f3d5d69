#include "frames/outbox.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <green/ipc/frame_stream.hpp>

#include "frames/descriptors.hpp"

namespace green::ipc {

Outbox Outbox::take_all() {
    Outbox all{apart_};
    all.need(size());
    if (!empty()) std::memcpy(all.memory_.get(), memory_.get() + begin_, size());
    all.end_ = size();
    all.count_ = count_;
    all.marks_ = std::move(marks_);
    drop();
    return all;
}

void Outbox::need(std::size_t bytes) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (capacity_ - end_ >= bytes) return;
    const std::size_t kept = size();
    if (capacity_ - kept >= bytes && begin_ >= kept) {
        std::memcpy(memory_.get(), memory_.get() + begin_, kept);
    } else {
        const std::size_t capacity = std::max(2 * capacity_, kept + bytes);
        std::unique_ptr<std::byte[]> larger{new std::byte[capacity]};
        if (kept > 0) std::memcpy(larger.get(), memory_.get() + begin_, kept);
        memory_ = std::move(larger);
        capacity_ = capacity;
    }
    begin_ = 0;
    end_ = kept;
}

std::byte* Outbox::make_room(std::size_t payload) {
    need(FrameHeader::size + payload);
    return memory_.get() + end_ + FrameHeader::size;
}

void Outbox::add(const FrameHeader& header, std::span<const int> descriptors) {
    const bool is_apart = apart_ && header.bytes >= FrameHeader::large;
    if (is_apart || !descriptors.empty()) add_mark(descriptors, is_apart ? header.bytes : 0);
    add(header);
    end_ += header.bytes;
}

void Outbox::add_header(const FrameHeader& header, std::span<const int> descriptors) {
    need(FrameHeader::size);
    if (!descriptors.empty()) add_mark(descriptors, 0);
    add(header);
}

void Outbox::add(const FrameHeader& header) noexcept {
    header.write(std::span<std::byte, FrameHeader::size>{memory_.get() + end_, FrameHeader::size});
    last_ = end_;
    end_ += FrameHeader::size;
}

void Outbox::add_mark(std::span<const int> descriptors, std::size_t apart) {
    const std::uint64_t from = end_count() + FrameHeader::size;
    Mark mark{end_count(), {}, from, from + apart};
    mark.descriptors.reserve(descriptors.size());
    for (const int fd : descriptors) {
        mark.descriptors.emplace_back(
            static_cast<int>(sys::must(sys::dup(fd), "dup of a frame's descriptor")));
    }
    marks_.push_back(std::move(mark));
}

void Outbox::add_rest(std::span<const std::byte> first, std::span<const std::byte> second) {
    need(first.size() + second.size());
    if (apart_ && !second.empty()) {
        const std::uint64_t from = end_count() + first.size();
        marks_.push_back({end_count(), {}, from, from + second.size()});
    }
    last_ = end_;
    for (const auto part : {first, second}) {
        if (part.empty()) continue;
        std::memcpy(memory_.get() + end_, part.data(), part.size());
        end_ += part.size();
    }
}

bool Outbox::take_back_last() noexcept {
    if (last_ < begin_ || empty()) return false;
    const std::uint64_t at = count_ + (last_ - begin_);
    if (at == ahead_of_) return false;
    if (!marks_.empty() && marks_.back().at == at) marks_.pop_back();
    end_ = last_;
    return true;
}

Outbox::Step Outbox::next() const noexcept {
    if (marks_.empty()) return {!apart_, false, size()};
    const Mark& mark = marks_.front();
    const auto until = [this](std::uint64_t at) { return static_cast<std::size_t>(at - count_); };
    if (!mark.descriptors.empty()) {
        if (count_ < mark.at) return {!apart_, false, until(mark.at)};
        if (apart_) return {true, true, 0};
        return {true, true, marks_.size() == 1 ? size() : until(marks_[1].at)};
    }
    if (count_ < mark.apart_from) return {false, false, until(mark.apart_from)};
    return {true, false, until(mark.apart_to)};
}

Fd& Outbox::next_over(Link& link) const noexcept {
    return next().over_socket ? link.socket : link.out;
}

sys::Outcome Outbox::send_some(Link& link) noexcept {
    if (empty()) return {};
    const Step step = next();
    if (step.passes_descriptors) return pass_descriptors(link.socket.number(), step.bytes);
    const std::byte* const from = memory_.get() + begin_;
    const sys::Outcome sent = step.over_socket
                                  ? sys::send(link.socket.number(), from, step.bytes)
                                  : sys::write_quietly(link.out.number(), from, step.bytes);
    if (sent.ok()) went(sent.as_size());
    if (sent.would_block() && !step.over_socket) {
        // A full pipe does not tell that its reader has left, where somebody has a copy of his end.
        const sys::Outcome asked = sys::send(link.socket.number(), nullptr, 0);
        if (asked.error == EPIPE) return asked;
    }
    return sent;
}

sys::Outcome Outbox::pass_descriptors(int socket, std::size_t bytes) noexcept {
    Mark& mark = marks_.front();
    int numbers[FrameStream::most_descriptors];
    std::size_t count = 0;
    for (const Fd& fd : mark.descriptors) numbers[count++] = fd.number();
    constexpr std::byte token{};
    const std::span<const std::byte> beside =
        apart_ ? std::span{&token, 1} : std::span<const std::byte>{memory_.get() + begin_, bytes};
    const sys::Outcome sent = send_with(socket, beside, std::span<const int>{numbers, count});
    if (!sent.ok() || sent.value == 0) return sent;
    if (apart_) ahead_of_ = mark.at;
    mark.descriptors.clear();
    if (mark.apart_from == mark.apart_to) marks_.pop_front();
    if (!apart_) went(sent.as_size());
    return sent;
}

void Outbox::went(std::size_t bytes) noexcept {
    begin_ += bytes;
    count_ += bytes;
    if (!marks_.empty() && marks_.front().descriptors.empty() && count_ == marks_.front().apart_to)
        marks_.pop_front();
}

void Outbox::drop() noexcept {
    count_ += size();
    begin_ = end_ = 0;
    marks_.clear();
}

}  // namespace green::ipc
