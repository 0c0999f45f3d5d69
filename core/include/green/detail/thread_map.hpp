#pragma once
// The maps of a ThreadPool: those of a group of greenlets, each of which waits for a thread.
// Included by <green/thread_pool.hpp>.

#include <functional>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include <green/pool.hpp>
#include <green/thread_pool.hpp>

namespace green {

template <class Element, class Function>
auto ThreadPool::in_thread(Function&& function) {
    // Shared, because a call that was begun may outlive the map.
    using Shared = std::decay_t<Function>;
    return [crew = crew_, shared = std::make_shared<const Shared>(
                              std::forward<Function>(function))](Element element) {
        if constexpr (std::invocable<const Shared&, Element, std::stop_token>) {
            return apply_in(crew,
                            [shared, element = std::move(element)](std::stop_token stop) mutable {
                                return std::invoke(*shared, std::move(element), std::move(stop));
                            });
        } else {
            return apply_in(crew, [shared, element = std::move(element)]() mutable {
                return std::invoke(*shared, std::move(element));
            });
        }
    };
}

template <class Function, class Range>
requires detail::ThreadMapsOver<Function, Range>
auto ThreadPool::map(Function&& function, Range&& range) {
    using Element = std::ranges::range_value_t<Range>;
    auto call = in_thread<Element>(std::forward<Function>(function));
    using T = std::invoke_result_t<decltype(call)&, Element>;
    if (job_here(*crew_) == nullptr) {
        Pool waiting{2 * max_threads()};  // each thread finds its next call waiting
        return waiting.map(std::move(call), std::forward<Range>(range));
    }
    auto at = std::ranges::begin(range);
    const auto end = std::ranges::end(range);
    if constexpr (std::is_void_v<T>) {
        for (; at != end; ++at) call(detail::take_element<Range>(at));
    } else {
        std::vector<T> values;
        for (; at != end; ++at) values.push_back(call(detail::take_element<Range>(at)));
        return values;
    }
}

template <class Function, class Range>
auto ThreadPool::lazy_map(detail::MapOrder order, Function&& function, Range&& range,
                          std::size_t maxsize) {
    using Element = std::ranges::range_value_t<Range>;
    const std::size_t most = maxsize == automatic ? 2 * max_threads() : maxsize;
    // Goes with the stream, which keeps its function until all calls have ended.
    auto waiting = std::make_shared<Group>();
    auto call = [waiting, in_thread = in_thread<Element>(std::forward<Function>(function))](
                    Element element) { return in_thread(std::move(element)); };
    return order == detail::MapOrder::input
               ? waiting->imap(std::move(call), std::forward<Range>(range), most)
               : waiting->imap_unordered(std::move(call), std::forward<Range>(range), most);
}

}  // namespace green
