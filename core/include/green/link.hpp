#pragma once

#include <functional>
#include <memory>

#include <green/wait.hpp>

namespace green {

class AnyGreenlet;

/// A function that waits for something to become ready. Destroying it takes the function back, also
/// when its time has come and it has not begun yet.
class Link {
 public:
    Link(Link&& other) noexcept;
    Link& operator=(Link&& other) noexcept;
    ~Link();
    /// Leaves it where it is, for good: until its time has come, or its hub or what it is linked to
    /// goes. The object must outlive it all the same.
    void detach() noexcept;

 private:
    friend class AnyGreenlet;
    friend Link link(AnyWaitable object, std::function<void()> function);
    friend Link rawlink(AnyWaitable object, std::function<void()> function);
    struct Call;
    struct Node;
    [[nodiscard]] static Link make(std::unique_ptr<Node> node);
    explicit Link(std::unique_ptr<Node> node) noexcept;
    std::unique_ptr<Node> node_;
};

/// Runs the function once, in a greenlet of its own, when the object is ready; soon, if it is.
/// Functions run in the order in which things became ready and, for one of them, in the order in
/// which they were linked. Never switches. The object must outlive the link. While it is something
/// that the world outside can make ready, the link keeps the hub alive.
[[nodiscard]] Link link(AnyWaitable object, std::function<void()> function);
/// The same for a function that must not wait: a waiting call in it throws BlockingInHub.
[[nodiscard]] Link rawlink(AnyWaitable object, std::function<void()> function);

}  // namespace green
