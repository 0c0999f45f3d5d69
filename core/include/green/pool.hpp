#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include <green/deadline.hpp>
#include <green/group.hpp>

namespace green {

/// A group with a limit: what would put more members in waits until one has ended, first come,
/// first served. Room is free before those who join the ended member are woken.
class Pool : public Group {
 public:
    static constexpr std::size_t unlimited = detail::Slots::unlimited;

    /// With a limit of 0 it is always full.
    explicit Pool(std::size_t limit = unlimited) noexcept : Group{limit} {}

    /// As spawn(), when there is room now. Never switches; nothing was taken from the arguments
    /// when it returns nothing.
    template <class Function, class... Arguments>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
    [[nodiscard, gnu::always_inline]] auto try_spawn(Function&& function,
                                                     Arguments&&... arguments) {
        return launch_in(slots_.try_take(), std::forward<Function>(function),
                         std::forward<Arguments>(arguments)...);
    }
    /// As spawn(), when there is room before `deadline` passes. Switches, unless there is.
    template <class Function, class... Arguments>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Arguments>...>
    [[nodiscard, gnu::always_inline]] auto spawn_for(Deadline deadline, Function&& function,
                                                     Arguments&&... arguments) {
        return launch_in(slots_.take(deadline), std::forward<Function>(function),
                         std::forward<Arguments>(arguments)...);
    }

    [[nodiscard]] std::size_t limit() const noexcept { return slots_.limit(); }
    /// Never switches. Members above a lower limit run on; there is room again when enough of them
    /// have ended.
    void set_limit(std::size_t limit) noexcept { slots_.set_limit(limit); }
    /// How many more there is room for; `unlimited` where there is no limit.
    [[nodiscard]] std::size_t free_count() const noexcept { return slots_.free(); }
    [[nodiscard]] bool full() const noexcept { return slots_.free() == 0; }
    /// Waits in the line until there is room, and takes none. Switches, unless there is. Returns
    /// false once `deadline` has passed. Whoever stood behind may have taken the room since.
    bool wait_available(Deadline deadline = Deadline::never()) {
        return static_cast<bool>(slots_.take(deadline));
    }

 private:
    template <class Function, class... Arguments>
    [[gnu::always_inline]] auto launch_in(detail::Slots::Slot slot, Function&& function,
                                          Arguments&&... arguments) {
        using Spawned = Greenlet<detail::CallResult<Function, Arguments...>>;
        if (!slot) return std::optional<Spawned>{};
        return std::optional<Spawned>{launch(std::move(slot), Role::member,
                                             std::forward<Function>(function),
                                             std::forward<Arguments>(arguments)...)};
    }
};

}  // namespace green
