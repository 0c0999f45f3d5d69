#pragma once

#include <cstddef>
#include <limits>
#include <string>

#include <green/errors.hpp>

namespace green::detail {

/// The count, unless it was negative before it was made a std::size_t: then UsageError.
inline std::size_t checked_count(std::size_t count, const char* of_what) {
    if (count > std::numeric_limits<std::size_t>::max() / 2)
        throw UsageError(std::string("a negative number of ") + of_what);
    return count;
}

}  // namespace green::detail
