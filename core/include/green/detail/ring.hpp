#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace green::detail {

/// What queues keep their items in, first in, first out: a buffer that doubles when it is full and
/// keeps the size of its fullest time.
///
/// A store has push(), pop(), front(), size(), empty() and clear(). `promised` says how many of its
/// items belong to getters that have been woken and did not run yet. A store whose order is fixed
/// at the put passes them over; the others give what comes first at the moment.
template <class T>
class Ring {
 public:
    using Item = T;

    Ring() noexcept = default;
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring() {
        clear();
        release();
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    /// Throws std::bad_alloc; the item was not moved then.
    void push(T&& item) {
        if (size_ == capacity_) [[unlikely]]
            grow();
        std::construct_at(at(size_), std::move(item));
        ++size_;
    }
    /// The item must be there.
    [[nodiscard]] T pop(std::size_t promised) noexcept {
        T* slot = at(promised);
        T item{std::move(*slot)};
        std::destroy_at(slot);
        if (promised > 0) [[unlikely]]
            close_gap(promised);
        head_ = (head_ + 1) & (capacity_ - 1);
        --size_;
        return item;
    }
    [[nodiscard]] const T& front(std::size_t promised) const noexcept { return *at(promised); }
    void clear() noexcept {
        while (!empty()) (void)pop(0);
    }

 private:
    static_assert(std::is_nothrow_move_constructible_v<T>);
    static constexpr std::size_t first_capacity = 8;  // a power of two, as all that follow

    [[nodiscard]] T* at(std::size_t index) const noexcept {
        return slots_ + ((head_ + index) & (capacity_ - 1));
    }
    static void relocate(T* from, T* to) noexcept {
        std::construct_at(to, std::move(*from));
        std::destroy_at(from);
    }
    [[gnu::noinline]] void close_gap(std::size_t gap) noexcept {
        for (; gap > 0; --gap) relocate(at(gap - 1), at(gap));
    }
    [[gnu::noinline]] void grow() {
        const std::size_t capacity = capacity_ == 0 ? first_capacity : capacity_ * 2;
        T* slots = std::allocator<T>{}.allocate(capacity);
        for (std::size_t i = 0; i < size_; ++i) relocate(at(i), slots + i);
        release();
        slots_ = slots;
        capacity_ = capacity;
        head_ = 0;
    }

    void release() noexcept {
        if (slots_ != nullptr) std::allocator<T>{}.deallocate(slots_, capacity_);
    }

    T* slots_ = nullptr;
    std::size_t capacity_ = 0;
    std::size_t head_ = 0;
    std::size_t size_ = 0;
};

}  // namespace green::detail
