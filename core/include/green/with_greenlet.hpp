#pragma once

#include <concepts>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

#include <green/greenlet.hpp>
#include <green/shield.hpp>

namespace green {

/// Binds a greenlet to a scope: runs the body, then waits for the greenlet's end, and gives what
/// the body gave. Switches.
/// When the body throws, or the wait is interrupted, the greenlet is killed with that very
/// exception and waited for, whatever befalls the caller meanwhile; then the exception goes on.
template <std::invocable Body>
auto with_greenlet(const AnyGreenlet& greenlet, Body&& body) {
    try {
        if constexpr (std::is_void_v<std::invoke_result_t<Body>>) {
            std::invoke(std::forward<Body>(body));
            greenlet.join();
        } else {
            auto value = std::invoke(std::forward<Body>(body));
            greenlet.join();
            return value;
        }
    } catch (...) {
        const Shield shield;
        greenlet.kill(std::current_exception());
        throw;
    }
}

}  // namespace green
