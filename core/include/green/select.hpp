#pragma once
// Waiting for the first of several operations, of which exactly one is done.

#include <array>
#include <concepts>
#include <cstddef>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <green/deadline.hpp>
#include <green/detail/park.hpp>
#include <green/operation.hpp>

namespace green {

namespace detail {

/// An operation that select() can do: node() fires when it is done, take() gives its value, once.
/// One that can lose again what it was given has settled(), which is asked before: false says that
/// it must wait anew.
template <class Op>
concept Operation = requires(Op& operation) {
    { operation.node() } -> std::convertible_to<WaitNode&>;
    operation.take();
};

/// Any waitable object is an operation that takes nothing.
template <class W>
class ReadyOperation {
 public:
    explicit ReadyOperation(W& object) : ready_{object} {}
    [[nodiscard]] WaitNode& node() noexcept { return ready_; }
    void take() noexcept {}

 private:
    typename W::Ready ready_;
};

/// What select() holds of an argument: an operation as it is, a waitable object wrapped.
template <class Argument>
using Held = std::conditional_t<Operation<std::remove_reference_t<Argument>>,
                                std::remove_reference_t<Argument>&,
                                ReadyOperation<std::remove_reference_t<Argument>>>;

template <class Op>
using Value = decltype(std::declval<Op&>().take());
/// A variant has no place for void.
template <class Op>
using Taken =
    std::conditional_t<std::is_void_v<Value<Op>>, std::monostate, std::remove_cvref_t<Value<Op>>>;

template <class Argument>
concept Selectable =
    Operation<std::remove_reference_t<Argument>> || HasReady<std::remove_reference_t<Argument>>;

}  // namespace detail

/// Waits until one of the operations can be done and does that one: recv(queue), send(queue, item),
/// acquire(semaphore); or until a waitable object is ready: an event, a greenlet, after(5s),
/// readable(fd), ... The others leave no trace: no item is taken, none is put, no permit is held.
/// Of several that can be done at once the first in order of the arguments is. Switches, unless one
/// can; after(0s), or any moment that has passed, as the last argument makes it a try.
///
///     auto got = green::select(green::recv(jobs), stopped, green::after(5s));
///     if (got.index() == 0) work(std::get<0>(got));
///
/// Returns a variant whose index says which, with its value (std::monostate where it has none).
/// Throws what the operations throw: Closed, std::system_error.
template <detail::Selectable... Operations>
auto select(Operations&&... operations) {
    using Result = std::variant<detail::Taken<detail::Held<Operations>>...>;
    std::tuple<detail::Held<Operations>...> held{operations...};
    std::optional<Result> result;
    const auto settled = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) {
        auto& operation = std::get<I>(held);
        if constexpr (requires { operation.settled(); }) {
            return !operation.node().fired() || operation.settled();
        } else {
            return true;
        }
    };
    const auto take = [&]<std::size_t I>(std::integral_constant<std::size_t, I>) {
        auto& operation = std::get<I>(held);
        if (!operation.node().fired()) return;
        if constexpr (std::is_void_v<decltype(operation.take())>) {
            operation.take();
            result.emplace(std::in_place_index<I>);
        } else {
            result.emplace(std::in_place_index<I>, operation.take());
        }
    };
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        const std::array<detail::WaitNode*, sizeof...(I)> nodes{&std::get<I>(held).node()...};
        do {
            detail::park(nodes, Deadline::never());
        } while (!(settled(std::integral_constant<std::size_t, I>{}) && ...));
        (take(std::integral_constant<std::size_t, I>{}), ...);
    }
    (std::index_sequence_for<Operations...>{});
    return std::move(*result);
}

}  // namespace green
