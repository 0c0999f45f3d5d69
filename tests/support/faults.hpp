#pragma once
// Failures of system calls, one after the other.

#include <cerrno>
#include <cstddef>
#include <functional>
#include <optional>

#include <green/sys.hpp>

namespace tests {

/// Fails the n-th call (counted from 0) it is asked about, once or from then on, while it lives.
class FailNth final : public green::sys::Injector {
 public:
    FailNth(std::size_t nth, int error, std::optional<green::sys::Call> only = {},
            bool ever_after = false);
    FailNth(const FailNth&) = delete;
    FailNth& operator=(const FailNth&) = delete;
    ~FailNth() override;

    int before(green::sys::Call call, int fd) noexcept override;
    [[nodiscard]] bool fired() const noexcept { return fired_; }
    [[nodiscard]] green::sys::Call call() const noexcept { return call_; }

 private:
    std::size_t left_;
    int error_;
    std::optional<green::sys::Call> only_;
    bool ever_after_;
    bool fired_ = false;
    green::sys::Call call_{};
    Injector* outer_;
};

/// Runs the body with its first, second, ... system call failing, until a run makes fewer calls
/// than that. The body gets the failure at hand and checks that nothing was lost. Returns how many
/// calls were made to fail.
std::size_t for_each_failure(int error, const std::function<void(const FailNth& failure)>& body);

/// The same in a new hub each time, so that what is made once is made each time.
std::size_t for_each_failure_in_a_new_hub(int error, const std::function<void()>& body);

/// Open descriptors of this process.
std::size_t open_descriptors();

}  // namespace tests
