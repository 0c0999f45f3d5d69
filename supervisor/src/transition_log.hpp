// RUN_DIR/transitions.log: one JSON line for each change of state, written at once. It is what one
// reads afterwards to know what happened in which order.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <green/fd.hpp>

#include "worker_fsm.hpp"

namespace greensup {

class TransitionLog {
 public:
    /// Starts the file anew. Throws Refusal.
    explicit TransitionLog(const std::string& path);

    /// Appends a line. A full disk stops nobody: the line is counted as lost, and that is logged
    /// when it begins and when it is over.
    void write(std::string_view pool, const Transition& transition);

    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
    void lose(int error);

    std::string path_;
    green::Fd file_;
    std::uint64_t lost_ = 0;
    bool is_failing_ = false;
    bool is_torn_ = false;  // the last line is not complete
};

}  // namespace greensup
