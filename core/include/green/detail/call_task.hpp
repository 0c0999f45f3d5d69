#pragma once
// A task that calls a function with arguments of its own and keeps the value.

#include <cstddef>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <green/detail/local.hpp>
#include <green/detail/task.hpp>

namespace green::detail {

template <class T>
struct ValueTask : Task {
    using Task::Task;
    std::optional<T> value;
};
template <>
struct ValueTask<void> : Task {
    using Task::Task;
};

template <class T, class Function, class... Arguments>
struct CallTask final : ValueTask<T> {
    template <class F, class... A>
    explicit CallTask(F&& function, A&&... arguments)
        : ValueTask<T>{types},
          call{std::in_place, std::forward<F>(function), std::forward<A>(arguments)...} {}

    void run() override {
        auto invoke = [](Function& function, Arguments&... arguments) -> decltype(auto) {
            return std::invoke(std::move(function), std::move(arguments)...);
        };
        if constexpr (std::is_void_v<T>) {
            std::apply(invoke, *call);
        } else {
            this->value.emplace(std::apply(invoke, *call));
        }
        // The newest first, as at the end of a block, and none of it must be interrupted.
        ++this->shields;
        free_locals(*this);
        call.reset();
    }
    void drop_callable() noexcept override { call.reset(); }
    void destroy() noexcept override {
        this->~CallTask();
        free_block(this, sizeof(*this));
    }

    static inline const CallableTypes types{&typeid(Function), &typeid(void(Arguments...))};

    std::optional<std::tuple<Function, Arguments...>> call;
};

template <class Function, class... Arguments>
using CallResult =
    std::decay_t<std::invoke_result_t<std::decay_t<Function>, std::decay_t<Arguments>...>>;

}  // namespace green::detail
