#pragma once
// What a Context holds. A map is shared by all who inherited it and never changed: binding a
// variable makes a new map. It is flat, because few variables are ever bound: a lookup reads a few
// words in a row, and a value that was bound over is gone with the last one who saw it, however
// deep the tree of greenlets.

#include <cstdint>
#include <utility>
#include <vector>

#include <green/deadline.hpp>
#include <green/detail/counted.hpp>

namespace green::detail {

struct ContextMap final : Counted {
    struct Binding {
        std::uint64_t variable;
        CountedPtr<const Counted> value;
    };

    [[nodiscard]] const Counted* find(std::uint64_t variable) const noexcept {
        for (const Binding& binding : bindings) {
            if (binding.variable == variable) return binding.value.get();
        }
        return nullptr;
    }

    std::vector<Binding> bindings;
    Deadline deadline = Deadline::never();
};

/// nullptr: nothing is bound, and there is no deadline.
using ContextPtr = CountedPtr<const ContextMap>;

/// That of the greenlet that runs now; of a thread without a hub, none.
[[nodiscard]] const ContextMap* current_map() noexcept;

/// As `base` (which may be nullptr), with one variable bound. Throws std::bad_alloc.
[[nodiscard]] ContextPtr with_binding(const ContextMap* base, std::uint64_t variable,
                                      CountedPtr<const Counted> value);
[[nodiscard]] ContextPtr with_deadline(const ContextMap* base, Deadline deadline);

/// The value of one binding.
template <class T>
struct Bound final : Counted {
    explicit Bound(T its_value) : value(std::move(its_value)) {}
    const T value;
};

}  // namespace green::detail
