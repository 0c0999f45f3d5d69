#pragma once
// What the fuzz targets have in common. A target is a function that libFuzzer, or replay.cpp, calls
// with bytes of its choice; what must not happen ends the process.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

/// Ends the process unless it holds; for what no sanitizer sees.
inline void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "fuzz: %s\n", what);
    std::abort();
}

/// Reads every byte, so that a sanitizer, or the kernel, sees those that nobody has.
void read_all(std::span<const std::byte> bytes) noexcept;

/// The input, taken from its front. What it lacks is zero.
class Input {
 public:
    Input(const std::uint8_t* data, std::size_t size) noexcept
        : rest_{reinterpret_cast<const std::byte*>(data), size} {}

    [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
    [[nodiscard]] std::span<const std::byte> bytes(std::size_t count) noexcept {
        const auto taken = rest_.first(std::min(count, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }
    template <class T>
    [[nodiscard]] T number() noexcept {
        T value{};
        const auto from = bytes(sizeof value);
        if (!from.empty()) std::memcpy(&value, from.data(), from.size());
        return value;
    }
    /// 0 to bound - 1.
    [[nodiscard]] std::size_t below(std::size_t bound) noexcept {
        return number<std::uint8_t>() % bound;
    }

 private:
    std::span<const std::byte> rest_;
};

/// While it lives, an allocation of more than that many bytes ends the process. Only where a
/// sanitizer tells of allocations.
class LargestAllocation {
 public:
    explicit LargestAllocation(std::size_t bytes) noexcept {
        static const bool is_watched = watch();
        limit_ = is_watched ? bytes : limit_;
    }
    LargestAllocation(const LargestAllocation&) = delete;
    LargestAllocation& operator=(const LargestAllocation&) = delete;
    ~LargestAllocation() { limit_ = SIZE_MAX; }

 private:
    static bool watch() noexcept;
    static inline std::size_t limit_ = SIZE_MAX;
};

/// Ends the process if a descriptor stays open that was not when it began.
class NoDescriptorLeft {
 public:
    NoDescriptorLeft() noexcept : first_free_{first_free()} {}
    NoDescriptorLeft(const NoDescriptorLeft&) = delete;
    NoDescriptorLeft& operator=(const NoDescriptorLeft&) = delete;
    ~NoDescriptorLeft() { expect(first_free() == first_free_, "a descriptor was left open"); }

 private:
    static int first_free() noexcept;
    int first_free_;
};

}  // namespace fuzz
