#pragma once
// What is found to be wrong with a segment by somebody who goes on all the same.

#include <set>
#include <string>

#include <green/log.hpp>

#include "queue/segment.hpp"

namespace green::ipc {

/// Logs each thing once: a damaged place is met again and again.
class Complaints {
 public:
    void add(const shm::SegmentError& error) {
        if (told_.insert(error.what()).second)
            log::error("queue.damaged", {{"what", std::string{error.what()}}});
    }

 private:
    std::set<std::string> told_;
};

}  // namespace green::ipc
