// Value or list of mistakes: the shape of std::expected<T, Diagnostics>, which g++ 12 lacks in
// C++20.
#pragma once

#include <utility>
#include <variant>

#include "diagnostic.hpp"

namespace greensup {

/// Either a T or at least one Diagnostic. Asking for the half that is not there throws
/// std::bad_variant_access: a mistake of the caller, never of the user.
template <class T>
class [[nodiscard]] Result {
 public:
    using value_type = T;
    using error_type = Diagnostics;

    Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
    Result(Diagnostics mistakes) : content_(std::in_place_index<1>, std::move(mistakes)) {}
    Result(Diagnostic mistake) : Result(Diagnostics{std::move(mistake)}) {}

    [[nodiscard]] bool has_value() const noexcept { return content_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    [[nodiscard]] T& value() & { return std::get<0>(content_); }
    [[nodiscard]] const T& value() const& { return std::get<0>(content_); }
    [[nodiscard]] T&& value() && { return std::get<0>(std::move(content_)); }

    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    [[nodiscard]] const Diagnostics& error() const { return std::get<1>(content_); }

 private:
    std::variant<T, Diagnostics> content_;
};

}  // namespace greensup
