#pragma once
// The stores of queues that are not first in, first out. What a store is: see ring.hpp.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace green::detail {

/// Last in, first out.
template <class T>
class Pile {
 public:
    using Item = T;

    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }
    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    void push(T&& item) { items_.push_back(std::move(item)); }
    [[nodiscard]] T pop(std::size_t) noexcept {
        T item{std::move(items_.back())};
        items_.pop_back();
        return item;
    }
    [[nodiscard]] const T& front(std::size_t) const noexcept { return items_.back(); }
    /// An item's destructor may come back here, and finds it empty.
    void clear() noexcept { const std::vector<T> dropped = std::exchange(items_, {}); }

 private:
    std::vector<T> items_;
};

/// Lowest first; equal ones in the order in which they came. `Compare` must not throw.
template <class T, class Compare>
class Heap {
    static_assert(std::is_nothrow_move_assignable_v<T>,
                  "an item that cannot be moved safely could be lost");

 public:
    using Item = T;

    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
    void push(T&& item) {
        entries_.emplace_back(std::move(item), arrivals_++);
        std::push_heap(entries_.begin(), entries_.end(), later_);
    }
    [[nodiscard]] T pop(std::size_t) noexcept {
        std::pop_heap(entries_.begin(), entries_.end(), later_);
        T item{std::move(entries_.back().item)};
        entries_.pop_back();
        return item;
    }
    [[nodiscard]] const T& front(std::size_t) const noexcept { return entries_.front().item; }
    /// An item's destructor may come back here, and finds it empty.
    void clear() noexcept { const std::vector<Entry> dropped = std::exchange(entries_, {}); }

 private:
    struct Entry {
        Entry(T&& given, std::uint64_t number) noexcept : item{std::move(given)}, arrival{number} {}
        T item;
        std::uint64_t arrival;
    };
    struct Later {
        bool operator()(const Entry& a, const Entry& b) const {
            if (compare(b.item, a.item)) return true;
            return a.arrival > b.arrival && !compare(a.item, b.item);
        }
        [[no_unique_address]] Compare compare{};
    };

    std::vector<Entry> entries_;
    std::uint64_t arrivals_ = 0;
    [[no_unique_address]] Later later_;
};

}  // namespace green::detail
