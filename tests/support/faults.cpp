#include "support/faults.hpp"

#include <filesystem>
#include <iterator>

#include <catch2/catch.hpp>

#include "loop/ev_reactor.hpp"
#include "sched/hub.hpp"

namespace tests {

FailNth::FailNth(std::size_t nth, int error, std::optional<green::sys::Call> only, bool ever_after)
    : left_{nth},
      error_{error},
      only_{only},
      ever_after_{ever_after},
      outer_{green::sys::set_injector(this)} {}
FailNth::~FailNth() { (void)green::sys::set_injector(outer_); }

int FailNth::before(green::sys::Call call, int) noexcept {
    if (only_ && call != *only_) return 0;
    if (fired_) return ever_after_ ? error_ : 0;
    if (left_-- > 0) return 0;
    fired_ = true;
    call_ = call;
    return error_;
}

std::size_t for_each_failure(int error, const std::function<void(const FailNth&)>& body) {
    for (std::size_t nth = 0;; ++nth) {
        const FailNth failure{nth, error};
        INFO("system call number " << nth << " fails");
        body(failure);
        if (!failure.fired()) return nth;
    }
}

std::size_t for_each_failure_in_a_new_hub(int error, const std::function<void()>& body) {
    for (std::size_t nth = 0;; ++nth) {
        const green::detail::Hub hub{green::detail::make_ev_reactor()};
        const FailNth failure{nth, error};
        INFO("system call number " << nth << " fails");
        body();
        if (!failure.fired()) return nth;
    }
}

std::size_t open_descriptors() {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return static_cast<std::size_t>(std::distance(begin(all), end(all))) -
           1;  // the one that reads the directory
}

}  // namespace tests
