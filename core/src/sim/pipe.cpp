#include "sim/pipe.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <poll.h>

#include "sim/bytes.hpp"
#include "sim/kernel.hpp"

namespace green::sim {
namespace {

constexpr std::size_t page_size = 4096;

/// What both ends share: a number of pages, as in the kernel. A write that fits into the last page
/// is added there, others take new ones, and a page is free again when all of it was read. So a
/// write of up to PIPE_BUF bytes is there in one piece or not at all. Nothing is left to chance but
/// the number of pages: POSIX promises the rest.
class Buffer {
 public:
    explicit Buffer(std::size_t most_pages) noexcept : most_pages_{most_pages} {}

    [[nodiscard]] bool empty() const noexcept { return pages_.empty(); }
    [[nodiscard]] bool full() const noexcept { return pages_.size() == most_pages_; }

    /// Returns how many bytes it took.
    std::size_t append(std::span<const iovec> from) {
        const std::size_t size = total_size(from);
        const std::size_t rest = size % page_size;
        std::size_t taken = 0;
        if (rest > 0 && !empty() && pages_.back().end + rest <= page_size) {
            pages_.back().end += rest;
            taken = rest;
        }
        for (; taken < size && !full(); taken += pages_.back().end) {
            pages_.push_back({0, std::min(page_size, size - taken)});
        }
        bytes_.append(gathered(from, taken));
        return taken;
    }
    std::size_t take(std::span<const iovec> into) noexcept {
        const std::size_t taken = bytes_.peek(into, bytes_.size());
        bytes_.drop(taken);
        for (std::size_t left = taken; left > 0;) {
            Page& page = pages_.front();
            const std::size_t some = std::min(left, page.end - page.begin);
            page.begin += some;
            left -= some;
            if (page.begin == page.end) pages_.pop_front();
        }
        return taken;
    }

    File* reader = nullptr;
    File* writer = nullptr;

 private:
    struct Page {
        std::size_t begin, end;  // what is left of it
    };

    std::size_t most_pages_;
    std::deque<Page> pages_;
    ByteQueue bytes_;
};

class PipeEnd : public File {
 public:
    PipeEnd(Kernel& kernel, std::shared_ptr<Buffer> buffer)
        : File{kernel}, buffer_{std::move(buffer)} {}
    [[nodiscard]] mode_t type() const noexcept override { return S_IFIFO; }

 protected:
    std::shared_ptr<Buffer> buffer_;
};

class PipeReader final : public PipeEnd {
 public:
    using PipeEnd::PipeEnd;

    sys::Outcome read(std::span<const iovec> into) override {
        if (buffer_->empty()) return buffer_->writer == nullptr ? done() : failed(EAGAIN);
        const bool was_full = buffer_->full();
        const std::size_t got = buffer_->take(into);
        if (was_full && !buffer_->full() && buffer_->writer != nullptr) {
            buffer_->writer->changed();
        }
        return done(got);
    }
    sys::Outcome write(std::span<const iovec>) override { return failed(EBADF); }
    [[nodiscard]] std::uint32_t events() override {
        return (buffer_->empty() ? 0 : POLLIN) | (buffer_->writer == nullptr ? POLLHUP : 0);
    }
    void closed() override {
        buffer_->reader = nullptr;
        if (buffer_->writer != nullptr) buffer_->writer->changed();
    }
};

class PipeWriter final : public PipeEnd {
 public:
    using PipeEnd::PipeEnd;

    sys::Outcome read(std::span<const iovec>) override { return failed(EBADF); }
    sys::Outcome write(std::span<const iovec> from) override {
        if (total_size(from) == 0) return done();
        if (buffer_->reader == nullptr) return failed(EPIPE);
        const std::size_t moved = buffer_->append(from);
        buffer_->reader->changed();  // also when nothing was: so the kernel does
        return moved == 0 ? failed(EAGAIN) : done(moved);
    }
    [[nodiscard]] std::uint32_t events() override {
        return (buffer_->full() ? 0 : POLLOUT) | (buffer_->reader == nullptr ? POLLERR : 0);
    }
    void closed() override {
        buffer_->writer = nullptr;
        if (buffer_->reader != nullptr) buffer_->reader->changed();
    }
};

}  // namespace

std::pair<std::shared_ptr<File>, std::shared_ptr<File>> make_pipe(Kernel& kernel) {
    const auto buffer =
        std::make_shared<Buffer>(std::max<std::size_t>(1, kernel.buffer_size() / page_size));
    auto reader = std::make_shared<PipeReader>(kernel, buffer);
    auto writer = std::make_shared<PipeWriter>(kernel, buffer);
    buffer->reader = reader.get();
    buffer->writer = writer.get();
    return {std::move(reader), std::move(writer)};
}

// --- eventfd ---

sys::Outcome EventCounter::read(std::span<const iovec> into) {
    std::uint64_t taken = 0;
    if (into.empty() || into[0].iov_len < sizeof taken) return failed(EINVAL);
    if (value_ == 0) return failed(EAGAIN);
    taken = one_by_one_ ? 1 : value_;
    value_ -= taken;
    std::memcpy(into[0].iov_base, &taken, sizeof taken);
    changed();
    return done(sizeof taken);
}

sys::Outcome EventCounter::write(std::span<const iovec> from) {
    std::uint64_t added = 0;
    if (from.empty() || from[0].iov_len < sizeof added) return failed(EINVAL);
    std::memcpy(&added, from[0].iov_base, sizeof added);
    if (added > most) return failed(EINVAL);
    if (added > most - value_) return failed(EAGAIN);
    value_ += added;
    changed();
    return done(sizeof added);
}

std::uint32_t EventCounter::events() {
    return (value_ > 0 ? POLLIN : 0) | (value_ < most ? POLLOUT : 0);
}

}  // namespace green::sim
