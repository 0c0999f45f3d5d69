#pragma once

#include <chrono>

#include <green/deadline.hpp>

namespace tests {

/// Milliseconds of the hub's clock since it was made.
class Stopwatch {
 public:
    [[nodiscard]] int operator()() const {
        return static_cast<int>((green::now() - begin_) / std::chrono::milliseconds(1));
    }

 private:
    green::TimePoint begin_ = green::now();
};

}  // namespace tests
