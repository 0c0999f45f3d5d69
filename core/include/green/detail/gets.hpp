#pragma once
// The ways to get an item, the same for everything that gives items.

#include <iterator>
#include <optional>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/errors.hpp>

namespace green::detail {

/// `for (auto item : source)`: until next() gives nothing.
template <class Source, class Item>
class ItemIterator {
 public:
    explicit ItemIterator(Source& source) : source_{&source} { ++*this; }
    ItemIterator& operator++() {
        item_.reset();  // gone before the next one is waited for
        if (std::optional<Item> item = source_->next()) item_.emplace(std::move(*item));
        return *this;
    }
    Item&& operator*() noexcept { return std::move(*item_); }
    bool operator!=(std::default_sentinel_t) const noexcept { return item_.has_value(); }

 private:
    Source* source_;
    std::optional<Item> item_;
};

/// `Source` derives from this. It has a Getter, has_item(), take_item() and over().
template <class Source, class T>
class Gets {
 public:
    /// Takes the next item, waiting until there is one. Switches, unless there is.
    /// Throws Closed when it is closed and empty, a Timeout of its own once `deadline` has passed.
    T get(Deadline deadline = Deadline::never()) {
        return self().has_item() ? self().take_item() : get_later(deadline);
    }
    /// The next item if one comes before `limit` has passed. Switches, unless there is one. Throws
    /// Closed.
    std::optional<T> get_for(Deadline limit) {
        if (self().has_item()) return self().take_item();
        typename Source::Getter getter{self()};
        if (!park(getter, limit)) return std::nullopt;
        return getter.take();
    }
    /// The next item if there is one. Never switches; safe in hub callbacks. Throws Closed.
    std::optional<T> try_get() {
        if (self().has_item()) return self().take_item();
        if (self().over()) throw Closed("get from a closed queue");
        return std::nullopt;
    }
    /// The next item; nothing once `deadline` has passed, or it is closed and empty. Switches,
    /// unless there is one.
    std::optional<T> next(Deadline deadline = Deadline::never()) {
        if (self().has_item()) return self().take_item();
        typename Source::Getter getter{self()};
        if (!park(getter, deadline) || getter.over()) return std::nullopt;
        return getter.take();
    }

    /// `for (auto item : queue)`: until it is closed and empty. Switches at each step, unless there
    /// is an item.
    [[nodiscard]] auto begin() { return ItemIterator<Source, T>{self()}; }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 protected:
    Gets() = default;
    ~Gets() = default;

 private:
    [[gnu::noinline]] T get_later(Deadline deadline) {
        typename Source::Getter getter{self()};
        if (!park(getter, deadline)) throw Timeout{0};
        return getter.take();
    }
    [[nodiscard]] Source& self() noexcept { return static_cast<Source&>(*this); }
};

}  // namespace green::detail
