#pragma once
// Inputs and outputs of lazy maps.

#include <chrono>
#include <cstddef>
#include <functional>
#include <iterator>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include <green/errors.hpp>
#include <green/greenlet.hpp>
#include <green/queue.hpp>
#include <green/result_stream.hpp>

namespace tests {

inline int after(int ms) {
    green::sleep(std::chrono::milliseconds(ms));
    return ms;
}

template <class Stream>
auto all_of(Stream&& stream) {
    std::vector<typename std::remove_cvref_t<Stream>::Value> values;
    for (auto&& value : stream) values.push_back(std::move(value));
    return values;
}

/// The items of a queue until it is closed.
template <class T>
struct Items {
    struct Iterator {
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        T& operator*() const { return *items->item; }
        Iterator& operator++() {
            try {
                items->item.emplace(items->queue->get());
            } catch (const green::Closed&) {
                items->item.reset();
            }
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return !items->item; }
        Items* items;
    };
    Iterator begin() {
        Iterator first{this};
        return ++first;
    }
    std::default_sentinel_t end() const { return {}; }

    green::Queue<T>* queue;
    std::optional<T> item = {};
};

/// 0, 1, 2, ... and at one of its steps something else happens.
struct Steps {
    enum Step { at_begin, at_compare, at_read, at_next };

    struct Iterator {
        using value_type = int;
        using difference_type = std::ptrdiff_t;
        int operator*() const {
            steps->take(at_read, at);
            return at;
        }
        Iterator& operator++() {
            ++at;
            steps->take(at_next, at);
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const {
            steps->take(at_compare, at);
            return at >= steps->count;
        }
        const Steps* steps;
        int at = 0;
    };
    Iterator begin() const {
        take(at_begin, 0);
        return {this};
    }
    std::default_sentinel_t end() const { return {}; }
    void take(Step step, int at) const {
        if (happens) happens(step, at);
    }

    int count = 0;
    std::function<void(Step, int)> happens = {};
};
static_assert(std::ranges::input_range<Steps>);
static_assert(std::ranges::input_range<Items<int>>);
static_assert(std::ranges::input_range<green::ResultStream<int>>);

}  // namespace tests
