#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include <green/deadline.hpp>
#include <green/detail/map_feed.hpp>

namespace green {

/// The results of a lazy map, read one by one: by range-for, which ends at the first error, or by
/// next(), which goes on behind one. Calls without a value give std::monostate.
///
/// What a call threw is thrown in its place; a killed one gives GreenletExit. What the input threw
/// is thrown once, behind the results of all elements before. Destroying the stream kills the calls
/// that still run and waits for them: whatever they refer to may go afterwards.
template <class T>
class ResultStream {
    using Feed = detail::MapFeed<T>;

 public:
    using Value = typename Feed::Value;

    class Iterator {
     public:
        using iterator_concept = std::input_iterator_tag;
        using value_type = Value;
        using difference_type = std::ptrdiff_t;

        /// Good until the next step; may be moved from.
        [[nodiscard]] Value& operator*() const noexcept { return *feed_->current; }
        /// Waits for the next result. Switches, unless it is there.
        Iterator& operator++() {
            feed_->current.reset();
            feed_->current = feed_->next(Deadline::never());
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(const Iterator& at, std::default_sentinel_t) noexcept {
            return !at.feed_->current;
        }

     private:
        friend class ResultStream;
        explicit Iterator(Feed& feed) noexcept : feed_{&feed} {}
        Feed* feed_;
    };

    /// Takes over a feed that has its feeder.
    explicit ResultStream(std::unique_ptr<Feed> feed) noexcept : feed_{feed.release()} {}

    /// The next result; nothing once `deadline` has passed, or behind the last one: at_end() tells
    /// which. Switches, unless it is there. Throws what the call threw.
    [[nodiscard]] std::optional<Value> next(Deadline deadline = Deadline::never()) {
        return feed_->next(deadline);
    }
    /// next() has come to the end, as has a loop.
    [[nodiscard]] bool at_end() const noexcept { return feed_->end_told(); }

    /// Waits for the next result, which the iterator stands on. Switches, unless it is there.
    [[nodiscard]] Iterator begin() {
        Iterator first{*feed_};
        ++first;
        return first;
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    /// Waits until next() would give a result, an error or the end, and takes nothing.
    class Ready final : public Feed::Look {
     public:
        explicit Ready(ResultStream& stream) noexcept : Feed::Look{*stream.feed_} {}
    };

 private:
    struct Stop {
        void operator()(Feed* feed) const noexcept {
            feed->stop();
            delete feed;
        }
    };
    std::unique_ptr<Feed, Stop> feed_;
};

}  // namespace green
