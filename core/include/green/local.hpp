#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include <green/detail/local.hpp>
#include <green/errors.hpp>

namespace green {

/// A variable of which each greenlet has its own, made when it is first used there; main has one
/// too, and so have the callbacks of the hub together. A child begins without, whatever its parent
/// has: what is to be handed down is a ContextVar.
///
///     green::GreenletLocal<std::string> buffer;           // of a file, shared by all who serve
///     void serve() { buffer->clear(); fill(*buffer); }
///
/// A value is freed when its greenlet ends, in that greenlet, the newest first and before anybody
/// learns of the end; or when this object goes, if that is earlier. Main's is freed with the hub.
/// Destructors of values may wait, are not interrupted when the greenlet ends, and must not throw;
/// one that uses a local whose value has gone already makes a new one.
///
/// Finding a value costs a walk over those that the greenlet has. Greenlets of several threads may
/// share one object; when it goes, values in other threads stay until their greenlets end.
template <class T>
class GreenletLocal {
    static_assert(std::is_object_v<T> && !std::is_const_v<T>);

 public:
    /// Values begin as T().
    GreenletLocal() requires std::default_initializable<T> : make_{[] { return T(); }} {}
    /// Values begin as what `make` gives, which is called in the greenlet whose value it is, and
    /// must not use this local. What it throws comes out of get(), and nothing was made.
    explicit GreenletLocal(std::function<T()> make) : make_{std::move(make)} {
        if (!make_) throw UsageError("a GreenletLocal needs a function that makes its values");
    }
    GreenletLocal(const GreenletLocal&) = delete;
    GreenletLocal& operator=(const GreenletLocal&) = delete;
    ~GreenletLocal() = default;

    /// The current greenlet's value, made if need be. Switches only if its making does.
    [[nodiscard]] T& get() {
        detail::LocalCell* cell = key_.find();
        if (cell == nullptr) cell = &key_.keep(std::make_unique<Cell>(make_));
        return static_cast<Cell*>(cell)->value;
    }
    [[nodiscard]] T& operator*() { return get(); }
    [[nodiscard]] T* operator->() { return &get(); }

    /// The current greenlet has one.
    [[nodiscard]] bool has_value() const noexcept { return key_.find() != nullptr; }
    /// Frees the current greenlet's value; the next use makes a new one.
    void reset() noexcept { key_.drop(); }

 private:
    struct Cell final : detail::LocalCell {
        explicit Cell(const std::function<T()>& make) : value(make()) {}
        T value;
    };

    std::function<T()> make_;
    detail::LocalKey key_;  // goes first: destructors of values may still make some
};

}  // namespace green
