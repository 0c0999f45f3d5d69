#pragma once
// The calls of a Group that take functions and ranges of any type. Included by <green/group.hpp>.

#include <functional>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include <green/group.hpp>

namespace green {
namespace detail {

/// Kills the call and waits for its end, unless it has ended. That is when its caller unwinds,
/// which nothing interrupts.
struct CallGuard {
    const AnyGreenlet& call;
    ~CallGuard() {
        if (!call.ready()) call.kill();
    }
};

}  // namespace detail

template <class Function, class... Arguments>
requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
auto Group::apply(Function&& function, Arguments&&... arguments)
    -> detail::CallResult<Function, Arguments...> {
    if (contains(current())) {
        return std::invoke(std::decay_t<Function>(std::forward<Function>(function)),
                           std::decay_t<Arguments>(std::forward<Arguments>(arguments))...);
    }
    auto call = launch(slots_.take(), Role::call, std::forward<Function>(function),
                       std::forward<Arguments>(arguments)...);
    const detail::CallGuard guard{call};
    if constexpr (std::is_void_v<detail::CallResult<Function, Arguments...>>) {
        call.get();
    } else {
        return call.take();
    }
}

template <class Callback, class Function, class... Arguments>
requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
auto Group::apply_async_then(Callback&& callback, Function&& function, Arguments&&... arguments) {
    using T = detail::CallResult<Function, Arguments...>;
    return apply_async(
        [](std::decay_t<Callback>&& then, std::decay_t<Function>&& call,
           std::decay_t<Arguments>&&... with) -> T {
            if constexpr (std::is_void_v<T>) {
                std::invoke(std::move(call), std::move(with)...);
                std::invoke(std::move(then));
            } else {
                T value = std::invoke(std::move(call), std::move(with)...);
                std::invoke(std::move(then), std::as_const(value));
                return value;
            }
        },
        std::forward<Callback>(callback), std::forward<Function>(function),
        std::forward<Arguments>(arguments)...);
}

template <class Function, class Range>
requires detail::MapsOver<Function, Range>
auto Group::map(Function function, Range&& range) {
    using T = detail::MapResult<Function, Range>;
    const bool may_lend = has_room(current());
    std::vector<Greenlet<T>> calls;
    Group crew;  // ends them before anything that they refer to goes
    auto at = std::ranges::begin(range);
    const auto end = std::ranges::end(range);
    for (; at != end; ++at) {
        auto element = detail::take_element<Range>(at);
        detail::Slots::Slot slot = slots_.try_take();
        const bool lent = !slot && may_lend;
        if (!slot && !lent) slot = slots_.take();
        calls.push_back(deferred(std::ref(function), std::move(element)));
        crew.enter(calls.back(), {}, Role::member);
        enter(calls.back(), std::move(slot), lent ? Role::guest : Role::call);
        calls.back().start();
        if (lent) calls.back().join();
        crew.raise_failure();
    }
    crew.join_or_raise();
    if constexpr (std::is_void_v<T>) {
        for (const auto& call : calls) call.get();  // one may have been killed
    } else {
        std::vector<T> values;
        values.reserve(calls.size());
        for (auto& call : calls) values.push_back(call.take());
        return values;
    }
}

template <class Function, class Range>
requires detail::MapsOver<Function, Range>
auto Group::map_async(Function&& function, Range&& range) {
    using Input = detail::KeptRange<Range>;
    return launch(
        {}, Role::member,
        [this](std::decay_t<Function>&& call, Input&& input) {
            return map(std::move(call), input.get());
        },
        std::forward<Function>(function), Input{std::forward<Range>(range)});
}

template <class Function, class Range>
auto Group::lazy_map(detail::MapOrder order, Function&& function, Range&& range,
                     std::size_t maxsize) {
    using T = detail::MapResult<Function, Range>;
    using Input = detail::KeptRange<Range>;
    struct Run final : detail::MapFeed<T> {
        Run(detail::MapOrder results, Function&& call)
            : detail::MapFeed<T>{results}, function(std::forward<Function>(call)) {}
        std::decay_t<Function> function;
    };
    if (maxsize == 0) throw UsageError("a lazy map needs room for at least one element");
    auto run = std::make_unique<Run>(order, std::forward<Function>(function));
    // The input goes with the feeder, as soon as it has been read.
    auto feeder =
        deferred([this, results = run.get(), maxsize](
                     Input&& input) { feed<T>(*results, results->function, input.get(), maxsize); },
                 Input{std::forward<Range>(range)});
    feeder.set_name("feeder of a lazy map");
    run->set_feeder(feeder);
    enter(feeder, {}, Role::feeder);
    feeder.start();
    return ResultStream<T>{std::move(run)};
}

template <class T, class Function, class Range>
void Group::feed(detail::MapFeed<T>& results, Function& function, Range&& range,
                 std::size_t maxsize) {
    constexpr std::size_t stretch = 64;  // calls begun without giving way, where room never ends
    std::size_t begun = 0;
    results.wait_for_room(lazy_bound(maxsize));
    auto at = std::ranges::begin(range);
    const auto end = std::ranges::end(range);
    while (at != end) {
        auto element = detail::take_element<Range>(at);
        detail::Slots::Slot slot = slots_.take();
        auto call = deferred(std::ref(function), std::move(element));
        auto place = results.place_for(call);
        enter(call, std::move(slot), Role::call);
        results.append(std::move(place));
        call.start();
        if (++begun % stretch == 0) yield();
        results.wait_for_room(lazy_bound(maxsize));
        ++at;
    }
}

}  // namespace green
