#pragma once

#include <algorithm>
#include <sys/resource.h>
#include <unistd.h>

#include <green/fd.hpp>
#include <green/sys.hpp>

namespace tests {

/// Another soft limit of this process's descriptors, while it lives; not above the hard one.
class DescriptorLimit {
 public:
    explicit DescriptorLimit(rlim_t wanted) {
        (void)::getrlimit(RLIMIT_NOFILE, &before_);
        present_ = before_;
        present_.rlim_cur = wanted < before_.rlim_max ? wanted : before_.rlim_max;
        if (::setrlimit(RLIMIT_NOFILE, &present_) != 0)
            green::sys::fail(errno, "another limit of descriptors");
    }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;
    ~DescriptorLimit() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }
    [[nodiscard]] int get() const noexcept { return static_cast<int>(present_.rlim_cur); }

 private:
    rlimit before_{};
    rlimit present_{};
};

/// While it lives, so many more can be opened at most.
class FewMoreDescriptors : public DescriptorLimit {
 public:
    explicit FewMoreDescriptors(rlim_t count) : DescriptorLimit{limit_for(count)} {}

 private:
    static rlim_t limit_for(rlim_t count) {
        rlimit now{};
        (void)::getrlimit(RLIMIT_NOFILE, &now);
        const green::Fd next{::dup(STDIN_FILENO)};
        return std::min(now.rlim_cur, static_cast<rlim_t>(next.number()) + count);
    }
};

}  // namespace tests
