#pragma once

#include <sys/resource.h>

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

}  // namespace tests
