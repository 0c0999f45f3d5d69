#include "frames/outbox.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <green/ipc/frame_stream.hpp>

#include "frames/descriptors.hpp"

namespace green::ipc {

Outbox Outbox::take_all() {
    Outbox all;
    all.need(size());
    if (!empty()) std::memcpy(all.memory_.get(), memory_.get() + begin_, size());
    all.end_ = size();
    all.count_ = count_;
    all.attached_ = std::move(attached_);
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
    if (!descriptors.empty()) {
        Attached attached{count_ + size(), {}};
        attached.descriptors.reserve(descriptors.size());
        for (const int fd : descriptors) {
            attached.descriptors.emplace_back(
                static_cast<int>(sys::must(sys::dup(fd), "dup of a frame's descriptor")));
        }
        attached_.push_back(std::move(attached));
    }
    header.write(std::span<std::byte, FrameHeader::size>{memory_.get() + end_, FrameHeader::size});
    last_ = end_;
    end_ += FrameHeader::size + header.bytes;
}

void Outbox::add_rest(std::span<const std::byte> first, std::span<const std::byte> second) {
    need(first.size() + second.size());
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
    if (!attached_.empty() && attached_.back().at == at) attached_.pop_back();
    end_ = last_;
    return true;
}

sys::Outcome Outbox::send_some(int socket) noexcept {
    int numbers[FrameStream::most_descriptors];
    std::size_t count = 0;
    std::size_t most = size();
    auto next = attached_.begin();
    if (next != attached_.end() && next->at == count_) {
        for (const Fd& fd : next->descriptors) numbers[count++] = fd.number();
        ++next;
    }
    if (next != attached_.end()) most = static_cast<std::size_t>(next->at - count_);
    const sys::Outcome sent =
        send_with(socket, std::span<const std::byte>{memory_.get() + begin_, most},
                  std::span<const int>{numbers, count});
    if (!sent.ok()) return sent;
    if (count > 0 && sent.value > 0) attached_.pop_front();
    begin_ += static_cast<std::size_t>(sent.value);
    count_ += static_cast<std::uint64_t>(sent.value);
    return sent;
}

void Outbox::drop() noexcept {
    count_ += size();
    begin_ = end_ = 0;
    attached_.clear();
}

}  // namespace green::ipc
