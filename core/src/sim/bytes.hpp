#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <sys/uio.h>

namespace green::sim {

[[nodiscard]] inline std::size_t total_size(std::span<const iovec> parts) noexcept {
    std::size_t size = 0;
    for (const iovec& part : parts) size += part.iov_len;
    return size;
}

/// The first `limit` bytes of the parts.
[[nodiscard]] inline std::string gathered(std::span<const iovec> parts, std::size_t limit) {
    std::string all;
    for (const iovec& part : parts) {
        all.append(static_cast<const char*>(part.iov_base),
                   std::min(part.iov_len, limit - all.size()));
    }
    return all;
}

/// Bytes on their way from one who appends to one who takes.
class ByteQueue {
 public:
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size() - taken_; }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    void append(std::string_view bytes) {
        if (taken_ > bytes_.size() / 2) {
            bytes_.erase(0, taken_);
            taken_ = 0;
        }
        bytes_.append(bytes);
    }
    /// Copies the first bytes, up to `limit`, into the parts and returns how many.
    std::size_t peek(std::span<const iovec> into, std::size_t limit) const noexcept {
        std::size_t copied = 0;
        for (const iovec& part : into) {
            const std::size_t some = std::min({part.iov_len, limit - copied, size() - copied});
            if (some > 0) std::memcpy(part.iov_base, bytes_.data() + taken_ + copied, some);
            copied += some;
        }
        return copied;
    }
    void drop(std::size_t count) noexcept { taken_ += count; }

 private:
    std::string bytes_;
    std::size_t taken_ = 0;  // from the front of bytes_
};

}  // namespace green::sim
